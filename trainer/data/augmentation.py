"""Random changes of training images: one affine transform per image, and a mirror.

What an image gets depends on (seed, epoch, index of the example) and nothing else, so neither the batch it is in nor
an interruption changes it. The order of composition and the meaning of each figure are those of Keras'
ImageDataGenerator: rotation, then shift, shear, zoom, all about the centre; last the mirror.
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
    """(examples, 7) numbers in [0, 1): row i is for the example of index i in this epoch."""
    return np.random.default_rng([seed, epoch, DRAWS]).random((examples, DRAWS), dtype=np.float32)


def changes_anything(config: Augment) -> bool:
    return config.flip or _moves(config)


def _moves(config: Augment) -> bool:
    return _warps(config) or bool(config.shift)


def _warps(config: Augment) -> bool:
    return bool(config.rotation or config.shear or config.zoom)


def augment(images: tf.Tensor, numbers: tf.Tensor, config: Augment) -> tf.Tensor:
    """Changed images, same shape and type.

    Args:
        images: (B, H, W, 3) uint8 or float.
        numbers: (B, 7) float32 in [0, 1), see `draws`.
        config: the recipe's `[train.augment]`.
    """
    if _moves(config):
        images = _transform(images, numbers, config)
    if config.flip:
        mirrored = tf.reverse(images, [2])
        images = tf.where(numbers[:, 0, None, None, None] < 0.5, mirrored, images)
    return images


def _transform(images: tf.Tensor, numbers: tf.Tensor, config: Augment) -> tf.Tensor:
    shape = tf.shape(images)[1:3]
    # Shifts alone are by whole pixels, and copy: interpolating between two pixels would blur small images.
    whole = not _warps(config)
    given = images.dtype
    # The op truncates what it interpolates in integers, which would darken by half a grey level.
    source = images if whole or given.is_floating else tf.cast(images, tf.float32)
    changed = tf.raw_ops.ImageProjectiveTransformV3(
        images=source,
        transforms=_matrices(numbers, tf.cast(shape, tf.float32), config, whole),
        output_shape=shape,
        fill_value=0.0,
        interpolation="NEAREST" if whole else "BILINEAR",
        fill_mode=config.fill.upper(),
    )
    changed = tf.ensure_shape(changed, images.shape)
    return changed if changed.dtype == given else tf.cast(tf.round(changed), given)


def _matrices(numbers: tf.Tensor, size: tf.Tensor, config: Augment, whole: bool) -> tf.Tensor:
    """(B, 8): where in the given image each pixel (x, y) of the changed one comes from."""
    spread = 2.0 * numbers - 1.0
    turn = spread[:, 1] * math.radians(config.rotation)
    lean = spread[:, 4] * math.radians(config.shear)
    high, wide = 1.0 + spread[:, 5] * config.zoom, 1.0 + spread[:, 6] * config.zoom
    down, right = spread[:, 2] * config.shift * size[0], spread[:, 3] * config.shift * size[1]
    if whole:
        down, right = tf.round(down), tf.round(right)
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
