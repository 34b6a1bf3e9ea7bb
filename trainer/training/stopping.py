"""Early stopping: which epoch was the best, and when to wait no longer for a better one."""

from __future__ import annotations

import math
from typing import Any

from trainer.config import EarlyStopping
from trainer.record import Epoch


class Best:
    """The best epoch so far by the recipe's `[train.early_stopping]`; without it no epoch is judged, and none stops.

    The rule is Keras': better is better by more than `min_delta`, and it stops after `patience` epochs in a row that
    were not. A figure that is not a number is never better.
    """

    def __init__(self, rule: EarlyStopping | None) -> None:
        self._rule = rule
        self.epoch: int | None = None
        """Number of the best epoch."""
        self._figure: float | None = None
        self._waited = 0

    @property
    def stop(self) -> bool:
        """Whether patience has run out."""
        return self._rule is not None and self._waited >= self._rule.patience

    def judge(self, epoch: Epoch) -> bool:
        """Whether this epoch, which comes after all those judged before, is the best so far."""
        if self._rule is None:
            return False
        figure = float(getattr(epoch, self._rule.metric))
        better = math.isfinite(figure) and (self._figure is None or self._gain(figure) > self._rule.min_delta)
        if better:
            self.epoch, self._figure, self._waited = epoch.epoch, figure, 0
        else:
            self._waited += 1
        return better

    def state(self) -> dict[str, Any]:
        """For a checkpoint, as JSON has it."""
        return {"epoch": self.epoch, "figure": self._figure, "waited": self._waited}

    def recall(self, state: dict[str, Any]) -> None:
        """Take up a `state()`."""
        self.epoch, self._figure, self._waited = state["epoch"], state["figure"], state["waited"]

    def _gain(self, figure: float) -> float:
        """How much better than the best a figure is."""
        assert self._rule is not None
        assert self._figure is not None
        higher = figure - self._figure
        return higher if self._rule.metric == "validation_accuracy" else -higher
