"""Batches for training, from any position and the same every time; and a split in order, for evaluation.

A position is a global step. The order of an epoch is drawn from (seed, epoch), so a stream that starts at step n gives
exactly what an uninterrupted one gives from there.
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

from trainer.config import Train
from trainer.data.augmentation import mixing
from trainer.data.augmentation.changes import Changes
from trainer.data.augmentation.crops import Cropping
from trainer.data.balance import balanced_order
from trainer.data.images import Pixels, resize
from trainer.data.prepared import Split
from trainer.errors import DataError

READ_AHEAD = 2
"""Batches made in advance. They are what a feed costs in memory."""

Indices = NDArray[np.int64]
Shapes = list[tuple[tf.DType, tuple[int | None, ...]]]


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

    def read_crops(self, indices: Indices, cropping: Cropping, numbers: NDArray[np.float32]) -> Pixels:
        """(B, *shape, 3) uint8, a part of each image. Args: numbers, a row of `cropping`'s for each."""

        def one(index: int, own: NDArray[np.float32]) -> Pixels:
            return cropping.crop(self._split.image(index), own, self.shape)

        return np.stack(list(self._pool.map(one, indices.tolist(), numbers)))


class Feed:
    """Training batches of one split.

    Args:
        split: where the examples come from.
        settings: the recipe's `[train]`, for batch size, seed, sampling and augmentation. What is left over at an
            epoch's end is left out of that epoch.
        image_size: the network's input, in pixels.
        workers: threads that decode; None: one per processor.

    Errors: DataError (fewer examples than one batch).
    """

    def __init__(self, split: Split, settings: Train, image_size: int, workers: int | None = None) -> None:
        seed, augment = settings.seed, settings.augment
        self.steps_per_epoch = len(split) // settings.batch_size
        if not self.steps_per_epoch:
            raise DataError(
                f"The {split.name} split has {len(split)} images, fewer than one batch of {settings.batch_size}.",
                f"Set train.batch_size to {len(split)} or less, or add images.",
            )
        self._split = split
        self._settings = settings
        self._reader = Reader(split, image_size, workers)
        self.shape = self._reader.shape
        """(h, w) of the images in a batch."""
        self._cropping = None if augment.crop is None else Cropping(augment.crop, seed)
        self._changes = Changes(augment, seed, len(split), self.shape)
        self._mixes = mixing.wanted(augment)

        # Two epochs: around the border both are asked for in turn.
        @lru_cache(maxsize=2)
        def order(epoch: int) -> Indices:
            if settings.sampling == "balanced":
                return balanced_order(split.labels, seed, epoch, self.steps_per_epoch * settings.batch_size)
            return np.random.default_rng([seed, epoch]).permutation(len(split))

        self._order = order

    def batches(self, first_step: int, last_step: int) -> tf.data.Dataset:
        """Steps `first_step` up to, not including, `last_step`, counted from the start of training.

        Each is (uint8 images (B, h, w, 3), int32 labels (B,)). Where images are mixed the labels are float32 targets
        (B, classes), each row of which sums to 1.
        """
        size, columns = self._settings.batch_size, self._changes.columns
        images, labels, targets = (
            (tf.uint8, (size, *self.shape, 3)),
            (tf.int32, (size,)),
            (tf.float32, (size, len(self._split.classes))),
        )
        steps = tf.data.Dataset.range(first_step, last_step)
        # Two at a time: while one waits for its last image, the next keeps the threads busy.
        batches = _mapped(
            steps, self._fetch, [(tf.int64, ()), images, labels, (tf.float32, (size, columns))], at_once=2
        )
        if columns:
            batches = batches.map(_as_it_is(self._compute), num_parallel_calls=tf.data.AUTOTUNE)
        if self._mixes or self._changes.erases:
            batches = _mapped(batches, self._finish, [images, targets if self._mixes else labels])
        else:
            batches = batches.map(_as_it_is(lambda step, images, labels, numbers: (images, labels)))
        return batches.prefetch(READ_AHEAD)

    def indices(self, step: int) -> tuple[int, Indices]:
        """Epoch of a step, and the examples it takes."""
        epoch, examples, _ = self._step(step)
        return epoch, examples

    def epoch(self, epoch: int) -> tuple[Indices, Indices]:
        """The examples of an epoch in their order, and the turn of each: what its changes go by (see
        `trainer.data.augmentation`)."""
        examples = self._order(epoch)[: self.steps_per_epoch * self._settings.batch_size]
        return examples, examples if self._settings.sampling == "shuffle" else np.arange(len(examples))

    def changed(self, epoch: int, examples: Indices, turns: Indices) -> Pixels:
        """(B, h, w, 3) uint8: examples at their turns of an epoch, as they are before any are mixed."""
        images = self._read(epoch, examples, turns)
        if self._changes.columns:
            images = np.array(self._changes.apply(tf.constant(images), self._changes.numbers(epoch, turns)))
        self._changes.erase(images, epoch, turns)
        return images

    def _step(self, step: int) -> tuple[int, Indices, Indices]:
        epoch, at = divmod(step, self.steps_per_epoch)
        taken = slice(at * self._settings.batch_size, (at + 1) * self._settings.batch_size)
        examples, turns = self.epoch(epoch)
        return epoch, examples[taken], turns[taken]

    def _read(self, epoch: int, examples: Indices, turns: Indices) -> Pixels:
        if self._cropping is None:
            images = self._reader.read(examples)
        else:
            images = self._reader.read_crops(examples, self._cropping, self._cropping.numbers(epoch, turns))
        return self._changes.move(images, epoch, turns)

    def _fetch(self, step: int) -> tuple[int, Pixels, NDArray[np.int32], NDArray[np.float32]]:
        epoch, examples, turns = self._step(int(step))
        numbers = self._changes.numbers(epoch, turns)
        return step, self._read(epoch, examples, turns), self._split.labels[examples], numbers

    def _compute(
        self, step: tf.Tensor, images: tf.Tensor, labels: tf.Tensor, numbers: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        return step, self._changes.apply(images, numbers), labels, numbers

    def _finish(
        self, step: int, images: Pixels, labels: NDArray[np.int32], numbers: NDArray[np.float32]
    ) -> tuple[Pixels, NDArray[Any]]:
        epoch, _, turns = self._step(int(step))
        if self._changes.erases:
            images = images.copy()
            self._changes.erase(images, epoch, turns)
        if not self._mixes:
            return images, labels
        settings = self._settings
        mixture = mixing.mixture(settings.augment, settings.seed, int(step), settings.batch_size, self.shape)
        return mixing.mixed(images, mixture), mixing.targets(labels, mixture, len(self._split.classes))


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

    shapes: Shapes = [(tf.uint8, (None, *reader.shape, 3)), (tf.int32, (None,))]
    batches = _mapped(tf.data.Dataset.range(0, count, batch_size), fetch, shapes, at_once=2)
    return batches.prefetch(READ_AHEAD)


def _mapped(
    elements: tf.data.Dataset,
    function: Callable[..., tuple[Any, ...]],
    shapes: Shapes,
    at_once: int = tf.data.AUTOTUNE,
) -> tf.data.Dataset:
    """What a function makes of the elements' arrays."""

    def call(*given: tf.Tensor) -> tuple[tf.Tensor, ...]:
        arrays = tf.numpy_function(function, given, [dtype for dtype, _ in shapes], stateful=False)
        return tuple(tf.ensure_shape(array, shape) for array, (_, shape) in zip(arrays, shapes, strict=True))

    return elements.map(_as_it_is(call), num_parallel_calls=at_once, deterministic=True)


def _as_it_is(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that AutoGraph leaves alone: there is nothing in it to convert, and looking takes long."""
    unconverted: Callable[..., Any] = tf.autograph.experimental.do_not_convert(function)
    return unconverted
