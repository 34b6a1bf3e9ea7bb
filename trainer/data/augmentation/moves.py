"""Shifts by whole pixels and the mirror, where an image is not warped as well: pixels are copied, and none blurred."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainer.config import Augment
from trainer.data.augmentation.affine import warps
from trainer.data.images import Pixels

# TensorFlow's `reflect` repeats the outermost pixel, which numpy calls symmetric.
_PADDING = {"nearest": "edge", "constant": "constant", "reflect": "symmetric"}


def wanted(config: Augment) -> bool:
    return bool(config.flip or config.shift) and not warps(config)


def moved(images: Pixels, numbers: NDArray[np.float32], config: Augment) -> Pixels:
    """(B, H, W, 3) uint8, each image shifted and perhaps mirrored.

    Args:
        numbers: (B, 7) in [0, 1), see `trainer.data.augmentation.affine.draws`.
        config: the recipe's `[train.augment]`.
    """
    _, height, width, _ = images.shape
    spread = (2.0 * numbers[:, 2:4] - 1.0) * np.float32(config.shift)
    moves = np.round(spread * np.array([height, width], np.float32)).astype(int)
    high, wide = np.abs(moves).max(axis=0)
    padding = ((0, 0), (high, high), (wide, wide), (0, 0))
    padded = np.pad(images, padding, _PADDING[config.fill]) if high or wide else images  # type: ignore[call-overload]
    mirror = numbers[:, 0] < 0.5 if config.flip else np.zeros(len(images), bool)
    changed = np.empty_like(images)
    places = (moves + np.array([high, wide])).tolist()
    for image, source, (down, right), turned in zip(changed, padded, places, mirror.tolist(), strict=True):
        part = source[down : down + height, right : right + width]
        image[:] = part[:, ::-1] if turned else part
    return changed
