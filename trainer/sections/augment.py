"""`[train.augment]`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from trainer.sections.base import Fraction, NonNegative, Section, Share

# TOML has lists and no tuples.
Areas = Annotated[tuple[Share, Share], Field(strict=False)]
Aspects = Annotated[tuple[PositiveFloat, PositiveFloat], Field(strict=False)]


class _Area(Section):
    area: Areas
    aspect: Aspects

    @model_validator(mode="after")
    def _ranges_rise(self) -> Self:
        for name, (low, high) in (("area", self.area), ("aspect", self.aspect)):
            if low > high:
                raise ValueError(f"{name} [{low}, {high}] runs backwards. Write the smaller figure first.")
        return self


class Crop(_Area):
    """Crops of random size and shape (Szegedy et al. 2014, arXiv:1409.4842, section 6)."""

    area: Areas = (0.08, 1.0)
    """Share of the image's area, drawn uniformly."""
    aspect: Aspects = (0.75, 4 / 3)
    """Width over height, drawn uniformly in the logarithm."""
    interpolation: Literal["bilinear", "random"] = "bilinear"
    """`random`: bilinear, bicubic, area or nearest, drawn for every image."""


class Color(Section):
    """Photometric distortion (Howard 2013, arXiv:1312.5402), in a random order; zero switches one off."""

    brightness: Fraction = 0.0
    """Added, as a share of full white, either way."""
    contrast: Fraction = 0.0
    """Distance from the image's mean multiplied by a factor in 1 ± this."""
    saturation: Fraction = 0.0
    """Distance from grey multiplied by a factor in 1 ± this."""
    hue: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0
    """Turned by this share of the colour wheel, either way."""


class RandAugment(Section):
    """RandAugment (Cubuk et al. 2020, arXiv:1909.13719)."""

    operations: PositiveInt = 2
    """How many, one after the other."""
    magnitude: Annotated[float, Field(ge=0.0, le=30.0)] = 9.0
    """How strong, on the paper's scale of 30."""


class Erase(_Area):
    """Random erasing (Zhong et al. 2020, arXiv:1708.04896)."""

    probability: Share = 0.5
    """Share of the images it happens to."""
    area: Areas = (0.02, 0.4)
    """Share of the image's area."""
    aspect: Aspects = (0.3, 1 / 0.3)
    """Height over width, drawn uniformly in the logarithm."""


class Augment(Section):
    """Random changes of the training images, drawn uniformly; zero or false switches one off."""

    flip: bool = False
    """Left to right, half of the images."""
    rotation: Annotated[float, Field(ge=0.0, le=180.0)] = 0.0
    """Degrees either way."""
    shift: Fraction = 0.0
    """Share of height and width either way."""
    shear: Annotated[float, Field(ge=0.0, lt=90.0)] = 0.0
    """Degrees either way (as Keras' ImageDataGenerator counted them)."""
    zoom: Fraction = 0.0
    """Height and width each scaled by a factor in 1 ± zoom."""
    fill: Literal["nearest", "constant", "reflect"] = "nearest"
    """What comes into the picture from outside it."""
    crop: Crop | None = None
    """A random part of the image, enlarged to its size."""
    color: Color = Color()
    """Photometric distortion."""
    rand_augment: RandAugment | None = None
    """Operations drawn from a list of fourteen."""
    erase: Erase | None = None
    """A random rectangle overwritten with noise."""
    mixup: NonNegative = 0.0
    """Alpha of the beta distribution that says how much of another image and its label is blended in (Zhang et al.
    2018, arXiv:1710.09412)."""
    cutmix: NonNegative = 0.0
    """Alpha of the beta distribution that says how large a rectangle of another image, with that share of its label, is
    pasted in (Yun et al. 2019, arXiv:1905.04899). With `mixup`, every batch draws one of the two."""
