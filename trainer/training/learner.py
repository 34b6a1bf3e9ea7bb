"""A network with its optimiser and objective, and the compiled steps that move it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from trainer.config import Train
from trainer.errors import TrainingError
from trainer.training import objective

_MODEL = "model/"


class Score(NamedTuple):
    """Averages over examples."""

    loss: float
    accuracy: float
    examples: int


class Learner:
    """Trains `model`, which maps uint8 images (batch, height, width, 3) to a dict of (batch, classes) logits.

    Loss and accuracy are summed on the device, so that a step never waits for the host to read a figure.
    """

    def __init__(self, model: keras.Model, train: Train, classes: int) -> None:
        self.model = model
        self.optimizer = objective.optimizer(train)
        if keras.mixed_precision.dtype_policy().name == "mixed_float16":
            self.optimizer = keras.optimizers.LossScaleOptimizer(self.optimizer, name="loss_scale")
        self.optimizer.build(model.trainable_variables)
        self._loss = objective.objective(train, classes)
        self._l2 = train.l2
        self._parts = train.batch_size // (train.micro_batch_size or train.batch_size)
        self._sums = tf.Variable(tf.zeros(3, tf.float64), trainable=False)  # loss, correct, examples
        self._step = tf.function(self._train_step, reduce_retracing=True)
        self._judge = tf.function(self._validation_step, reduce_retracing=True)

    def step(self, images: Any, labels: Any, learning_rate: float) -> None:
        """One optimiser step on a batch."""
        self.optimizer.learning_rate = learning_rate
        self._step(images, labels)

    def score(self) -> Score:
        """Averages since the last `reset`, auxiliary losses and penalties included. Waits for the device."""
        loss, correct, examples = (float(x) for x in self._sums.numpy())
        return Score(loss / max(examples, 1.0), correct / max(examples, 1.0), int(examples))

    def reset(self) -> None:
        self._sums.assign(tf.zeros(3, tf.float64))

    def validate(self, batches: tf.data.Dataset) -> Score:
        """Unsmoothed loss and accuracy of the main classifier in inference mode."""
        total = np.zeros(3)
        for images, labels in batches:
            total += self._judge(images, labels).numpy()
        return Score(total[0] / max(total[2], 1), total[1] / max(total[2], 1), int(total[2]))

    def state(self) -> dict[str, np.ndarray]:
        """Everything the next step depends on, by name: weights, batch statistics, dropout state, optimiser, sums."""
        return {name: variable.numpy() for name, variable in self._variables().items()}

    def restore(self, state: Mapping[str, np.ndarray], weights_only: bool = False) -> None:
        """Take up a `state()`; of its weights, statistics and dropout states only, where another phase left it.

        Errors: TrainingError where it belongs to another network or optimiser.
        """
        variables = self._variables()
        if weights_only:
            variables = {name: variable for name, variable in variables.items() if name.startswith(_MODEL)}
            state = {name: array for name, array in state.items() if name.startswith(_MODEL)}
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
        """Weights, statistics and dropout states (all in `model.variables`), optimiser slots, sums."""
        named: dict[str, Any] = {"sums": self._sums}
        for owner, variables in ((_MODEL, self.model.variables), ("optimizer/", self.optimizer.variables)):
            for index, variable in enumerate(variables):
                # Keras numbers seed generators per process: their paths are not the same after a restart.
                path = "seed" if "seed_generator" in variable.path else variable.path
                named[f"{owner}{index:04d}/{path}"] = variable
        return named

    def _train_step(self, images: Any, labels: Any) -> None:
        variables = self.model.trainable_variables
        loss, correct, gradients = self._part(images, labels) if self._parts == 1 else self._in_parts(images, labels)
        self.optimizer.apply(gradients, variables)
        size = tf.cast(tf.shape(labels)[0], tf.float64)
        self._sums.assign_add(tf.stack([tf.cast(loss, tf.float64) * size, correct, size]))

    def _part(self, images: Any, labels: Any) -> tuple[Any, Any, list[Any]]:
        """Loss, number of right answers and gradients of some images."""
        variables = self.model.trainable_variables
        with tf.GradientTape() as tape:
            logits = self.model(images, training=True)
            loss = self._loss(logits, labels)
            if self._l2:
                loss += objective.l2_penalty(variables, self._l2)
            scaled = self.optimizer.scale_loss(loss)
        return loss, _correct(logits["main"], labels), tape.gradient(scaled, variables)

    def _in_parts(self, images: Any, labels: Any) -> tuple[Any, Any, list[Any]]:
        """The same of a batch, part after part: only one part's activations are in memory at a time."""
        parts = self._parts
        images = tf.reshape(images, [parts, -1, *images.shape[1:]])
        labels = tf.reshape(labels, [parts, -1])

        def add(index: Any, loss: Any, correct: Any, gradients: list[Any]) -> tuple[Any, Any, Any, list[Any]]:
            more_loss, more_correct, more = self._part(images[index], labels[index])
            summed = [total + gradient / parts for total, gradient in zip(gradients, more, strict=True)]
            return index + 1, loss + more_loss / parts, correct + more_correct, summed

        nothing = [tf.zeros(v.shape, v.dtype) for v in self.model.trainable_variables]
        start = (tf.constant(0), tf.constant(0.0), tf.constant(0.0, tf.float64), nothing)
        _, loss, correct, gradients = tf.while_loop(lambda index, *_: index < parts, add, start, parallel_iterations=1)
        return loss, correct, gradients

    def _validation_step(self, images: Any, labels: Any) -> Any:
        logits = self.model(images, training=False)["main"]
        loss = tf.reduce_sum(tf.cast(objective.validation_loss(logits, labels), tf.float64))
        return tf.stack([loss, _correct(logits, labels), tf.cast(tf.shape(labels)[0], tf.float64)])


def _correct(logits: Any, labels: Any) -> Any:
    hit = tf.equal(tf.argmax(logits, axis=-1, output_type=labels.dtype), labels)
    return tf.reduce_sum(tf.cast(hit, tf.float64))
