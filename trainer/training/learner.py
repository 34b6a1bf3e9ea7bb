"""A network with its optimiser and objective, and the compiled steps that move it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from trainer.config import Train
from trainer.errors import TrainingError
from trainer.training import objective
from trainer.training.averaging import Average

Compilation = Literal["graph", "xla"]

_MODEL, _AVERAGE = "model/", "average/"


class Score(NamedTuple):
    """Averages over examples, and the time that went by without one."""

    loss: float
    """What is minimised: auxiliary classifiers, class weights and penalties included."""
    cross_entropy: float
    """Of the main classifier alone, every example counting once."""
    accuracy: float
    examples: int
    waited: float
    """Seconds in which the device had nothing to do until the next batch came."""

    def since(self, earlier: Score) -> Score:
        """Of the examples that came after an `earlier` score of the same sums."""
        examples = self.examples - earlier.examples

        def mean(now: float, before: float) -> float:
            return (now * self.examples - before * earlier.examples) / max(examples, 1)

        return Score(
            mean(self.loss, earlier.loss),
            mean(self.cross_entropy, earlier.cross_entropy),
            mean(self.accuracy, earlier.accuracy),
            examples,
            self.waited - earlier.waited,
        )


class Learner:
    """Trains `model`, which maps uint8 images (batch, height, width, 3) to a dict of (batch, classes) logits.

    Labels are (batch,) int32, or (batch, classes) float32 targets that sum to 1 where images are mixed.

    Loss and accuracy are summed on the device, so that a step never waits for the host to read a figure.

    Made within the scope of a `tf.distribute.Strategy`, it steps on all of that strategy's devices; see
    `trainer.training.devices`.

    Args:
        model: with the weights that training begins with; a moving average begins with them too.
        train: the recipe's `[train]`.
        classes: how many there are.
        class_weights: factor on the loss of each class's examples, shape (classes,); None: all count the same.
        compilation: of a training step; validation is always a TensorFlow graph.
    """

    def __init__(
        self,
        model: keras.Model,
        train: Train,
        classes: int,
        class_weights: NDArray[np.float32] | None = None,
        compilation: Compilation = "graph",
    ) -> None:
        self.model = model
        self._strategy = tf.distribute.get_strategy()
        self._devices = self._strategy.num_replicas_in_sync
        self.optimizer = objective.optimizer(train)
        if train.clip_norm is not None:
            self.optimizer.global_clipnorm = train.clip_norm / self._devices  # see `_shared`
        if keras.mixed_precision.dtype_policy().name == "mixed_float16":
            self.optimizer = keras.optimizers.LossScaleOptimizer(self.optimizer, name="loss_scale")
        self.optimizer.build(model.trainable_variables)
        self._average = Average(model, train.ema) if train.ema is not None else None
        self._objective = objective.objective(train, classes, class_weights)
        self._l2 = train.l2
        share = train.batch_size // self._devices
        self._parts = max(1, share // (train.micro_batch_size or share))
        # Summed over examples: loss, cross-entropy, right answers, one.
        self._sums = tf.Variable(tf.zeros(4, tf.float64), trainable=False)
        self._waited = tf.Variable(0.0, dtype=tf.float64, trainable=False)
        self._compilation: Compilation | None = None
        self.compile(compilation)
        self._judge = tf.function(self._validation_step, reduce_retracing=True, autograph=False)

    def compile(self, compilation: Compilation) -> None:
        """Steps from here on are compiled like this. Nothing that `state` tells changes by it."""
        if compilation == self._compilation:
            return
        self._compilation = compilation
        self._step = tf.function(self._train_step, jit_compile=compilation == "xla", autograph=False)
        self._steps = tf.function(self._train_steps, autograph=False)
        self._steps_of: set[Any] = set()

    def advance(self, batches: tf.data.Iterator, rates: Sequence[float]) -> None:
        """One optimiser step at each of the learning rates, on the next batches, in one call of the device.

        Args:
            batches: an iterator over a `tf.data.Dataset` of (images, labels).
            rates: learning rates, one a step.

        Errors: tf.errors.OutOfRangeError (fewer batches than rates; the steps before are done).
        """
        self._refuse_averaged()
        kind = tuple(tf.nest.flatten(batches.element_spec))
        if kind not in self._steps_of:
            # Told at once that there may be any number of rates, TensorFlow makes one program for all of them.
            self._steps.get_concrete_function(batches, tf.TensorSpec([None], tf.float32))
            self._steps_of.add(kind)
        self._steps(batches, tf.constant(rates, tf.float32))

    def score(self) -> Score:
        """Averages since the last `reset`. Waits for the device."""
        return _score(self._sums.numpy(), float(self._waited.numpy()))

    def reset(self) -> None:
        self._sums.assign(tf.zeros(4, tf.float64))
        self._waited.assign(0.0)

    def validate(self, batches: tf.data.Dataset) -> Score:
        """Unsmoothed loss and accuracy of the main classifier in inference mode, with averaged weights if there are."""
        sums = tf.zeros(4, tf.float64)
        with self.averaged():
            for images, labels in batches:
                sums += self._judge(images, labels)
        return _score(sums.numpy(), 0.0)

    def averaged(self) -> AbstractContextManager[None]:
        """The model holds the averaged weights within, and its own after; nothing happens without `train.ema`."""
        return nullcontext() if self._average is None else self._average.in_place()

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything the next step depends on, by name: weights, batch statistics, dropout state, their average,
        optimiser, sums. How long steps have waited is not in it."""
        self._refuse_averaged()
        return {name: variable.numpy() for name, variable in self._variables().items()}

    def restore(self, state: Mapping[str, NDArray[Any]], weights_only: bool = False) -> None:
        """Take up a `state()`; of its weights, statistics, dropout states and averages only, where another phase left
        it.

        Errors: TrainingError where it belongs to another network or optimiser.
        """
        self._refuse_averaged()
        variables = self._variables()
        if weights_only:
            variables = {name: variable for name, variable in variables.items() if name.startswith((_MODEL, _AVERAGE))}
            state = {name: array for name, array in state.items() if name.startswith((_MODEL, _AVERAGE))}
        differing = sorted(
            name
            for name in variables.keys() | state.keys()
            if name not in variables or name not in state or tuple(variables[name].shape) != state[name].shape
        )
        if differing:
            raise TrainingError(
                f"The checkpoint belongs to another network or optimiser: {len(differing)} variables differ, "
                f"the first is {differing[0]!r}.",
                "Remove the checkpoint folder to train from the start.",
            )
        for name, variable in variables.items():
            variable.assign(state[name])

    def _variables(self) -> dict[str, Any]:
        """Weights, statistics and dropout states (all in `model.variables`), their average, optimiser slots, sums."""
        named: dict[str, Any] = {"sums": self._sums}
        for owner, variables in ((_MODEL, self.model.variables), ("optimizer/", self.optimizer.variables)):
            for index, variable in enumerate(variables):
                # Keras numbers seed generators per process: their paths are not the same after a restart.
                path = "seed" if "seed_generator" in variable.path else variable.path
                named[f"{owner}{index:04d}/{path}"] = variable
        if self._average is not None:
            named |= {f"{_AVERAGE}{name}": variable for name, variable in self._average.variables.items()}
        return named

    def _refuse_averaged(self) -> None:
        if self._average is not None and self._average.applied:
            raise RuntimeError("The model holds its averaged weights: training does not go on from them.")

    def _train_steps(self, batches: Any, rates: Any) -> None:
        # The outputs of a loop's body wait for all that it changes, so one step begins after the other has ended.
        def one(index: Any) -> Any:
            images, labels = self._next(batches)
            self._sums.assign_add(self._on_devices(images, labels, rates[index]))
            return index + 1

        tf.while_loop(lambda index: index < tf.size(rates), one, [tf.constant(0)], parallel_iterations=1)

    def _next(self, batches: Any) -> Any:
        """The next batch; the seconds until it came are added up."""
        # Nothing but these dependencies keeps TensorFlow from looking at the clock earlier or later.
        asked = tf.timestamp()
        with tf.control_dependencies([asked]):
            batch = next(batches)
        with tf.control_dependencies(tf.nest.flatten(batch, expand_composites=True)):
            given = tf.timestamp()
        self._waited.assign_add(given - asked)
        return batch

    def _on_devices(self, images: Any, labels: Any, rate: Any) -> Any:
        """One step, on every device with its part of the batch; figures of the whole batch."""
        if self._devices == 1:
            return self._step(images, labels, rate)
        figures = self._strategy.run(self._train_step, args=(images, labels, rate))
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, figures, axis=None)

    def _train_step(self, images: Any, labels: Any, rate: Any) -> Any:
        self.optimizer.learning_rate = rate
        figures, gradients = self._part(images, labels) if self._parts == 1 else self._in_parts(images, labels)
        self.optimizer.apply(self._shared(gradients), self.model.trainable_variables)
        if self._average is not None:
            self._average.follow()
        return figures

    def _shared(self, gradients: list[Any]) -> list[Any]:
        """What each device hands to the optimiser, which adds up what all of them hand to it.

        The optimiser clips, and float16's looks for infinities, before it adds up: they are given the mean over all
        devices, in as many equal parts, and the norm to clip at is divided likewise.
        """
        if self._devices == 1:
            return gradients
        if self.optimizer.global_clipnorm or isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):
            gradients = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, gradients)
        return [gradient / self._devices for gradient in gradients]

    def _part(self, images: Any, labels: Any) -> tuple[Any, list[Any]]:
        """Sums over some images (loss, cross-entropy, right answers, number), and gradients of their mean loss."""
        variables = self.model.trainable_variables
        with tf.GradientTape() as tape:
            logits = self.model(images, training=True)
            loss, cross_entropy = self._objective(logits, labels)
            if self._l2:
                loss += objective.l2_penalty(variables, self._l2)
            scaled = self.optimizer.scale_loss(loss)
        figures = _figures(loss, cross_entropy, logits["main"], labels)
        return figures, tape.gradient(scaled, variables)

    def _in_parts(self, images: Any, labels: Any) -> tuple[Any, list[Any]]:
        """The same of a batch, part after part: only one part's activations are in memory at a time."""
        parts = self._parts
        images, labels = (tf.reshape(x, [parts, -1, *x.shape[1:]]) for x in (images, labels))

        def add(index: Any, figures: Any, gradients: list[Any]) -> tuple[Any, Any, list[Any]]:
            more_figures, more = self._part(images[index], labels[index])
            summed = [total + gradient / parts for total, gradient in zip(gradients, more, strict=True)]
            return index + 1, figures + more_figures, summed

        nothing = [tf.zeros(v.shape, v.dtype) for v in self.model.trainable_variables]
        start = (tf.constant(0), tf.zeros(4, tf.float64), nothing)
        _, figures, gradients = tf.while_loop(lambda index, *_: index < parts, add, start, parallel_iterations=1)
        return figures, gradients

    def _validation_step(self, images: Any, labels: Any) -> Any:
        logits = self.model(images, training=False)["main"]
        loss = keras.ops.mean(objective.validation_loss(logits, labels))
        return _figures(loss, loss, logits, labels)


def _figures(loss: Any, cross_entropy: Any, logits: Any, labels: Any) -> Any:
    """(4,) float64: two means over a batch as sums over it, its right answers, its size."""
    size = tf.cast(tf.shape(labels)[0], tf.float64)
    right = tf.argmax(labels, axis=-1, output_type=tf.int32) if labels.shape.rank == 2 else labels
    hit = tf.equal(tf.argmax(logits, axis=-1, output_type=right.dtype), right)
    means = [tf.cast(mean, tf.float64) * size for mean in (loss, cross_entropy)]
    return tf.stack([*means, tf.reduce_sum(tf.cast(hit, tf.float64)), size])


def _score(sums: NDArray[np.float64], waited: float) -> Score:
    loss, cross_entropy, right, examples = (float(x) for x in sums)
    count = max(examples, 1.0)
    return Score(loss / count, cross_entropy / count, right / count, int(examples), waited)
