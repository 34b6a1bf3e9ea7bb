"""Rectangles inside an image."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from trainer.data.augmentation.rectangles import rectangles

NUMBERS = np.random.default_rng(0).random((4000, 4), dtype=np.float32)


@pytest.mark.parametrize(
    ("area", "aspect", "height", "width"),
    [
        ((0.08, 1.0), (0.75, 4 / 3), 224, 224),
        ((0.08, 1.0), (0.75, 4 / 3), 60, 400),
        ((0.02, 0.4), (0.3, 1 / 0.3), 32, 32),
        ((0.5, 0.5), (10.0, 20.0), 32, 32),
        ((1.0, 1.0), (0.5, 2.0), 28, 36),
    ],
)
def test_area_is_as_drawn_and_all_of_it_inside(
    area: tuple[float, float], aspect: tuple[float, float], height: int, width: int
) -> None:
    """Areas are uniform between the bounds; no rectangle passes the border; shapes are within bounds where they fit."""
    boxes = rectangles(NUMBERS, area, aspect, height, width)
    shares = boxes.height * boxes.width / (height * width)
    np.testing.assert_allclose(shares, area[0] + NUMBERS[:, 0] * (area[1] - area[0]), rtol=1e-6)
    assert boxes.top.min() >= 0
    assert boxes.left.min() >= 0
    assert (boxes.top + boxes.height).max() <= height * (1 + 1e-12)
    assert (boxes.left + boxes.width).max() <= width * (1 + 1e-12)
    shape = boxes.width / boxes.height
    touches = (boxes.width > width * (1 - 1e-9)) | (boxes.height > height * (1 - 1e-9))
    assert np.all(touches | ((shape > aspect[0] * (1 - 1e-9)) & (shape < aspect[1] * (1 + 1e-9))))


def test_shapes_are_uniform_in_the_logarithm() -> None:
    """Where every shape fits: as often twice as wide as high as the other way round; and places are uniform."""
    boxes = rectangles(NUMBERS, (0.05, 0.2), (0.5, 2.0), 100, 100)
    logs = np.log(boxes.width / boxes.height) / np.log(2.0)
    assert stats.kstest(logs, "uniform", (-1, 2)).pvalue > 1e-3
    assert stats.kstest(boxes.top / (100 - boxes.height), "uniform").pvalue > 1e-3
    assert stats.kstest(boxes.left / (100 - boxes.width), "uniform").pvalue > 1e-3
