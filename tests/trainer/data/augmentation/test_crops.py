"""Crops of random size and shape."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from trainer.config import Crop
from trainer.data.augmentation.crops import DRAWS, Cropping
from trainer.data.images import Pixels


def ramp(height: int, width: int) -> Pixels:
    """Red grows to the right and green downwards, so a pixel says where it came from."""
    down, right = np.mgrid[0:height, 0:width]
    return np.stack([right * 255 / (width - 1), down * 255 / (height - 1), 0 * down], axis=-1).round().astype(np.uint8)


def numbers(*given: float) -> np.ndarray:
    return np.array(given, np.float32)


def test_the_whole_area_is_the_image_itself() -> None:
    """To the last bit, whatever the interpolation."""
    noise = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    cropping = Cropping(Crop(area=(1.0, 1.0), aspect=(1.0, 1.0), interpolation="random"), 0)
    for way in (0.1, 0.3, 0.6, 0.9):
        assert np.array_equal(cropping.crop(noise, numbers(0.5, 0.5, 0.9, 0.2, way), (20, 20)), noise)


@pytest.mark.parametrize(("height", "width"), [(96, 96), (80, 120)])
def test_a_crop_shows_the_drawn_part(height: int, width: int) -> None:
    """Its colours run from one border of the rectangle to the other."""
    config = Crop(area=(0.08, 1.0), aspect=(0.75, 4 / 3))
    cropping, image = Cropping(config, 1), ramp(height, width)
    areas = []
    for own in cropping.numbers(0, np.arange(200)):
        shown = cropping.crop(image, own, (32, 40)).astype(float)
        assert shown.shape == (32, 40, 3)
        # Over all but the outermost pixels, which are interpolated with nothing beyond the border.
        right = (shown[16, 38, 0] - shown[16, 1, 0]) / 37 * 40 / 255 * (width - 1)
        down = (shown[30, 20, 1] - shown[1, 20, 1]) / 29 * 32 / 255 * (height - 1)
        areas.append(right * down / (height * width))
        # A large part of a broad image is broad itself.
        assert 0.7 < right / down < 1.43 or down > 0.95 * height
    drawn = 0.08 + 0.92 * cropping.numbers(0, np.arange(200))[:, 0]
    assert np.abs(np.array(areas) - drawn).max() < 0.05


@pytest.mark.parametrize(
    ("draw", "way"),
    [
        (0.1, Image.Resampling.BILINEAR),
        (0.3, Image.Resampling.BICUBIC),
        (0.6, Image.Resampling.BOX),
        (0.9, Image.Resampling.NEAREST),
    ],
)
def test_random_interpolation_draws_one_of_four(draw: float, way: Image.Resampling) -> None:
    """Bilinear, bicubic, area or nearest; without it bilinear always."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    # A quarter of the area, a square, in the middle.
    given = numbers(0.5, 0.5, 0.5, 0.5, draw)
    fixed = {"area": (0.25, 0.25), "aspect": (1.0, 1.0)}
    shown = Cropping(Crop(**fixed, interpolation="random"), 0).crop(noise, given, (32, 32))  # type: ignore[arg-type]
    expected = Image.fromarray(noise).resize((32, 32), way, box=(10, 10, 30, 30))
    assert np.array_equal(shown, np.asarray(expected))
    plain = Cropping(Crop(**fixed), 0).crop(noise, given, (32, 32))  # type: ignore[arg-type]
    assert np.array_equal(plain, shown) is (way is Image.Resampling.BILINEAR)


def test_crops_of_a_large_image_keep_its_detail() -> None:
    """They are cut out of the image as it is, not of one resized before: single lines stay apart."""
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[:, ::8] = 255
    cropping = Cropping(Crop(area=(0.01, 0.01), aspect=(1.0, 1.0)), 0)
    shown = cropping.crop(stripes, numbers(0, 0, 0.5, 0.5, 0), (40, 40))
    assert (shown[0, :, 0] == 255).sum() == 5


def test_numbers_are_those_of_the_turn() -> None:
    """Another epoch or seed crops otherwise."""
    cropping = Cropping(Crop(), 3)
    assert cropping.numbers(0, np.arange(9)).shape == (9, DRAWS)
    assert np.array_equal(cropping.numbers(0, np.array([7])), cropping.numbers(0, np.arange(9))[7:8])
    assert not np.array_equal(cropping.numbers(0, np.arange(9)), cropping.numbers(1, np.arange(9)))
    assert not np.array_equal(cropping.numbers(0, np.arange(9)), Cropping(Crop(), 4).numbers(0, np.arange(9)))
