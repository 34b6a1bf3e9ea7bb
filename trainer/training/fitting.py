"""One network from its first step, or from its last checkpoint, to its last step.

Whatever ends a fitting early, the next one with the same checkpoints goes on from the last whole one and sees the same
batches, the same augmentation and the same dropout that an uninterrupted one would have seen.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer.config import Recipe
from trainer.data.balance import class_weights
from trainer.data.feed import Feed, ordered
from trainer.data.prepared import PreparedDataset
from trainer.errors import TrainingError
from trainer.events import note
from trainer.interruption import interruption
from trainer.models import classifier, zoo
from trainer.record import Epoch
from trainer.training import compilation, divergence, memory_probe
from trainer.training.checkpoints import Checkpoint, Checkpoints
from trainer.training.devices import Devices
from trainer.training.headway import BEST, FINAL, Headway, Weights, taken
from trainer.training.learner import Compilation, Learner, Score
from trainer.training.observer import Look, Observer
from trainer.training.pace import steps_at_once
from trainer.training.phases import Phase, freeze, phases

LOOK_EVERY_SECONDS = 0.5


@dataclass(frozen=True)
class Fitted:
    weights: Weights
    """Of the trained network: averaged and of the best epoch, where the recipe says so."""
    epochs: list[Epoch]
    chosen_epoch: int
    parameters: int
    """Of the network in training, auxiliary classifiers included."""
    seconds: float
    restarts: list[str]
    compilation: Compilation
    resumed_from_epoch: int | None
    init: str | None
    """The weights it began with, where those were not random."""


Begin = Callable[[keras.Model, int], "str | None"]
"""Fills the network of a member with weights to begin with; says which, or None where they stay random."""


class Fitting:
    """One network on its way. `run` does all of it, once.

    Args:
        recipe: what to train, and how.
        dataset: as `trainer.prepare` left it.
        checkpoints: of this member alone.
        observer: is told how it goes.
        devices: where, and how it is spread.
        cache: folder that remembers what was measured on this machine.
        member: which network of an ensemble, from 1; its seed is the recipe's plus the members before it.
        begin: fills the network with weights to begin with, where there is no checkpoint.
    """

    def __init__(
        self,
        recipe: Recipe,
        dataset: PreparedDataset,
        checkpoints: Checkpoints,
        observer: Observer,
        devices: Devices,
        cache: Path,
        member: int = 1,
        begin: Begin | None = None,
    ) -> None:
        self.recipe = recipe
        self.settings = recipe.train.model_copy(update={"seed": recipe.train.seed + member - 1})
        self.class_weights = class_weights(
            dataset.manifest.counts["train"], recipe.train.class_weights, dataset.manifest.classes
        )
        self.options = zoo.resolve(recipe.model)
        self.classes = dataset.manifest.classes
        self.checkpoints = checkpoints
        self.observer = observer
        self.devices = devices
        self.cache = cache
        self.member = member
        self.begin = begin
        split = dataset.split("train")
        self.examples = len(split)
        self.feed = Feed(split, self.settings, self.options.image_size, recipe.resources.workers)
        self.held_out = ordered(
            dataset.split("validation"), recipe.evaluate.batch_size, self.options.image_size, recipe.resources.workers
        )
        self.steps = self.feed.steps_per_epoch
        self.total = self.steps * self.settings.epochs
        self.at = Headway(self.settings)
        self.resumed_from_epoch: int | None = None
        self.lap = 0.0

    def run(self) -> Fitted:
        """Train to the end.

        Errors: TrainingError (diverged, larger than memory, checkpoints of another recipe), StateError, DataError;
        Interrupted, with a checkpoint written, where a signal asked for it.
        """
        policy = keras.mixed_precision.dtype_policy().name
        with interruption.heeded(), self.checkpoints:
            found = self.checkpoints.latest()
            if found is not None:
                self.at.recall(found)
                self.resumed_from_epoch = min(self.at.step // self.steps + 1, self.settings.epochs)
                if found.position.loop["finished"]:
                    return self._fitted(taken(found.arrays, FINAL), found.position.loop["parameters"])
                note(f"resuming after {self._place()}")
                began = found.position.loop["precision"]
                if began != policy:
                    note(f"it began in {began} and goes on in {policy}: the last bits will differ")
            elif self.member == 1:
                memory_probe.guard(self.recipe, len(self.classes), self.feed.shape, policy)
            while True:
                try:
                    learner = self._through_phases(found)
                    break
                except Diverged as error:
                    found = self._go_back(error)
            with learner.averaged():
                weights = self.at.best_weights or classifier.weights_of(learner.model)
            # The network is whole from here on: a kill while it is exported costs no training.
            self._save({FINAL + path: array for path, array in weights.items()}, learner, finished=True)
            if interruption.asked:
                self.checkpoints.wait()
                raise interruption.stopped("train", self._place())
            return self._fitted(weights, learner.model.count_params())

    def _go_back(self, error: Diverged) -> Checkpoint | None:
        """The last good checkpoint, to go on from at a lower rate; None: the start. Errors: TrainingError."""
        found = self.checkpoints.latest()
        back = "the start" if found is None else f"the checkpoint after step {found.position.step:,}"
        policy, tries = self.settings.divergence, len(self.at.restarts)
        if tries >= policy.restarts:
            tried = f" It was restarted {tries} time{'' if tries == 1 else 's'}." if tries else ""
            raise TrainingError(
                f"{error} The last good state is {back}.{tried}",
                "Lower train.optimizer.learning_rate or set train.clip_norm. With train.divergence.restarts it goes "
                "back and tries a lower rate by itself.",
            )
        self.at = self.at.back(found, f"{error} It went on from {back}", policy.rate_factor)
        note(self.at.restarts[-1])
        return found

    def _built(self) -> keras.Model:
        keras.utils.set_random_seed(self.settings.seed)
        return classifier.for_training(self.recipe.model, len(self.classes), self.feed.shape)

    def _through_phases(self, found: Checkpoint | None) -> Learner:
        """Resumes in this order, and trains to the end:

        1. the newest whole checkpoint, or the one before it; without any, the weights to begin with
        2. curves, clock, best epoch, restarts
        3. weights, batch statistics, averages and dropout state; the optimiser's too, unless its phase ended there
        4. the feed, from the step after
        """
        with self.devices.strategy.scope():
            model = self._built()
            network = model.get_layer(self.options.variant)
            if found is None and self.begin is not None:
                self.at.init = self.begin(network, self.member)
            epochs = self.settings.epochs
            note(
                f"{self.options.variant}: {model.count_params():,} parameters; {self.examples:,} images, "
                f"{self.steps} steps of {self.settings.batch_size} an epoch, {epochs} epoch{'' if epochs == 1 else 's'}"
            )
            plan = phases(self.recipe, network, self.steps)
            state, begin = (None, 0) if found is None else (found.arrays, self.at.step)
            for phase in plan:
                if phase.last_step <= begin:
                    continue  # an earlier sitting did it
                freeze(network, phase.frozen)
                learner = Learner(model, self.settings, len(self.classes), self.class_weights)
                if state is not None:
                    # The best epoch's weights are kept beside what the learner knows.
                    known = {name: array for name, array in state.items() if not name.startswith(BEST)}
                    learner.restore(known, weights_only=begin <= phase.first_step)
                if len(plan) > 1:
                    note(f"{phase.name}: {_moving(model):,} parameters move")
                try:
                    self._through(phase, learner)
                except tf.errors.ResourceExhaustedError as error:
                    raise self._exhausted(learner) from error
                if self.at.best.stop:
                    break
                state, begin = learner.state(), phase.last_step
        return learner

    def _through(self, phase: Phase, learner: Learner) -> None:
        """To the end of a phase, or to where early stopping ends the training."""
        # A resumed training keeps to its first choice: results under XLA differ in the last bits.
        self.at.compilation = compilation.settle(
            learner, self.recipe, self.at.compilation, self.devices, self._first_batch, self.cache
        )
        batches = self.devices.iterate(self.feed.batches(self.at.step, phase.last_step))
        asked = self.recipe.resources.steps_per_execution
        pace: float | None = None
        before, looked_at = learner.score(), self.at.step
        self.lap = saved = time.monotonic()
        while self.at.step < phase.last_step and not self.at.best.stop:
            until_boundary = self.steps - self.at.step % self.steps
            at_once = steps_at_once(pace, asked, until_boundary, self.devices.is_gpu)
            rates = [phase.rate(step) * self.at.rate_scale for step in range(self.at.step, self.at.step + at_once)]
            learner.advance(batches, rates)
            self.at.step += at_once
            ended = at_once == until_boundary
            if not (ended or interruption.asked or time.monotonic() - self.lap >= LOOK_EVERY_SECONDS):
                continue
            score = learner.score()  # waits for the device
            since = self._count()
            self._refuse_divergence(score.since(before), rates[-1])
            pace = since / (self.at.step - looked_at)
            before, looked_at = score, self.at.step
            look = self._look(score, rates[-1])
            self.observer.looked(look)
            if ended:
                self._end_epoch(phase, learner, look)
                before = learner.score()
            overdue = time.monotonic() - saved >= self.recipe.resources.checkpoint_minutes * 60
            if (ended or overdue or interruption.asked) and self.at.step < self.total and not self.at.best.stop:
                self._save(self._whole(learner, score, rates[-1]), learner)
                saved = time.monotonic()
                if interruption.asked:
                    self.checkpoints.wait()
                    raise interruption.stopped("train", self._place())
            self.lap = time.monotonic()  # validation and checkpoints are not training time

    def _exhausted(self, learner: Learner) -> TrainingError:
        return memory_probe.exhausted(self.recipe, learner, self.feed.shape, self.devices.iterate)

    def _first_batch(self) -> tuple[Any, Any]:
        images, labels = next(self.devices.iterate(self.feed.batches(0, 1)))
        return images, labels

    def _count(self) -> float:
        """Seconds of training since the last look, now on the clocks."""
        since = time.monotonic() - self.lap
        self.at.seconds, self.at.epoch_seconds = self.at.seconds + since, self.at.epoch_seconds + since
        return since

    def _refuse_divergence(self, score: Score, rate: float) -> None:
        if divergence.exploded(score, len(self.classes), self.settings.divergence.loss_factor):
            raise self._diverged(score.loss, rate)

    def _diverged(self, loss: float, rate: float) -> Diverged:
        where = f"at {self._place()}, at a learning rate of {rate:.3g}"
        return Diverged(f"The training diverged: the loss is {loss:.6g} {where}.")

    def _place(self) -> str:
        epoch, step = divmod(self.at.step - 1, self.steps)
        return f"epoch {epoch + 1}, step {step + 1} of {self.steps}"

    def _look(self, score: Score, rate: float) -> Look:
        speed = score.examples / self.at.epoch_seconds
        return Look(
            member=self.member,
            step=self.at.step,
            total=self.total,
            epoch=(self.at.step - 1) // self.steps + 1,
            epochs=self.settings.epochs,
            loss=score.loss,
            accuracy=score.accuracy,
            learning_rate=rate,
            images_per_second=speed,
            input_wait=min(1.0, score.waited / self.at.epoch_seconds),
            seconds_left=(self.total - self.at.step) * self.settings.batch_size / speed,
        )

    def _end_epoch(self, phase: Phase, learner: Learner, look: Look) -> None:
        held = learner.validate(self.held_out)
        epoch = Epoch(
            epoch=look.epoch,
            phase=phase.name,
            member=self.member,
            loss=look.loss,
            accuracy=look.accuracy,
            validation_loss=held.loss,
            validation_accuracy=held.accuracy,
            learning_rate=look.learning_rate,
            images_per_second=look.images_per_second,
            seconds=self.at.epoch_seconds,
            input_wait=look.input_wait,
        )
        # How large it is says nothing: statistics of batches lag behind in the first epochs of a sound training.
        if not math.isfinite(held.loss):
            raise self._diverged(held.loss, look.learning_rate)
        self.at.curves.append(epoch)
        if phase.last_step == self.total and self.at.best.judge(epoch):
            with learner.averaged():
                self.at.best_weights = classifier.weights_of(learner.model)
        learner.reset()
        self.at.epoch_seconds = 0.0
        self.observer.ended(epoch, look)

    def _whole(self, learner: Learner, score: Score, rate: float) -> Weights:
        """What the next step depends on. Errors: Diverged, where the last step has spoilt it: its loss came before."""
        state = learner.state()
        if not all(np.isfinite(array).all() for array in state.values() if array.dtype.kind == "f"):
            raise self._diverged(score.loss, rate)
        return state | {BEST + path: array for path, array in self.at.best_weights.items()}

    def _save(self, arrays: Weights, learner: Learner, finished: bool = False) -> None:
        precision = keras.mixed_precision.dtype_policy().name
        position = self.at.position(finished=finished, parameters=learner.model.count_params(), precision=precision)
        self.checkpoints.save(position, list(self.at.curves), dict(arrays))

    def _fitted(self, weights: Weights, parameters: int) -> Fitted:
        return Fitted(
            weights=weights,
            epochs=self.at.curves,
            chosen_epoch=self.at.best.epoch or self.at.curves[-1].epoch,
            parameters=parameters,
            seconds=self.at.seconds,
            restarts=self.at.restarts,
            compilation=self.at.compilation or "graph",
            resumed_from_epoch=self.resumed_from_epoch,
            init=self.at.init,
        )


class Diverged(Exception):
    """The loss exploded or is no number any more."""


def _moving(model: keras.Model) -> int:
    return sum(math.prod(variable.shape) for variable in model.trainable_variables)
