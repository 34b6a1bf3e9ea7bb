"""`[model]`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import PositiveFloat, PositiveInt, model_validator

from trainer.sections.base import Fraction, Section

Crops = Literal["whole", "center", "five", "paper"]


class ModuleWidths(Section):
    """Channels in the module of `inception_module`, before `width` multiplies them."""

    reduce_3x3: PositiveInt = 64
    """The 1×1 before the 3×3."""
    out_3x3: PositiveInt = 64
    """The 3×3."""
    reduce_5x5: PositiveInt = 64
    """The 1×1 before the 5×5."""
    out_5x5: PositiveInt = 64
    """The 5×5."""
    project: PositiveInt = 64
    """The 1×1 after the pool."""


class Views(Section):
    """Test-time augmentation: the registered model averages the probabilities of several views of an image."""

    flip: bool = False
    """Every view also left to right."""
    crops: Crops = "whole"
    """`whole`: the image as it is. `center`: the central 87.5 %. `five`: centre and corners. `paper`: 4 sizes × 3
    squares × 6 crops (Szegedy et al. 2014, arXiv:1409.4842, section 7), 144 views with `flip`."""


class Model(Section):
    """Which network. An option that is left out takes the variant's own default (see `inception variants`)."""

    variant: str
    """A name from `inception variants`."""
    init: str | None = None
    """Weights to begin with: `champion` (a warm start from the registered champion, where there is one),
    `exported:<file.keras>` (a model that `inception export` wrote), `imagenet`, `keras:<file>`, `timm:<file or name>`
    or `slim:<checkpoint>`, where a file is a path or an address in an object store; left out: random ones. See
    docs/weights.md."""
    image_size: PositiveInt | None = None
    """Pixels a side that the network takes; images of other sizes are resized inside the model."""
    stem: Literal["paper", "small"] = "paper"
    """`small` is for images of 32 to 96 pixels; it is in none of the papers."""
    width: PositiveFloat = 1.0
    """Multiplies every channel count but the classes."""
    auxiliary: bool | None = None
    """Auxiliary classifiers during training; the exported model never has them."""
    dropout: Fraction | None = None
    """Share of the features before the classifier that is dropped."""
    residual_scale: PositiveFloat | None = None
    """Factor on every residual branch, instead of the released networks' own."""
    bn_momentum: Fraction | None = None
    """Momentum of batch normalisation's moving averages."""
    bn_gamma: bool | None = None
    """Whether batch normalisation scales its output."""
    lrn: bool | None = None
    """Local response normalisation in the stem."""
    module: ModuleWidths | None = None
    """Channels of the single-module network's convolutions."""
    test_time: Views = Views()
    """Views of an image that the registered model averages its answer over."""

    @model_validator(mode="after")
    def _variant_has_these_options(self) -> Self:
        from trainer.models import zoo

        zoo.check(self)
        return self
