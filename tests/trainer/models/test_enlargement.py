"""What is said to a recipe whose network wants far larger images than there are."""

from __future__ import annotations

from typing import Any

import pytest

from trainer.config import Model
from trainer.data.prepared import open_prepared
from trainer.models.enlargement import mismatch, typical_shape


@pytest.mark.parametrize(
    ("model", "shape", "words"),
    [
        ({"variant": "inception_v3"}, (32, 32), ["32×32", "takes 299", "×9.3", "×87", '"small"', "image_size = 32"]),
        ({"variant": "googlenet"}, (64, 90), ["64×90", "×3.5", "×12", '"small"', "image_size = 64"]),
        ({"variant": "googlenet"}, (8, 8), ["×28.0", "×784", "image_size = 32"]),
        ({"variant": "inception_v4"}, (120, 120), ["×2.5", "image_size = 120"]),
        ({"variant": "convnet"}, (32, 32), ["takes 150", "image_size = 46"]),
        ({"variant": "inception_v3", "init": "imagenet"}, (32, 32), ["image_size = 75"]),
        ({"variant": "inception_v3", "init": "champion"}, (32, 32), ['"small"']),
    ],
)
def test_far_enlargement_is_told(model: dict[str, Any], shape: tuple[int, int], words: list[str]) -> None:
    """How far, what it costs, and what fits; a stem without published weights is not offered to those who ask for
    them."""
    told = mismatch(Model(**model), shape)
    assert told is not None
    assert "adds no detail" in told
    assert [word for word in words if word not in told] == []
    if model.get("init") == "imagenet":
        assert "stem" not in told


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        ({"variant": "inception_module", "image_size": 32}, (8, 8)),
        ({"variant": "inception_v3", "stem": "small"}, (28, 28)),
        ({"variant": "inception_v3"}, (299, 299)),
        ({"variant": "inception_v3"}, (160, 500)),
        ({"variant": "googlenet", "stem": "small", "image_size": 96}, (32, 32)),
        ({"variant": "inception_v3"}, (1200, 900)),
    ],
)
def test_what_fits_or_costs_little_is_passed_over(model: dict[str, Any], shape: tuple[int, int]) -> None:
    """Images that are large enough, or a network that is small."""
    assert mismatch(Model(**model), shape) is None


def test_what_is_advised_is_taken() -> None:
    """Whoever follows the advice hears no more of it."""
    assert mismatch(Model(variant="inception_v3", stem="small", image_size=32), (32, 32)) is None
    assert mismatch(Model(variant="inception_v4", image_size=120), (120, 120)) is None


def test_a_split_tells_how_large_its_images_are(digits: Any) -> None:
    """The shape that all have; where they differ, the medians."""
    split = open_prepared(digits.source.data(digits.fingerprint)).split("train")
    assert typical_shape(split) == (8, 8)
    split.shape = None
    assert typical_shape(split) == (8, 8)
