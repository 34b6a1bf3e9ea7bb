"""RandAugment, against Pillow's own operations."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps
from scipy import ndimage

from trainer.config import RandAugment
from trainer.data.augmentation.draws import uniform
from trainer.data.augmentation.rand_augment import KINDS, OPERATIONS, apply, change, draws

Pixels = NDArray[np.uint8]
HEIGHT, WIDTH = 40, 52
FULL = 1.0

PAPER = (
    "identity", "auto_contrast", "equalize", "rotate", "solarize", "color", "posterize", "contrast", "brightness",
    "sharpness", "shear_x", "shear_y", "translate_x", "translate_y",
)  # fmt: skip
"""Section 3.1."""


def photographs() -> Pixels:
    """Smooth pictures of low contrast, each darker than the next, and one of a single grey."""
    coarse = np.random.default_rng(0).normal(0, 1, (5, HEIGHT, WIDTH, 3))
    smooth = ndimage.gaussian_filter(coarse, (0, 4, 4, 0))
    smooth = 40 * smooth / smooth.std() + np.array([70, 100, 120, 150, 180])[:, None, None, None]
    return np.concatenate([np.clip(smooth, 9, 240).round(), np.full((1, HEIGHT, WIDTH, 3), 77)]).astype(np.uint8)


def applied(images: Pixels, name: str, strength: float, fill: str = "constant") -> Pixels:
    which = tf.fill((len(images),), OPERATIONS.index(name))
    changed: Pixels = apply(tf.constant(images), which, tf.fill((len(images),), strength), fill).numpy()
    assert changed.shape == images.shape
    assert changed.dtype == np.uint8
    return changed


def test_the_operations_are_those_of_the_paper() -> None:
    """All fourteen, each once."""
    assert sorted(OPERATIONS) == sorted(PAPER)
    assert len(PAPER) == 14


LOOKED_UP: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "auto_contrast": lambda image, strength: ImageOps.autocontrast(image),
    "equalize": lambda image, strength: ImageOps.equalize(image),
    "solarize": lambda image, strength: ImageOps.solarize(image, math.ceil(256 * (1 - abs(strength)))),
    "posterize": lambda image, strength: ImageOps.posterize(image, 8 - round(4 * abs(strength))),
    "color": lambda image, strength: ImageEnhance.Color(image).enhance(1 + 0.9 * strength),
    "contrast": lambda image, strength: ImageEnhance.Contrast(image).enhance(1 + 0.9 * strength),
    "brightness": lambda image, strength: ImageEnhance.Brightness(image).enhance(1 + 0.9 * strength),
    "sharpness": lambda image, strength: ImageEnhance.Sharpness(image).enhance(1 + 0.9 * strength),
    "identity": lambda image, strength: image,
}
EXACT = ("equalize", "solarize", "posterize", "identity")


@pytest.mark.parametrize("strength", [-1.0, -0.3, 0.0, 0.5, 1.0])
@pytest.mark.parametrize("name", LOOKED_UP)
def test_colours_change_as_pillow_changes_them(name: str, strength: float) -> None:
    """To the bit, or to the level by which Pillow cuts off where this rounds."""
    images = photographs()
    for image, result in zip(images, applied(images, name, strength), strict=True):
        expected = np.asarray(LOOKED_UP[name](Image.fromarray(image), strength)).astype(int)
        assert np.abs(result - expected).max() <= (0 if name in EXACT else 2)


@pytest.mark.parametrize(("name", "axis", "length"), [("translate_x", 1, WIDTH), ("translate_y", 0, HEIGHT)])
@pytest.mark.parametrize("sign", [-1, 1])
def test_translations_move_whole_pixels(name: str, axis: int, length: int, sign: int) -> None:
    """At full magnitude by 150 of 331, and nothing is blurred; what comes in is black where the fill is constant."""
    images = photographs()
    by = round(length * 150 / 331)
    result = applied(images, name, sign * FULL)
    kept = np.take(images, np.arange(by, length) if sign > 0 else np.arange(length - by), axis=axis + 1)
    shown = np.take(result, np.arange(length - by) if sign > 0 else np.arange(by, length), axis=axis + 1)
    assert np.array_equal(kept, shown)
    fresh = np.take(result, np.arange(length - by, length) if sign > 0 else np.arange(by), axis=axis + 1)
    assert not fresh.any()


@pytest.mark.parametrize("strength", [-1.0, 0.4, 1.0])
def test_rotation_and_shear_are_pillows(strength: float) -> None:
    """30° and 0.3 at full magnitude, about the centre."""
    images = photographs()
    x, y = WIDTH / 2, HEIGHT / 2
    lean = 0.3 * strength
    expected: dict[str, Callable[[Image.Image], Image.Image]] = {
        "rotate": lambda image: image.rotate(30 * strength, Image.Resampling.BILINEAR),
        "shear_x": lambda image: image.transform(
            image.size, Image.Transform.AFFINE, (1, lean, -lean * y, 0, 1, 0), Image.Resampling.BILINEAR
        ),
        "shear_y": lambda image: image.transform(
            image.size, Image.Transform.AFFINE, (1, 0, 0, lean, 1, -lean * x), Image.Resampling.BILINEAR
        ),
    }
    for name, pillow in expected.items():
        for image, result in zip(images, applied(images, name, strength), strict=True):
            theirs = np.asarray(pillow(Image.fromarray(image))).astype(int)
            # Along the border Pillow lets nothing half in.
            both = ndimage.binary_erosion((theirs > 0).all(-1) & (result > 0).all(-1), iterations=2)
            assert both.mean() > 0.5
            assert np.abs(result - theirs)[both].max() <= 3


@pytest.mark.parametrize("name", sorted(set(PAPER) - {"auto_contrast", "equalize"}))
def test_no_magnitude_is_no_change(name: str) -> None:
    """Of the operations that have a magnitude."""
    images = photographs()
    assert np.array_equal(applied(images, name, 0.0), images)


@pytest.mark.parametrize("fill", ["nearest", "reflect"])
def test_what_comes_in_is_the_recipes_fill(fill: str) -> None:
    """Nothing black enters where the fill is not black."""
    images = np.maximum(photographs(), 9)
    for name in KINDS[1]:
        assert applied(images, name, FULL, fill).min() >= 9


def test_an_image_is_changed_alike_alone_and_in_a_batch() -> None:
    """Parting the batch by kind of operation and putting it together again loses and swaps nothing."""
    config = RandAugment(operations=3, magnitude=20.0)
    images = np.random.default_rng(0).integers(0, 256, (60, 16, 12, 3), dtype=np.uint8)
    numbers = uniform(1, 2, "rand_augment", np.arange(60), draws(config))
    together = change(tf.constant(images), tf.constant(numbers), config, "nearest").numpy()
    order = np.random.default_rng(1).permutation(60)[:33]
    some = change(tf.constant(images[order]), tf.constant(numbers[order]), config, "nearest").numpy()
    assert np.array_equal(some, together[order])
    alone = change(tf.constant(images[7:8]), tf.constant(numbers[7:8]), config, "nearest").numpy()
    assert np.array_equal(alone[0], together[7])


def test_operations_are_drawn_equally_often_and_both_ways() -> None:
    """Each number asks for the operation and the way it should, and every operation comes."""
    image = photographs()[:1]
    config = RandAugment(operations=1, magnitude=15.0)
    middle_of_each = (np.repeat(np.arange(14), 2) + 0.5) / 14
    numbers = np.stack([middle_of_each, np.tile([0.2, 0.8], 14)], axis=1).astype(np.float32)
    drawn = change(tf.constant(np.repeat(image, 28, axis=0)), tf.constant(numbers), config, "nearest").numpy()
    for place, name in enumerate(OPERATIONS):
        for way, sign in enumerate((-1, 1)):
            assert np.array_equal(drawn[2 * place + way], applied(image, name, sign * 0.5, "nearest")[0])


def test_several_operations_follow_each_other() -> None:
    """The second is done to what the first has made."""
    images = photographs()
    first, second = OPERATIONS.index("solarize"), OPERATIONS.index("translate_x")
    numbers = np.tile(np.array([(first + 0.5) / 14, 0.8, (second + 0.5) / 14, 0.2], np.float32), (len(images), 1))
    both = change(tf.constant(images), tf.constant(numbers), RandAugment(operations=2, magnitude=30.0), "reflect")
    expected = applied(applied(images, "solarize", 1.0), "translate_x", -1.0, "reflect")
    assert np.array_equal(both.numpy(), expected)
