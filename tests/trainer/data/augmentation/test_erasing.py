"""Random erasing."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.config import Erase
from trainer.data.augmentation.erasing import Erasing
from trainer.data.images import Pixels

HEIGHT, WIDTH = 32, 48
COUNT = 500


def erased(config: Erase, epoch: int = 0, turns: np.ndarray | None = None) -> tuple[Pixels, np.ndarray]:
    """Pictures of one grey after it, and their boxes."""
    erasing, turns = Erasing(config, 3, (HEIGHT, WIDTH)), np.arange(COUNT) if turns is None else turns
    grey = np.full((len(turns), HEIGHT, WIDTH, 3), 128, np.uint8)
    erasing.erase(grey, epoch, turns)
    return grey, erasing.boxes(epoch, turns)


@pytest.mark.parametrize(
    ("area", "aspect"), [((0.02, 0.4), (0.3, 1 / 0.3)), ((0.25, 0.25), (1.0, 1.0)), ((1.0, 1.0), (1.0, 1.0))]
)
def test_a_rectangle_within_the_bounds_is_noise(area: tuple[float, float], aspect: tuple[float, float]) -> None:
    """Its share of the area and its height over width are within bounds, to half a pixel; nothing else is touched."""
    images, boxes = erased(Erase(probability=1.0, area=area, aspect=aspect))
    for image, (top, bottom, left, right) in zip(images, boxes[:, :4], strict=True):
        changed = (image != 128).any(axis=-1)
        outside = np.ones((HEIGHT, WIDTH), bool)
        outside[top:bottom, left:right] = False
        assert not changed[outside].any()
        assert changed[top:bottom, left:right].mean() > 0.99 or (bottom - top) * (right - left) < 300
        height, width = bottom - top, right - left
        slack = (height + width + 1) / 2 / (HEIGHT * WIDTH)
        assert area[0] - slack <= height * width / (HEIGHT * WIDTH) <= area[1] + slack
        if height < HEIGHT and width < WIDTH:
            assert (height - 0.5) / (width + 0.5) <= aspect[1]
            assert (height + 0.5) / (width - 0.5) >= aspect[0]


@pytest.mark.parametrize("probability", [0.0, 0.25, 1.0])
def test_it_happens_to_the_share_of_images_that_was_asked_for(probability: float) -> None:
    """None, a quarter, or all."""
    images, _ = erased(Erase(probability=probability, area=(0.1, 0.4)))
    share = (images != 128).any(axis=(1, 2, 3)).mean()
    assert share == pytest.approx(probability, abs=0.06 if 0 < probability < 1 else 0)


def test_noise_is_of_all_levels_and_differs_between_images() -> None:
    """Uniform over 0 to 255 in every channel, without a pattern, and hardly ever the same twice."""
    images, _ = erased(Erase(probability=1.0, area=(1.0, 1.0), aspect=(1.0, 1.0)))
    assert np.abs(np.bincount(images.ravel(), minlength=256) / images.size * 256 - 1).max() < 0.1
    flat = images.reshape(COUNT, -1).astype(float)
    assert np.abs(np.corrcoef(flat[:40]) - np.eye(40)).max() < 0.2
    assert len({image.tobytes() for image in images}) > COUNT - 4
    assert len({row.tobytes() for row in images[0]}) == HEIGHT


def test_places_are_everywhere() -> None:
    """Every pixel is erased at some time and spared at some other, corners too."""
    images, _ = erased(Erase(probability=1.0, area=(0.8, 0.8)))
    noisy = (images != 128).any(axis=3)
    assert noisy.any(axis=0).all()
    assert not noisy[:, [0, 0, -1, -1], [0, -1, 0, -1]].all(axis=0).any()


def test_what_an_image_gets_is_its_turns() -> None:
    """Alone or with others; and something else in another epoch."""
    config = Erase(probability=1.0)
    images, _ = erased(config)
    some = np.array([400, 3])
    assert np.array_equal(erased(config, turns=some)[0], images[some])
    assert not np.array_equal(erased(config, epoch=1)[0][3], images[3])
