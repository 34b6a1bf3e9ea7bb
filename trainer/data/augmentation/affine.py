"""One affine transform per image, and a mirror.

The order of composition and the meaning of each figure are those of Keras' ImageDataGenerator: rotation, then shift,
shear, zoom, all about the centre; last the mirror.
"""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainer.config import Augment

DRAWS = 7
"""Random numbers per image: mirror, rotation, shift down, shift right, shear, zoom of height, zoom of width."""


def draws(seed: int, epoch: int, examples: int) -> NDArray[np.float32]:
    """(examples, 7) numbers in [0, 1): row i is for turn i of this epoch."""
    return np.random.default_rng([seed, epoch, DRAWS]).random((examples, DRAWS), dtype=np.float32)


def warps(config: Augment) -> bool:
    """Whether pixels come from between others; `trainer.data.augmentation.moves` does what only shifts and mirrors."""
    return bool(config.rotation or config.shear or config.zoom)


def warp(images: tf.Tensor, numbers: tf.Tensor, config: Augment) -> tf.Tensor:
    """Changed images, same shape and type.

    Args:
        images: (B, H, W, 3) uint8 or float.
        numbers: (B, 7) float32 in [0, 1), see `draws`.
        config: the recipe's `[train.augment]`.
    """
    size = tf.cast(tf.shape(images)[1:3], tf.float32)
    images = project(images, _matrices(numbers, size, config), config.fill)
    return _mirrored(images, numbers[:, 0] < 0.5) if config.flip else images


def _mirrored(images: tf.Tensor, which: tf.Tensor) -> tf.Tensor:
    # Of rank 3, because only then TensorFlow moves pixels and not single bytes; and the first version of Select, which
    # copies whole images where the second one works out a condition for every byte.
    rows = tf.reshape(images, (-1, *images.shape[2:]))
    mirrored = tf.reshape(tf.reverse(rows, [1]), tf.shape(images))
    return tf.raw_ops.Select(condition=which, x=mirrored, y=images)


def project(images: tf.Tensor, matrices: tf.Tensor, fill: str) -> tf.Tensor:
    """Images whose pixels come from elsewhere in them, same shape and type.

    Args:
        images: (B, H, W, 3) uint8 or float.
        matrices: (B, 8), as ImageProjectiveTransformV3 takes them.
        fill: what comes from outside: `nearest`, `constant` or `reflect`.
    """
    given = images.dtype
    # The op truncates what it interpolates in integers, which would darken by half a grey level.
    source = images if given.is_floating else tf.cast(images, tf.float32)
    changed = tf.raw_ops.ImageProjectiveTransformV3(
        images=source,
        transforms=matrices,
        output_shape=tf.shape(images)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode=fill.upper(),
    )
    changed = tf.ensure_shape(changed, images.shape)
    return changed if changed.dtype == given else tf.cast(tf.round(changed), given)


def _matrices(numbers: tf.Tensor, size: tf.Tensor, config: Augment) -> tf.Tensor:
    """(B, 8): where in the given image each pixel (x, y) of the changed one comes from."""
    spread = 2.0 * numbers - 1.0
    turn = spread[:, 1] * math.radians(config.rotation)
    lean = spread[:, 4] * math.radians(config.shear)
    high, wide = 1.0 + spread[:, 5] * config.zoom, 1.0 + spread[:, 6] * config.zoom
    down, right = spread[:, 2] * config.shift * size[0], spread[:, 3] * config.shift * size[1]
    # rotation · shear · zoom multiplied out, where shear is ((1, -sin), (0, cos)) in (row, column)
    cos, sin = tf.cos(turn), tf.sin(turn)
    x_x, x_y = tf.cos(turn + lean) * wide, sin * high
    y_x, y_y = -tf.sin(turn + lean) * wide, cos * high
    # rotation · shift, then from the centre's coordinates to the corner's
    centre_y, centre_x = (size[0] - 1.0) / 2.0, (size[1] - 1.0) / 2.0
    x_1 = sin * down + cos * right + centre_x - x_x * centre_x - x_y * centre_y
    y_1 = cos * down - sin * right + centre_y - y_x * centre_x - y_y * centre_y
    nothing = tf.zeros_like(turn)
    return tf.stack([x_x, x_y, x_1, y_x, y_y, y_1, nothing, nothing], axis=1)
