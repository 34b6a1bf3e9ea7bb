"""Photometric distortion."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from trainer.config import Color
from trainer.data.augmentation.color import DRAWS, changes_anything, distort
from trainer.data.augmentation.draws import uniform

LUMA = np.array([0.299, 0.587, 0.114])
NOISE = np.random.default_rng(0).integers(60, 190, (64, 12, 10, 3), dtype=np.uint8)
MIDDLE = [0.0, 0.5, 0.5, 0.5, 0.5]
EXTREMES = {"brightness": 1, "contrast": 2, "saturation": 3, "hue": 4}


def shown(images: NDArray[np.uint8], config: Color, numbers: NDArray[np.float32]) -> NDArray[np.float64]:
    changed = distort(tf.constant(images), tf.constant(numbers), config)
    assert changed.dtype == tf.uint8
    assert changed.shape == images.shape
    return changed.numpy().astype(float)


def one_way(name: str, amount: float, draw: float) -> NDArray[np.float64]:
    """The noise with one change of a known strength."""
    numbers = np.tile(np.array(MIDDLE, np.float32), (64, 1))
    numbers[:, EXTREMES[name]] = draw
    return shown(NOISE, Color.model_validate({name: amount}), numbers)


def test_each_change_is_what_it_is_called() -> None:
    """Added, or multiplied about the mean grey or the pixel's grey; to half a level."""
    grey = NOISE @ LUMA
    mean = grey.mean(axis=(1, 2))[:, None, None, None]
    expected = {
        "brightness": NOISE + 0.2 * 255 * 0.5,
        "contrast": mean + 1.1 * (NOISE - mean),
        "saturation": grey[..., None] + 1.1 * (NOISE - grey[..., None]),
    }
    for name, result in expected.items():
        assert np.abs(one_way(name, 0.2, 0.75) - np.clip(result, 0, 255)).max() < 0.51


def test_hue_turns_the_colour_wheel() -> None:
    """A third of it makes red green, green blue and blue red, and leaves the greys where they are."""
    assert np.array_equal(one_way("hue", 0.5, 0.5 + 1 / 3), NOISE[..., [2, 0, 1]])
    assert np.array_equal(one_way("hue", 0.5, 0.5 - 1 / 3), NOISE[..., [1, 2, 0]])
    greys = np.repeat(NOISE[..., :1], 3, axis=-1)
    assert np.array_equal(shown(greys, Color(hue=0.5), uniform(0, 0, "color", np.arange(64), DRAWS)), greys)


@pytest.mark.parametrize("name", EXTREMES)
def test_strengths_go_both_ways_and_no_further(name: str) -> None:
    """The extreme draws bound the others."""
    drawn = shown(NOISE, Color.model_validate({name: 0.3}), uniform(0, 0, "color", np.arange(64), DRAWS))
    ends = np.stack([one_way(name, 0.3, 0.0), one_way(name, 0.3, 1.0), NOISE])
    assert not np.array_equal(drawn, NOISE)
    if name != "hue":
        assert np.all(drawn >= ends.min(axis=0) - 1)
        assert np.all(drawn <= ends.max(axis=0) + 1)


def test_the_order_is_drawn() -> None:
    """Turning the wheel before or after paling gives other colours; brightness and contrast do not depend on it."""
    images = np.repeat(NOISE[:1], 64, axis=0)
    numbers = np.tile(np.array([0, 1.0, 1.0, 0.0, 0.8], np.float32), (64, 1))
    numbers[:, 0] = np.arange(64) / 64
    assert len({image.tobytes() for image in shown(images, Color(saturation=0.9, hue=0.5), numbers)}) > 1
    changed = shown(images, Color(brightness=0.1, contrast=0.5), numbers)
    mean = (NOISE[0] @ LUMA).mean()
    expected = mean + 25.5 + 1.5 * (NOISE[0] - mean)
    assert np.abs(changed - np.clip(expected, 0, 255)).max() < 0.51


@pytest.mark.parametrize("off", [{}, {"brightness": 0.0, "hue": 0.0}])
def test_nothing_asked_for_is_nothing_done(off: dict[str, Any]) -> None:
    """With all four at zero the pixels stay."""
    config = Color.model_validate(off)
    assert not changes_anything(config)
    assert np.array_equal(shown(NOISE, config, uniform(0, 0, "color", np.arange(64), DRAWS)), NOISE)
    assert all(changes_anything(Color.model_validate({name: 0.1})) for name in EXTREMES)


def test_an_image_is_changed_alike_alone_and_in_a_batch() -> None:
    """To the last bit."""
    config, numbers = (
        Color(brightness=0.2, contrast=0.4, saturation=0.6, hue=0.2),
        uniform(1, 2, "color", np.arange(64), DRAWS),
    )
    together = shown(NOISE, config, numbers)
    for index in (0, 13, 63):
        assert np.array_equal(shown(NOISE[index : index + 1], config, numbers[index : index + 1])[0], together[index])
