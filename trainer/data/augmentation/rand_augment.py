"""RandAugment (Cubuk et al. 2020, arXiv:1909.13719): operations drawn from the paper's fourteen, one after the other.

What full magnitude means is as in AutoAugment (Cubuk et al. 2019, arXiv:1805.09501, table 6). Operations of one kind
are done together: at each turn the batch is parted by kind, and put together again.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import tensorflow as tf

from trainer.config import RandAugment
from trainer.data.augmentation import affine, color, tables

DRAWS_PER_OPERATION = 2
"""Which one, and which way."""

FULL = 30.0
"""The paper's scale of magnitudes ends here."""
ROTATION = math.radians(30.0)
SHEAR = 0.3
TRANSLATION = 150.0 / 331.0
"""Of height or width: the paper's 150 of 331 pixels."""
BLEND = 0.9
BITS_LOST = 4

KINDS: tuple[tuple[str, ...], ...] = (
    ("identity",),
    ("rotate", "shear_x", "shear_y", "translate_x", "translate_y"),
    ("auto_contrast", "equalize"),
    ("solarize", "posterize"),
    ("color", "contrast", "brightness"),
    ("sharpness",),
)
OPERATIONS = tuple(name for kind in KINDS for name in kind)
_KIND_OF = [kind for kind, names in enumerate(KINDS) for _ in names]
_PLACE_OF = [place for names in KINDS for place in range(len(names))]


def draws(config: RandAugment) -> int:
    """Random numbers per image."""
    return config.operations * DRAWS_PER_OPERATION


def change(images: tf.Tensor, numbers: tf.Tensor, config: RandAugment, fill: str) -> tf.Tensor:
    """(B, H, W, 3) uint8, every image changed by its own operations.

    Args:
        numbers: (B, `draws(config)`) in [0, 1).
        config: the recipe's `[train.augment.rand_augment]`.
        fill: what comes into the picture from outside it.
    """
    strength = config.magnitude / FULL
    for turn in range(config.operations):
        which, way = tf.unstack(numbers[:, turn * DRAWS_PER_OPERATION :][:, :DRAWS_PER_OPERATION], axis=1)
        operation = tf.cast(which * len(OPERATIONS), tf.int32)
        sign = tf.where(way < 0.5, -1.0, 1.0)
        images = apply(images, operation, sign * strength, fill)
    return images


def apply(images: tf.Tensor, operations: tf.Tensor, strengths: tf.Tensor, fill: str) -> tf.Tensor:
    """(B, H, W, 3) uint8 after one operation each.

    Args:
        operations: (B,) int32, places in `OPERATIONS`.
        strengths: (B,) -1 to 1; those that go one way only take no notice of the sign.
        fill: what comes into the picture from outside it.
    """
    kinds, places = tf.gather(_KIND_OF, operations), tf.gather(_PLACE_OF, operations)
    parts: list[Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]] = [
        lambda part, place, strength: part,
        lambda part, place, strength: affine.project(part, _moves(part, place, strength), fill),
        _leveled,
        _reduced,
        _tinted,
        _sharpened,
    ]
    split = [tf.dynamic_partition(x, kinds, len(KINDS)) for x in (images, places, strengths)]
    rows = tf.dynamic_partition(tf.range(tf.shape(images)[0]), kinds, len(KINDS))
    done = [part(*given) for part, *given in zip(parts, *split, strict=True)]
    return tf.ensure_shape(tf.dynamic_stitch(rows, done), images.shape)


def _moves(images: tf.Tensor, places: tf.Tensor, strengths: tf.Tensor) -> tf.Tensor:
    """(B, 8): where each pixel comes from, about the centre; see `KINDS[1]` for the order."""
    size = tf.cast(tf.shape(images)[1:3], tf.float32)
    height, width = size[0], size[1]
    none, one = tf.zeros_like(strengths), tf.ones_like(strengths)
    turn = strengths * ROTATION
    lean = strengths * SHEAR
    # By whole pixels, and so without blur, like shifts of `[train.augment]`.
    right, down = tf.round(strengths * TRANSLATION * width), tf.round(strengths * TRANSLATION * height)
    rows = [
        (tf.cos(turn), -tf.sin(turn), none, tf.sin(turn), tf.cos(turn), none),
        (one, lean, none, none, one, none),
        (one, none, none, lean, one, none),
        (one, none, right, none, one, none),
        (one, none, none, none, one, down),
    ]
    table = tf.stack([tf.stack(row, axis=1) for row in rows], axis=1)
    x_x, x_y, x_1, y_x, y_y, y_1 = tf.unstack(tf.gather(table, places, batch_dims=1), axis=1)
    x, y = (width - 1.0) / 2.0, (height - 1.0) / 2.0
    return tf.stack([x_x, x_y, x_1 + x - x_x * x - x_y * y, y_x, y_y, y_1 + y - y_x * x - y_y * y, none, none], axis=1)


def _leveled(images: tf.Tensor, places: tf.Tensor, strengths: tf.Tensor) -> tf.Tensor:
    counts = tables.histograms(images)
    first = places[:, None, None] == 0
    chosen = tf.where(first, tables.auto_contrast(counts), tables.equalized(counts))
    return tables.looked_up(images, color.to_bytes(chosen))


def _reduced(images: tf.Tensor, places: tf.Tensor, strengths: tf.Tensor) -> tf.Tensor:
    strength = tf.abs(strengths)
    bits = 8 - tf.cast(tf.round(strength * BITS_LOST), tf.int32)
    chosen = tf.where(places[:, None] == 0, tables.solarized(strength), tables.posterized(bits))
    return tables.looked_up(images, tf.repeat(tf.cast(chosen, tf.uint8)[:, None], 3, axis=1))


def _tinted(images: tf.Tensor, places: tf.Tensor, strengths: tf.Tensor) -> tf.Tensor:
    """Away from grey, from the mean grey or from black by a factor, or towards it."""
    factors = 1.0 + strengths * BLEND
    scaled = color.scaled(factors)
    maps = tf.gather(tf.stack([color.saturated(factors), scaled, scaled], axis=1), places, batch_dims=1)
    mean = color.luma(color.mean_color(images))
    offsets = tf.where(places == 1, (1.0 - factors) * mean, 0.0)
    return color.mapped(images, maps, tf.repeat(offsets[:, None], 3, axis=1))


def _sharpened(images: tf.Tensor, places: tf.Tensor, strengths: tf.Tensor) -> tf.Tensor:
    """Away from a smoothed image by a factor, or towards it; the outermost pixels stay as they are."""
    pixels = tf.cast(images, tf.float32)
    inner = pixels[:, 1:-1, 1:-1]
    threes = pixels[:, :-2] + pixels[:, 1:-1] + pixels[:, 2:]
    nines = threes[:, :, :-2] + threes[:, :, 1:-1] + threes[:, :, 2:]
    smooth = tf.round((nines + 4.0 * inner) / 13.0)
    factors = (1.0 + strengths * BLEND)[:, None, None, None]
    changed = color.to_bytes(smooth + factors * (inner - smooth))
    middle = tf.concat([images[:, 1:-1, :1], changed, images[:, 1:-1, -1:]], axis=2)
    return tf.concat([images[:, :1], middle, images[:, -1:]], axis=1)
