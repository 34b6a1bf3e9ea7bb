"""All that is done to images by themselves."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainer.config import Augment
from trainer.data.augmentation import affine, color, draws, moves, rand_augment
from trainer.data.augmentation.erasing import Erasing
from trainer.data.images import Pixels

Numbers = NDArray[np.float32]
Turns = NDArray[np.int64]


class _Change(NamedTuple):
    columns: int
    """Numbers per image."""
    numbers: Callable[[int, Turns], Numbers]
    """(B, columns) of an epoch."""
    apply: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    """The changed images."""


class Changes:
    """What a recipe's `[train.augment]` does to single images, crops left out.

    What copies pixels works on arrays, in `move` before and `erase` after; what computes them on tensors, in `apply`.

    Args:
        config: that section.
        seed: of the training.
        examples: how many turns an epoch has.
        shape: (h, w) of the images.
    """

    def __init__(self, config: Augment, seed: int, examples: int, shape: tuple[int, int]) -> None:
        self._config = config
        self._moves = moves.wanted(config)
        self._erasing = None if config.erase is None else Erasing(config.erase, seed, shape)

        # Two epochs: around the border both are asked for in turn.
        @lru_cache(maxsize=2)
        def table(epoch: int) -> Numbers:
            return affine.draws(seed, epoch, examples)

        self._table = table
        self._computed: list[_Change] = []
        if affine.warps(config):
            self._computed.append(_Change(affine.DRAWS, self._affine, partial(affine.warp, config=config)))
        if color.changes_anything(config.color):
            numbers = partial(_drawn, seed, "color", color.DRAWS)
            self._computed.append(_Change(color.DRAWS, numbers, partial(color.distort, config=config.color)))
        if config.rand_augment is not None:
            columns = rand_augment.draws(config.rand_augment)
            change = partial(rand_augment.change, config=config.rand_augment, fill=config.fill)
            self._computed.append(_Change(columns, partial(_drawn, seed, "rand_augment", columns), change))
        self.columns = sum(change.columns for change in self._computed)
        """Numbers per image for `apply`; with none there is nothing to compute."""
        self.erases = self._erasing is not None

    def _affine(self, epoch: int, turns: Turns) -> Numbers:
        return self._table(epoch)[turns]

    def move(self, images: Pixels, epoch: int, turns: Turns) -> Pixels:
        """(B, h, w, 3), first of all shifted and mirrored, where that is all of their geometry."""
        return moves.moved(images, self._affine(epoch, turns), self._config) if self._moves else images

    def numbers(self, epoch: int, turns: Turns) -> Numbers:
        """(B, columns): row i is for `turns[i]` of this epoch, whatever the other rows are."""
        given = [change.numbers(epoch, turns) for change in self._computed]
        return np.concatenate(given, axis=1) if given else np.empty((len(turns), 0), np.float32)

    def apply(self, images: tf.Tensor, numbers: tf.Tensor) -> tf.Tensor:
        """(B, h, w, 3) uint8, warped and in other colours. For numbers see there."""
        given = tf.split(numbers, [change.columns for change in self._computed], axis=1)
        for change, columns in zip(self._computed, given, strict=True):
            images = change.apply(images, columns)
        return images

    def erase(self, images: Pixels, epoch: int, turns: Turns) -> None:
        """Last of all, in place."""
        if self._erasing is not None:
            self._erasing.erase(images, epoch, turns)


def _drawn(seed: int, purpose: draws.Purpose, columns: int, epoch: int, turns: Turns) -> Numbers:
    return draws.uniform(seed, epoch, purpose, turns, columns)
