"""How far a fitting has come: what it remembers beside its learner's arrays, and takes out of a checkpoint again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from trainer.config import Train
from trainer.record import Epoch
from trainer.training.checkpoints import Checkpoint, Position
from trainer.training.learner import Compilation
from trainer.training.stopping import Best

FINAL, BEST = "final/", "best/"
"""Where, in a checkpoint, the weights of a finished training lie, and those of its best epoch so far."""

Weights = Mapping[str, np.ndarray]
"""Arrays by the path of the variable they belong to."""


class Headway:
    """Begins at nothing; `recall` goes back, or on, to what a checkpoint holds."""

    def __init__(self, train: Train) -> None:
        self._train = train
        self.step = 0
        """Optimiser steps done."""
        self.seconds = 0.0
        """Training time, over all sittings; validation and checkpoints left out."""
        self.epoch_seconds = 0.0
        """Of these, in the epoch under way."""
        self.curves: list[Epoch] = []
        self.best = Best(train.early_stopping)
        self.best_weights: Weights = {}
        self.rate_scale = 1.0
        """What restarts have left of the learning rate."""
        self.restarts: list[str] = []
        """Every return after a divergence, in words."""
        self.compilation: Compilation | None = None
        self.init: str | None = None

    def recall(self, found: Checkpoint) -> None:
        """Take up what a checkpoint holds."""
        position, loop = found.position, found.position.loop
        self.step, self.seconds, self.epoch_seconds = position.step, position.seconds, position.epoch_seconds
        self.curves = list(found.curves)
        self.best.recall(loop["best"])
        self.best_weights = taken(found.arrays, BEST)
        self.rate_scale, self.restarts = loop["rate_scale"], loop["restarts"]
        self.compilation, self.init = loop["compilation"], loop["init"]

    def back(self, found: Checkpoint | None, why: str, factor: float) -> Headway:
        """At a checkpoint, or at the start, with a lower rate from there on, and with the reason on record."""
        again = Headway(self._train)
        if found is not None:
            again.recall(found)
        again.rate_scale = self.rate_scale * factor
        again.restarts = [*self.restarts, f"{why}, with {again.rate_scale:g} of the learning rate."]
        return again

    def position(self, **more: Any) -> Position:
        """For a checkpoint, with whatever else the loop wants to find there."""
        loop = {
            "best": self.best.state(),
            "rate_scale": self.rate_scale,
            "restarts": self.restarts,
            "compilation": self.compilation,
            "init": self.init,
        }
        return Position(self.step, self.seconds, self.epoch_seconds, loop | more)


def taken(arrays: Weights, prefix: str) -> Weights:
    """The arrays under a prefix, without it."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
