"""Random erasing (Zhong et al. 2020, arXiv:1708.04896): a rectangle overwritten with noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainer.config import Erase
from trainer.data.augmentation import draws, rectangles
from trainer.data.images import Pixels

DRAWS = rectangles.DRAWS + 2
"""Random numbers per image: those of a rectangle, whether at all, which noise."""

_STARTS = 2**20
"""So many noises there are: to draw each of them anew would cost more than all other changes."""


class Erasing:
    """What `[train.augment.erase]` does.

    Args:
        config: that section.
        seed: of the training.
        shape: (h, w) of the images.
    """

    def __init__(self, config: Erase, seed: int, shape: tuple[int, int]) -> None:
        self._config = config
        self._seed = seed
        self._shape = shape
        random = np.random.default_rng(_STARTS)
        self._noise: Pixels = random.integers(0, 256, _STARTS + 3 * shape[0] * shape[1], dtype=np.uint8)

    def boxes(self, epoch: int, turns: NDArray[np.int64]) -> NDArray[np.int64]:
        """(B, 5): top, bottom, left and right in whole pixels, and where the noise starts. Top is bottom where nothing
        is erased."""
        given = draws.uniform(self._seed, epoch, "erase", turns, DRAWS)
        low, high = self._config.aspect
        # The paper counts height over width.
        found = rectangles.rectangles(given, self._config.area, (1.0 / high, 1.0 / low), *self._shape)
        height, width = np.maximum(np.round(found.height), 1), np.maximum(np.round(found.width), 1)
        height *= given[:, 4] < self._config.probability
        top = np.floor(given[:, 2] * (self._shape[0] - height + 1))
        left = np.floor(given[:, 3] * (self._shape[1] - width + 1))
        return np.stack([top, top + height, left, left + width, given[:, 5] * _STARTS], axis=1).astype(np.int64)

    def erase(self, images: Pixels, epoch: int, turns: NDArray[np.int64]) -> None:
        """Overwrite a rectangle of some of the images (B, h, w, 3), in place."""
        for image, (top, bottom, left, right, start) in zip(images, self.boxes(epoch, turns).tolist(), strict=True):
            height, width = bottom - top, right - left
            noise = self._noise[start : start + height * width * 3]
            image[top:bottom, left:right] = noise.reshape(height, width, 3)
