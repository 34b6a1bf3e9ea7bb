"""RandAugment's changes that give each of the 256 grey levels of a channel another one, as tables of them."""

from __future__ import annotations

import tensorflow as tf

LEVELS = 256


def looked_up(images: tf.Tensor, tables: tf.Tensor) -> tf.Tensor:
    """(B, H, W, 3) uint8 with every level replaced by its entry in tables (B, 3, 256) uint8."""
    return tf.gather(tf.reshape(tables, (-1,)), _places(images))


def histograms(images: tf.Tensor) -> tf.Tensor:
    """(B, 3, 256) int32: how many pixels of (B, H, W, 3) uint8 have each level."""
    places = tf.reshape(_places(images), (-1,))
    count = tf.shape(images)[0] * 3 * LEVELS
    return tf.reshape(tf.math.bincount(places, minlength=count, maxlength=count), (-1, 3, LEVELS))


def _places(images: tf.Tensor) -> tf.Tensor:
    """(B, H, W, 3) int32: where each level stands in all tables one after the other."""
    first = tf.range(tf.shape(images)[0] * 3) * LEVELS
    return tf.cast(images, tf.int32) + tf.reshape(first, (-1, 1, 1, 3))


def auto_contrast(counts: tf.Tensor) -> tf.Tensor:
    """(B, 3, 256) float32: the darkest level black, the lightest white, the others evenly between."""
    levels = tf.range(LEVELS)
    there = counts > 0
    low = tf.reduce_min(tf.where(there, levels, LEVELS), axis=2, keepdims=True)
    high = tf.reduce_max(tf.where(there, levels, -1), axis=2, keepdims=True)
    span = tf.cast(tf.maximum(high - low, 1), tf.float32)
    stretched = tf.floor(tf.cast(levels - low, tf.float32) * 255.0 / span)
    return tf.where(high > low, stretched, tf.cast(levels, tf.float32))


def equalized(counts: tf.Tensor) -> tf.Tensor:
    """(B, 3, 256) float32: all levels about equally often, as Pillow's ImageOps.equalize has it."""
    lightest = tf.reduce_max(tf.where(counts > 0, tf.range(LEVELS), -1), axis=2, keepdims=True)
    of_lightest = tf.gather(counts, tf.maximum(lightest, 0), batch_dims=2)
    step = (tf.reduce_sum(counts, axis=2, keepdims=True) - of_lightest) // 255
    before = tf.cumsum(counts, axis=2, exclusive=True)
    spread = (step // 2 + before) // tf.maximum(step, 1)
    return tf.cast(tf.where(step > 0, spread, tf.range(LEVELS)), tf.float32)


def solarized(strengths: tf.Tensor) -> tf.Tensor:
    """(B, 256) int32: the lighter levels turned into their negative; with a strength (B,) of 1 all of them."""
    levels = tf.range(LEVELS)
    return tf.where(tf.cast(levels, tf.float32) < LEVELS * (1.0 - strengths[:, None]), levels, 255 - levels)


def posterized(bits: tf.Tensor) -> tf.Tensor:
    """(B, 256) int32: levels cut down to their highest bits (B,)."""
    return tf.bitwise.bitwise_and(tf.range(LEVELS), 256 - tf.bitwise.left_shift(1, 8 - bits)[:, None])
