"""Rectangles of random area, shape and place inside an image."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

DRAWS = 4
"""Random numbers per rectangle: area, shape, place down, place right."""

Floats = NDArray[np.float64]


class Rectangles(NamedTuple):
    """In pixels, not rounded; (B,) each."""

    top: Floats
    left: Floats
    height: Floats
    width: Floats


def rectangles(
    numbers: NDArray[np.float32],
    area: tuple[float, float],
    aspect: tuple[float, float],
    image_heights: Floats | int,
    image_widths: Floats | int,
) -> Rectangles:
    """One rectangle per row of numbers.

    The area is always the one that was drawn. Of a shape that an area makes longer than the image, only what fits is
    drawn from: the papers draw again until it fits, which has no bound and needs any number of draws.

    Args:
        numbers: (B, 4) in [0, 1).
        area: smallest and largest share of the image's, drawn uniformly.
        aspect: smallest and largest width over height, drawn uniformly in the logarithm.
        image_heights, image_widths: in pixels; (B,), or one for all.
    """
    u = numbers.astype(np.float64)
    pixels = (area[0] + u[:, 0] * (area[1] - area[0])) * image_heights * image_widths
    narrowest, widest = pixels / np.square(image_heights, dtype=np.float64), np.square(image_widths) / pixels
    low = np.log(np.clip(aspect[0], narrowest, widest))
    high = np.log(np.clip(aspect[1], narrowest, widest))
    shape = np.exp(low + u[:, 1] * (high - low))
    height = np.minimum(np.sqrt(pixels / shape), image_heights)
    width = np.minimum(np.sqrt(pixels * shape), image_widths)
    return Rectangles(u[:, 2] * (image_heights - height), u[:, 3] * (image_widths - width), height, width)
