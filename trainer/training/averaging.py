"""A moving average of a network's weights, kept on its device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import tensorflow as tf

from trainer.config import Ema


class Average:
    """Exponential moving average of every floating weight of `model`, statistics of batch normalisation included.

    Keras' own (`use_ema` of its optimisers) leaves the statistics out, so that averaged weights would be normalised by
    what belongs to others. It begins with the weights that the model has when it is made. Step t keeps min(decay,
    (1 + t) / (10 + t)) of it (the rule of `tf.train.ExponentialMovingAverage` with `num_updates`), so that a short
    training is not an average of its random beginning.
    """

    def __init__(self, model: keras.Model, ema: Ema) -> None:
        self._ema = ema
        self._weights = [v for v in model.weights if tf.as_dtype(v.dtype).is_floating]
        self._averages = [tf.Variable(v.value, trainable=False) for v in self._weights]
        self._steps = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._applied = False

    @property
    def applied(self) -> bool:
        """Whether the model holds the average now."""
        return self._applied

    @property
    def variables(self) -> dict[str, tf.Variable]:
        """All that the average goes on from, by name."""
        named = {
            f"{index:04d}/{weight.path}": average
            for index, (weight, average) in enumerate(zip(self._weights, self._averages, strict=True))
        }
        return named | {"steps": self._steps}

    def follow(self) -> None:
        """After an optimiser step, within its graph: move towards the weights, every `ema.every` steps.

        It moves then by as much as it would have moved over these steps, had the weights stood still.
        """
        self._steps.assign_add(1)
        every = self._ema.every
        if every == 1:
            self._move()
            return

        def moved() -> tf.Tensor:
            self._move()
            return tf.constant(0)

        tf.cond(tf.equal(self._steps % every, 0), moved, lambda: tf.constant(0))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model holds the average within, and its own weights, to the bit, after. Within itself it does nothing."""
        if self._applied:
            yield
            return
        own = [tf.identity(weight.value) for weight in self._weights]
        self._applied = True
        try:
            for weight, average in zip(self._weights, self._averages, strict=True):
                weight.assign(average)
            yield
        finally:
            for weight, value in zip(self._weights, own, strict=True):
                weight.assign(value)
            self._applied = False

    def _move(self) -> None:
        # In double precision: what single precision leaves of 1 - 0.9999 is off by a part in some thousands.
        steps = tf.cast(self._steps - tf.range(self._ema.every, dtype=tf.int64), tf.float64)
        moved = 1.0 - tf.reduce_prod(tf.minimum((1.0 + steps) / (10.0 + steps), self._ema.decay))
        for weight, average in zip(self._weights, self._averages, strict=True):
            average.assign_add(tf.cast(moved, average.dtype) * (weight.value - average))
