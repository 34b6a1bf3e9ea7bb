"""Batches for training, from any position and the same every time; and a split in order, for evaluation.

A position is a global step. The order of an epoch is the permutation drawn from (seed, epoch), so a stream that
starts at step n gives exactly what an uninterrupted one gives from there.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainer.config import Augment
from trainer.data import augmentation
from trainer.data.images import Pixels, resize
from trainer.data.prepared import Split
from trainer.errors import DataError

READ_AHEAD = 2
"""Batches made in advance. They are what a feed costs in memory."""

Indices = NDArray[np.int64]


class Reader:
    """Images of a split as one array.

    Images that all have one shape and fit into `image_size` stay as they are: the model resizes them on its device,
    and a batch of 32×32 stays small on its way there. Others are resized here, one by one.
    """

    def __init__(self, split: Split, image_size: int | None, workers: int | None) -> None:
        """Errors: ValueError (no `image_size` for images that differ in shape)."""
        self._split = split
        self._size: int | None = None
        if split.shape is not None and (image_size is None or max(split.shape) <= image_size):
            self.shape = split.shape
        elif image_size is None:
            raise ValueError("Images that differ in shape need an image_size to make a batch.")
        else:
            self._size = image_size
            self.shape = image_size, image_size
        self._pool = ThreadPoolExecutor(workers or os.cpu_count() or 1, thread_name_prefix="feed")

    def read(self, indices: Indices) -> Pixels:
        """(B, *shape, 3) uint8."""
        if self._size is None and not self._split.decodes:
            return self._split.images(indices)
        return np.stack(list(self._pool.map(self._one, indices.tolist())))

    def _one(self, index: int) -> Pixels:
        pixels = self._split.image(index)
        return pixels if self._size is None else resize(pixels, self._size)


class Feed:
    """Training batches of one split.

    Args:
        split: where the examples come from.
        batch_size: examples per batch; what is left over at an epoch's end is left out of that epoch.
        seed: of order and augmentation.
        augment: the recipe's `[train.augment]`.
        image_size: the network's input, in pixels.
        workers: threads that decode; None: one per processor.

    Errors: DataError (fewer examples than one batch).
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        seed: int,
        augment: Augment,
        image_size: int,
        workers: int | None = None,
    ) -> None:
        self.steps_per_epoch = len(split) // batch_size
        if not self.steps_per_epoch:
            raise DataError(
                f"The {split.name} split has {len(split)} images, fewer than one batch of {batch_size}.",
                f"Set train.batch_size to {len(split)} or less, or add images.",
            )
        self._split = split
        self._batch_size = batch_size
        self._augment = augment
        self._reader = Reader(split, image_size, workers)
        self.shape = self._reader.shape
        """(h, w) of the images in a batch."""

        # Two epochs: around the border both are asked for in turn.
        @lru_cache(maxsize=2)
        def order(epoch: int) -> Indices:
            return np.random.default_rng([seed, epoch]).permutation(len(split))

        @lru_cache(maxsize=2)
        def numbers(epoch: int) -> NDArray[np.float32]:
            return augmentation.draws(seed, epoch, len(split))

        self._order, self._numbers = order, numbers

    def batches(self, first_step: int, last_step: int) -> tf.data.Dataset:
        """Steps `first_step` up to, not including, `last_step`, counted from the start of training.

        Each is (uint8 images (B, h, w, 3), int32 labels (B,)).
        """
        steps = tf.data.Dataset.range(first_step, last_step)
        if not augmentation.changes_anything(self._augment):
            return _prefetched(_fetched(steps, self._plain, [(self._batch_size, *self.shape, 3), (self._batch_size,)]))
        fetched = _fetched(
            steps,
            self._with_numbers,
            [(self._batch_size, *self.shape, 3), (self._batch_size,), (self._batch_size, augmentation.DRAWS)],
        )
        return _prefetched(
            fetched.map(
                lambda images, labels, numbers: (augmentation.augment(images, numbers, self._augment), labels),
                num_parallel_calls=tf.data.AUTOTUNE,
            )
        )

    def indices(self, step: int) -> tuple[int, Indices]:
        """Epoch of a step, and the examples it takes."""
        epoch, at = divmod(step, self.steps_per_epoch)
        return epoch, self._order(epoch)[at * self._batch_size : (at + 1) * self._batch_size]

    def _plain(self, step: int) -> tuple[Pixels, NDArray[np.int32]]:
        _, indices = self.indices(int(step))
        return self._reader.read(indices), self._split.labels[indices]

    def _with_numbers(self, step: int) -> tuple[Pixels, NDArray[np.int32], NDArray[np.float32]]:
        epoch, indices = self.indices(int(step))
        return self._reader.read(indices), self._split.labels[indices], self._numbers(epoch)[indices]


def ordered(
    split: Split, batch_size: int, image_size: int | None = None, workers: int | None = None
) -> tf.data.Dataset:
    """Every example of a split once, in its order: (uint8 images (≤B, h, w, 3), int32 labels (≤B,)).

    Args:
        image_size: the network's input; None: images stay as they are, which needs them to have one shape.

    Errors: ValueError (no `image_size` for images that differ in shape).
    """
    reader = Reader(split, image_size, workers)
    count = len(split)

    def fetch(start: int) -> tuple[Pixels, NDArray[np.int32]]:
        indices = np.arange(int(start), min(int(start) + batch_size, count))
        return reader.read(indices), split.labels[indices]

    return _prefetched(
        _fetched(tf.data.Dataset.range(0, count, batch_size), fetch, [(None, *reader.shape, 3), (None,)])
    )


TYPES = (tf.uint8, tf.int32, tf.float32)


def _fetched(
    positions: tf.data.Dataset, fetch: Callable[[Any], tuple[NDArray[Any], ...]], shapes: list[tuple[int | None, ...]]
) -> tf.data.Dataset:
    def call(position: tf.Tensor) -> tuple[tf.Tensor, ...]:
        arrays = tf.numpy_function(fetch, [position], TYPES[: len(shapes)], stateful=False)
        return tuple(tf.ensure_shape(array, shape) for array, shape in zip(arrays, shapes, strict=True))

    # Two at a time: while one waits for its last image, the next keeps the threads busy.
    return positions.map(call, num_parallel_calls=2, deterministic=True)


def _prefetched(batches: tf.data.Dataset) -> tf.data.Dataset:
    return batches.prefetch(READ_AHEAD)
