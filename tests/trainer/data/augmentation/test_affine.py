"""Affine transforms and the mirror, against the definitions of Keras' ImageDataGenerator written out in numpy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from scipy import ndimage

from trainer.config import Augment
from trainer.data.augmentation.affine import DRAWS, draws, warp, warps
from trainer.data.augmentation.moves import moved, wanted

HEIGHT, WIDTH = 28, 36
EVERYTHING = Augment(flip=True, rotation=40, shift=0.2, shear=20, zoom=0.2)


def smooth(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Images without sharp edges, on which two ways of interpolating agree."""
    coarse = np.random.default_rng(seed).uniform(0, 255, (count, HEIGHT, WIDTH, 3))
    return np.clip(ndimage.gaussian_filter(coarse, (0, 3, 3, 0)) * 3 - 255, 0, 255).astype(np.uint8)


def augment(images: NDArray[np.uint8], numbers: NDArray[np.float32], config: Augment) -> NDArray[np.uint8]:
    """As a feed does it: copied where nothing is warped."""
    if wanted(config):
        return moved(images, numbers, config)
    return np.asarray(warp(tf.constant(images), tf.constant(numbers), config))


def centred() -> NDArray[np.float32]:
    """Numbers that ask for no change at all."""
    return np.full((1, DRAWS), 0.5, np.float32)


def keras_definition(image: NDArray[np.uint8], u: NDArray[np.float32], config: Augment) -> NDArray[np.float64]:
    """keras.preprocessing.image.apply_affine_transform and flip_axis, in (row, column), with scipy's interpolation."""
    height, width, _ = image.shape
    s = 2 * u.astype(np.float64) - 1
    turn, lean = math.radians(s[1] * config.rotation), math.radians(s[4] * config.shear)
    rotation = np.array([[math.cos(turn), -math.sin(turn), 0], [math.sin(turn), math.cos(turn), 0], [0, 0, 1]])
    shift = np.array([[1, 0, s[2] * config.shift * height], [0, 1, s[3] * config.shift * width], [0, 0, 1]])
    shear = np.array([[1, -math.sin(lean), 0], [0, math.cos(lean), 0], [0, 0, 1]])
    zoom = np.diag([1 + s[5] * config.zoom, 1 + s[6] * config.zoom, 1])
    offset, back = np.eye(3), np.eye(3)
    offset[:2, 2] = (height - 1) / 2, (width - 1) / 2
    back[:2, 2] = -offset[:2, 2]
    matrix = offset @ rotation @ shift @ shear @ zoom @ back
    mode = {"nearest": "nearest", "constant": "constant", "reflect": "reflect"}[config.fill]
    channels = [
        ndimage.affine_transform(image[..., c].astype(np.float64), matrix[:2, :2], matrix[:2, 2], order=1, mode=mode)
        for c in range(3)
    ]
    changed: NDArray[np.float64] = np.stack(channels, axis=-1)
    return changed[:, ::-1] if config.flip and u[0] < 0.5 else changed


@pytest.mark.parametrize("fill", ["nearest", "reflect"])
@pytest.mark.parametrize(
    "one",
    [{"rotation": 90}, {"shear": 30}, {"zoom": 0.4}, {"shift": 0.3, "zoom": 0.01}, {"flip": True, "rotation": 0.1}],
)
def test_each_change_is_what_keras_defines(one: dict[str, Any], fill: str) -> None:
    """Rotation, shear, zoom, shift and mirror, each alone, equal Keras' matrices applied by scipy."""
    config = Augment.model_validate(one | {"fill": fill})
    images, numbers = smooth(6), draws(3, 0, 6)
    changed = augment(images, numbers, config)
    for image, u, result in zip(images, numbers, changed, strict=True):
        assert np.abs(result - keras_definition(image, u, config)).max() <= 2


def test_all_changes_at_once_compose_as_keras_composes_them() -> None:
    """Rotation, then shift, shear, zoom, then the mirror; not each on the result of an interpolation."""
    images, numbers = smooth(16), draws(4, 1, 16)
    changed = augment(images, numbers, EVERYTHING)
    assert changed.dtype == np.uint8
    for image, u, result in zip(images, numbers, changed, strict=True):
        assert np.abs(result - keras_definition(image, u, EVERYTHING)).max() <= 2


@pytest.mark.parametrize("zoom", [0.0, 0.001])
def test_constant_fill_is_black(zoom: float) -> None:
    """What comes from outside the picture is black where the recipe says `constant`, whether copied or warped."""
    config = Augment(shift=0.5, zoom=zoom, fill="constant")
    white = np.full((20, 16, 16, 3), 255, np.uint8)
    changed = augment(white, draws(0, 0, 20), config)
    assert {0, 255} <= set(np.unique(changed))
    assert np.isin(changed, (0, 255)).mean() > 0.9


def test_numbers_in_the_middle_change_nothing() -> None:
    """The middle of every range is the picture itself, to the last bit."""
    images = smooth(1)
    assert np.array_equal(augment(images, centred(), EVERYTHING), images)


def test_what_is_asked_for_decides_what_is_done() -> None:
    """Warped, copied, or nothing at all."""
    assert not wanted(Augment(fill="reflect"))
    assert not warps(Augment(flip=True, shift=0.5))
    assert wanted(Augment(flip=True))
    assert wanted(Augment(shift=0.5))
    for name in ("rotation", "shear", "zoom"):
        config = Augment.model_validate({name: 0.5, "flip": True, "shift": 0.5})
        assert warps(config)
        assert not wanted(config)


def test_the_mirror_turns_half_of_the_images() -> None:
    """About half are mirrored, and those exactly."""
    images, numbers = smooth(400), draws(0, 0, 400)
    changed = augment(images, numbers, Augment(flip=True))
    mirrored = np.array([np.array_equal(c, i[:, ::-1]) for c, i in zip(changed, images, strict=True)])
    same = np.array([np.array_equal(c, i) for c, i in zip(changed, images, strict=True)])
    assert np.all(mirrored ^ same)
    assert 150 < mirrored.sum() < 250


@pytest.mark.parametrize(("fill", "padding"), [("nearest", "edge"), ("constant", "constant"), ("reflect", "symmetric")])
def test_shifts_alone_move_whole_pixels(fill: str, padding: Any) -> None:
    """A shift without other changes copies pixels and blurs none, in every direction up to its share; what comes in is
    the outermost pixel, black, or the picture mirrored at its border."""
    noise = np.random.default_rng(0).integers(0, 256, (900, 20, 10, 3), dtype=np.uint8)
    config = Augment.model_validate({"shift": 0.2, "fill": fill})
    changed = augment(noise, draws(1, 0, 900), config)
    moves = set()
    for image, result in zip(noise, changed, strict=True):
        padded = np.pad(image, ((4, 4), (2, 2), (0, 0)), mode=padding)
        found = [
            (dy, dx)
            for dy in range(-4, 5)
            for dx in range(-2, 3)
            if np.array_equal(padded[4 + dy : 24 + dy, 2 + dx : 12 + dx], result)
        ]
        assert len(found) == 1
        moves.update(found)
    assert len(moves) == 9 * 5


def test_copied_images_stand_as_warped_ones_would() -> None:
    """A zoom too small to be seen makes the warp of a shift of whole pixels, and shows the same."""
    images, numbers = smooth(40), draws(2, 0, 40)
    pixels = np.array([HEIGHT, WIDTH]) / 4
    numbers[:, 2:4] = np.round((2 * numbers[:, 2:4] - 1) * pixels) / pixels / 2 + 0.5
    for fill in ("nearest", "reflect"):
        config = Augment.model_validate({"shift": 0.25, "flip": True, "fill": fill})
        copied = augment(images, numbers, config).astype(int)
        warped = augment(images, numbers, config.model_copy(update={"zoom": 1e-7}))
        assert np.abs(copied - warped).max() <= 2


@pytest.mark.parametrize("dtype", [tf.uint8, tf.float32, tf.bfloat16])
def test_shape_and_type_are_kept_and_nothing_darkens(dtype: tf.DType) -> None:
    """An even grey stays that grey under every change, in integers and in floats."""
    grey = tf.cast(tf.fill((32, HEIGHT, WIDTH, 3), 100), dtype)
    changed = warp(grey, tf.constant(draws(0, 0, 32)), EVERYTHING)
    assert changed.dtype == dtype
    assert changed.shape == grey.shape
    assert np.abs(tf.cast(changed, tf.float32).numpy() - 100).max() < 1e-3


def test_rounding_is_to_the_nearest() -> None:
    """The mean of a noisy picture does not drift: the op alone would truncate and lose half a grey level."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3), dtype=np.uint8)
    config, numbers = Augment(rotation=20), tf.constant(draws(0, 0, 64))
    whole = warp(tf.constant(noise), numbers, config).numpy()
    exact = warp(tf.constant(noise, tf.float32), numbers, config).numpy()
    assert np.abs(whole - exact).max() <= 0.5 + 1e-4
    assert abs(whole.mean() - exact.mean()) < 0.01


def test_the_same_inside_and_outside_tf_data() -> None:
    """Called at once or in a tf.data map, with a known shape, the op gives the same."""
    images, numbers = smooth(8), draws(7, 2, 8)
    outside = augment(images, numbers, EVERYTHING)
    dataset = tf.data.Dataset.from_tensors((images, numbers)).map(lambda i, n: warp(i, n, EVERYTHING))
    assert dataset.element_spec.shape == images.shape
    assert np.array_equal(next(iter(dataset)).numpy(), outside)


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1])
def test_draws_depend_on_seed_epoch_and_example_alone(seed: int) -> None:
    """Another seed or epoch gives other numbers; more examples leave the earlier ones' numbers as they are."""
    numbers = draws(seed, 3, 50)
    assert numbers.shape == (50, DRAWS)
    assert 0 <= numbers.min() < 0.05
    assert 0.95 < numbers.max() < 1
    assert np.array_equal(numbers, draws(seed, 3, 80)[:50])
    assert not np.array_equal(numbers, draws(seed, 4, 50))
    assert not np.array_equal(numbers, draws(seed + 1, 3, 50))
