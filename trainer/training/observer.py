"""What a fitting tells of itself while it goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from trainer.record import Epoch


@dataclass(frozen=True)
class Look:
    """How far a training has come, and how fast it goes."""

    member: int
    step: int
    """Optimiser steps done, over all epochs."""
    total: int
    epoch: int
    epochs: int
    loss: float
    """Average over the epoch so far, like the figures after it."""
    accuracy: float
    learning_rate: float
    """Of the last step."""
    images_per_second: float
    input_wait: float
    """Share of the time in which the step waited for its images."""
    seconds_left: float


class Observer(Protocol):
    """Who is told how a fitting goes. Whatever it raises ends the fitting."""

    def looked(self, look: Look) -> None: ...

    def ended(self, epoch: Epoch, look: Look) -> None: ...
