"""When a training counts as diverged."""

from __future__ import annotations

import math
from typing import Protocol


class Losses(Protocol):
    """What a `learner.Score` tells of the loss."""

    @property
    def loss(self) -> float:
        """All that is minimised, auxiliary classifiers and penalties included."""

    @property
    def cross_entropy(self) -> float:
        """Of the main classifier alone."""


def exploded(score: Losses, classes: int, loss_factor: float) -> bool:
    """Whether a loss is not a number, or the main classifier does `loss_factor` times worse than guessing.

    Guessing among K classes costs ln K. Penalties and auxiliary classifiers have no such yardstick (a penalty may well
    be many times the cross-entropy of a sound training), so they count only where they are no number.
    """
    if not (math.isfinite(score.loss) and math.isfinite(score.cross_entropy)):
        return True
    return score.cross_entropy > loss_factor * math.log(max(classes, 2))
