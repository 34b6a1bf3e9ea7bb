"""Photometric distortion (Howard 2013, arXiv:1312.5402), and the colour changes of RandAugment.

Each is an affine map of (red, green, blue), so any number of them in any order are one map, and an image is gone
through once. Nothing is clipped between two of them, only at the end.
"""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import tensorflow as tf

from trainer.config import Color

DRAWS = 5
"""Random numbers per image: order, brightness, contrast, saturation, hue."""

_LUMA = (0.299, 0.587, 0.114)
"""Shares of the channels in what is seen as brightness (ITU-R BT.601), as Pillow counts them."""
_ORDERS = np.array(list(permutations(range(4))), np.int32)


def changes_anything(config: Color) -> bool:
    return bool(config.brightness or config.contrast or config.saturation or config.hue)


def distort(images: tf.Tensor, numbers: tf.Tensor, config: Color) -> tf.Tensor:
    """(B, H, W, 3) uint8 with other colours.

    Args:
        numbers: (B, 5) in [0, 1).
        config: the recipe's `[train.augment.color]`.
    """
    spread = 2.0 * numbers - 1.0
    same = tf.eye(3, batch_shape=tf.shape(numbers)[:1])
    turned = _turned(spread[:, 4] * 2.0 * math.pi * config.hue)
    contrast = 1.0 + spread[:, 2] * config.contrast
    maps = tf.stack([same, scaled(contrast), saturated(1.0 + spread[:, 3] * config.saturation), turned], axis=1)
    # What each adds: a constant, and a share of the image's mean grey at the time.
    none = tf.zeros_like(contrast)
    added = tf.stack([spread[:, 1] * 255.0 * config.brightness, none, none, none], axis=1)
    of_mean = tf.stack([none, 1.0 - contrast, none, none], axis=1)

    orders = tf.gather(_ORDERS, tf.cast(numbers[:, 0] * len(_ORDERS), tf.int32))
    mean = mean_color(images)
    whole, offset = same, tf.zeros_like(mean)
    for place in range(4):
        which = orders[:, place]
        now = tf.gather(maps, which, batch_dims=1)
        grey = tf.linalg.matvec(whole, mean) + offset
        plus = tf.gather(added, which, batch_dims=1) + tf.gather(of_mean, which, batch_dims=1) * luma(grey)
        whole, offset = now @ whole, tf.linalg.matvec(now, offset) + plus[:, None]
    return mapped(images, whole, offset)


def mapped(images: tf.Tensor, maps: tf.Tensor, offsets: tf.Tensor) -> tf.Tensor:
    """(B, H, W, 3) uint8 whose every pixel p has become maps · p + offsets, rounded, within 0 to 255.

    Args:
        maps: (B, 3, 3).
        offsets: (B, 3).
    """
    shape = tf.shape(images)
    pixels = tf.cast(tf.reshape(images, (shape[0], -1, 3)), tf.float32)
    changed = tf.matmul(pixels, maps, transpose_b=True) + offsets[:, None]
    return tf.ensure_shape(tf.reshape(to_bytes(changed), shape), images.shape)


def to_bytes(pixels: tf.Tensor) -> tf.Tensor:
    """Floats as uint8: rounded, and what is darker than black or lighter than white cut off."""
    return tf.cast(tf.clip_by_value(tf.round(pixels), 0.0, 255.0), tf.uint8)


def mean_color(images: tf.Tensor) -> tf.Tensor:
    """(B, 3): the mean of each channel, 0 to 255."""
    return tf.reduce_mean(tf.cast(images, tf.float32), axis=(1, 2))


def luma(colors: tf.Tensor) -> tf.Tensor:
    """(…): how bright colours (…, 3) are."""
    return tf.linalg.matvec(colors[..., None, :], tf.constant(_LUMA))[..., 0]


def scaled(factors: tf.Tensor) -> tf.Tensor:
    """(B, 3, 3): all channels times a factor (B,)."""
    return factors[:, None, None] * tf.eye(3)


def saturated(factors: tf.Tensor) -> tf.Tensor:
    """(B, 3, 3): the distance from the pixel's grey times a factor (B,)."""
    grey = tf.tile(tf.constant(_LUMA)[None], (3, 1))
    return grey + factors[:, None, None] * (tf.eye(3) - grey)


def _turned(angles: tf.Tensor) -> tf.Tensor:
    """(B, 3, 3): colours turned about the axis of greys by angles (B,); a third of a turn makes red green."""
    one = (1.0 + 2.0 * tf.cos(angles)) / 3.0
    less = (1.0 - tf.cos(angles) - math.sqrt(3.0) * tf.sin(angles)) / 3.0
    more = (1.0 - tf.cos(angles) + math.sqrt(3.0) * tf.sin(angles)) / 3.0
    rows = [(one, less, more), (more, one, less), (less, more, one)]
    return tf.stack([tf.stack(row, axis=-1) for row in rows], axis=1)
