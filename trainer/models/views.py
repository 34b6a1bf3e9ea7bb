"""Test-time augmentation inside the exported model: its answer is an average over several views of an image.

    whole    the image, resized: one view
    center   its central 87.5 %, as TF-slim evaluates: one view
    five     the centre and the four corners, 87.5 % each
    paper    4 sizes × 3 squares × (4 corners, the centre, the whole square), arXiv:1409.4842, section 7: 72 views

and with `flip` every view also left to right: 144 of the paper. A view is a box of whole pixels of the original image,
resized to the network's input as `keras.layers.Resizing` does it with antialiasing. Written in operations that ship
with Keras, for images of any size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
from keras import layers, ops

from trainer.models.blocks import Tensor
from trainer.sections.model import Crops, Views

Answer = Callable[[Tensor], Tensor]
"""Probabilities (batch, classes) of scaled images (batch, size, size, 3)."""

CENTER = 0.875
PAPER_CROP, PAPER_SIZES = 224, (256, 288, 320, 352)
"""Pixels a side of the paper's crops, and of the squares that they are cut from."""


class Box(NamedTuple):
    """A view. Its base is the whole image or, for the paper's, one of the largest squares in it."""

    along: float
    """Where in the image the base lies: 0 at the top or left, 1 at the bottom or right."""
    top: float
    """As share of the base, like the two after it."""
    left: float
    side: float
    times: float = 1
    """How often it counts."""


def _corners_and_center(side: float, along: float = 0.0) -> list[Box]:
    far = 1 - side
    places = ((0.0, 0.0), (0.0, far), (far, 0.0), (far, far), (far / 2, far / 2))
    return [Box(along, top, left, side) for top, left in places]


def _of_square(along: float) -> list[Box]:
    """The whole square is one and the same view at all sizes: it is asked once and counted as often."""
    crops = [box for size in PAPER_SIZES for box in _corners_and_center(PAPER_CROP / size, along)]
    return [Box(along, 0.0, 0.0, 1.0, len(PAPER_SIZES)), *crops]


_BOXES: dict[Crops, np.ndarray] = {
    "whole": np.array([[Box(0.0, 0.0, 0.0, 1.0)]], "float32"),
    "center": np.array([_corners_and_center(CENTER)[-1:]], "float32"),
    "five": np.array([_corners_and_center(CENTER)], "float32"),
    "paper": np.array([_of_square(along) for along in (0.0, 0.5, 1.0)], "float32").reshape(9, 7, 5),
}
"""(groups, views that go through the network together, fields of a box)."""


def count(views: Views) -> int:
    """Views of an image that are averaged."""
    return int(_BOXES[views.crops][..., Box._fields.index("times")].sum()) * (1 + views.flip)


def at_once(views: Views) -> int:
    """Views of an image that go through the network together."""
    return int(_BOXES[views.crops].shape[1]) * (1 + views.flip)


def mirrored(answer: Answer, prepared: Tensor) -> Tensor:
    """The average over images, scaled and resized, and their mirror images."""
    probabilities = answer(ops.concatenate([prepared, ops.flip(prepared, axis=2)], axis=0))
    return ops.mean(ops.reshape(probabilities, (2, -1, probabilities.shape[-1])), axis=0)


def averaged(answer: Answer, images: Tensor, scale: layers.Layer, views: Views, size: int) -> Tensor:
    """The average over the views of images.

    Args:
        answer: what is averaged.
        images: uint8 (batch, any height, any width, 3).
        scale: layer that brings pixels into the network's range.
        views: which.
        size: pixels a side that the network takes.

    Returns (batch, classes).
    """
    boxes = _BOXES[views.crops]
    groups, together, _ = boxes.shape
    edges = _edges(images, boxes, square=views.crops == "paper")

    def answers(images: Tensor, edges: Tensor) -> Tensor:
        seen = ops.reshape(_cut(scale(images), edges, size), (-1, size, size, 3))
        probabilities = mirrored(answer, seen) if views.flip else answer(seen)
        return ops.reshape(probabilities, (together, -1, probabilities.shape[-1]))

    found = answers(images, edges[0]) if groups == 1 else _one_after_the_other(answers, images, edges)
    times = boxes[..., Box._fields.index("times")].reshape(-1, 1, 1)
    return ops.sum(ops.multiply(found, times / times.sum()), axis=0)


def resized(scaled: Tensor, size: int) -> Tensor:
    """Images (batch, any height, any width, 3) as the one view `whole`: (batch, size, size, 3).

    What an antialiased `keras.layers.Resizing` gives, in operations that every runtime has.
    """
    whole = _edges(scaled, _BOXES["whole"], square=False)[0]
    return ops.reshape(_cut(scaled, whole, size), (-1, size, size, scaled.shape[-1]))


def _one_after_the_other(answers: Callable[[Tensor, Tensor], Tensor], images: Tensor, edges: Tensor) -> Tensor:
    """The answers to all groups, (views, batch, classes), with about one group of pictures in memory at a time.

    The first group is asked as a layer, which gives the network its place in a saved model; the others are sent to
    the same layer in a loop.
    """
    groups, together, sides = edges.shape
    image = keras.Input((None, None, 3), dtype="uint8", name="images")
    group = keras.Input(batch_shape=(together, sides), name="edges")
    layer = keras.Model([image, group], answers(image, group), name="views")
    one, more = ops.split(edges, [1], axis=0)
    first = layer([images, one[0]])
    others = ops.map(layer, [ops.stack([images] * (groups - 1)), more])
    return ops.concatenate([first, ops.reshape(others, ((groups - 1) * together, -1, first.shape[-1]))], axis=0)


def _edges(images: Tensor, boxes: np.ndarray, square: bool) -> Tensor:
    """Top, bottom, left and right of boxes in pixels of these images: (groups, views, 4), whole numbers."""
    height, width = (ops.sum(ops.ones_like(centers)) for centers in _centers(images))
    smaller = ops.minimum(height, width)
    along, top, left, side, _ = np.moveaxis(boxes, -1, 0)
    edges = []
    for whole, start in ((height, top), (width, left)):
        base = smaller if square else whole
        first = (whole - base) * along + base * start
        edges += [first, first + base * side]
    return ops.floor(ops.stack(edges, axis=-1) + 0.5)


def _centers(images: Tensor) -> tuple[Tensor, Tensor]:
    """Where the middle of each row and of each column of pixels lies; the only place that says how many there are."""
    rows, columns = images[:, :, 0, 0], images[:, 0, :, 0]
    ones = (ops.sum(ops.zeros_like(line, dtype="float32"), axis=0) + 1 for line in (rows, columns))
    centers = [ops.cumsum(one) - 0.5 for one in ones]
    return centers[0], centers[1]


def _cut(scaled: Tensor, edges: Tensor, size: int) -> Tensor:
    """Boxes (views, 4) of images (batch, height, width, 3), resized: (views, batch, size, size, 3)."""
    rows, columns = _centers(scaled)
    top, bottom, left, right = (edges[:, side] for side in range(4))
    higher = ops.einsum("vsh,bhwc->vbswc", _weights(rows, top, bottom, size), scaled)
    return ops.einsum("vtw,vbswc->vbstc", _weights(columns, left, right, size), higher)


def _weights(centers: Tensor, first: Tensor, last: Tensor, size: int) -> Tensor:
    """What each line of pixels adds to each line of the resized box, (views, size, lines).

    A triangle as wide as two lines of the larger of the two pictures, and nothing from outside the box.
    """
    first, last = first[:, None, None], last[:, None, None]
    step = (last - first) / size
    positions = first + step * (np.arange(size, dtype="float32")[:, None] + 0.5)
    inside = ops.cast(ops.logical_and(centers > first, centers < last), "float32")
    heights = ops.relu(1 - ops.abs(centers - positions) / ops.maximum(step, 1.0)) * inside
    return heights / ops.sum(heights, axis=-1, keepdims=True)
