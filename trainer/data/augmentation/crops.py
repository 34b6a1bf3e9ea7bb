"""Crops of random size and shape (Szegedy et al. 2014, arXiv:1409.4842, section 6).

They are cut out of the image as it was decoded and brought to the batch's size in one go, image by image: cut out of
what was resized before, 8 % of the area would have lost its detail.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainer.config import Crop
from trainer.data.augmentation import draws, rectangles
from trainer.data.images import Pixels

DRAWS = rectangles.DRAWS + 1
"""Random numbers per image: those of a rectangle, interpolation."""

_BILINEAR = (Image.Resampling.BILINEAR,)
# Pillow's BOX is what others call area.
_ANY = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.BOX, Image.Resampling.NEAREST)


class Cropping:
    """What `[train.augment.crop]` does."""

    def __init__(self, config: Crop, seed: int) -> None:
        self._config = config
        self._seed = seed

    def numbers(self, epoch: int, turns: NDArray[np.int64]) -> NDArray[np.float32]:
        """(B, 5) in [0, 1), for `crop`."""
        return draws.uniform(self._seed, epoch, "crop", turns, DRAWS)

    def crop(self, pixels: Pixels, numbers: NDArray[np.float32], shape: tuple[int, int]) -> Pixels:
        """A part of an image (H, W, 3), brought to `shape` (h, w).

        Args:
            numbers: (5,), one row of `numbers`.
        """
        [[top], [left], [height], [width]] = rectangles.rectangles(
            numbers[None], self._config.area, self._config.aspect, *pixels.shape[:2]
        )
        box = float(left), float(top), float(left + width), float(top + height)
        ways = _ANY if self._config.interpolation == "random" else _BILINEAR
        way = ways[int(numbers[-1] * len(ways))]
        # Up to here the sum of two floats may be past the border by a rounding.
        inside = (box[0], box[1], min(box[2], pixels.shape[1]), min(box[3], pixels.shape[0]))
        return np.array(Image.fromarray(pixels).resize(shape[::-1], way, box=inside))
