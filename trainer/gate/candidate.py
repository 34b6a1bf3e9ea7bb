"""A model as the gate sees it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.errors import EvaluationError
from trainer.scorecard import Predictions, Scorecard, identity_digest


@dataclass(frozen=True, eq=False)
class Candidate:
    """A scorecard, and on which test examples the model was right.

    Attributes:
        scorecard: the figures.
        correct: bool (N,), in the order of the identities that `scorecard.test_digest` digests; None where the
            per-example predictions are lost, so that nothing can be tested on them.
        labels: int32 (N,), indices into `scorecard.classes`; None as above.
    """

    scorecard: Scorecard
    correct: NDArray[np.bool_] | None
    labels: NDArray[np.int32] | None = None

    @classmethod
    def of(cls, scorecard: Scorecard, predictions: Predictions) -> Candidate:
        """Errors: EvaluationError where the predictions are not those that the scorecard was made from."""
        if identity_digest(predictions.identities) != scorecard.test_digest:
            raise EvaluationError(
                f"The predictions of {scorecard.predictions!r} are on other test examples than its scorecard.",
                "Delete both and evaluate again.",
            )
        return cls(scorecard, predictions.correct, predictions.labels)

    @classmethod
    def load(cls, scorecard: Scorecard, folder: Path) -> Candidate:
        """With the predictions that lie beside the scorecard's document. Errors: StateError, EvaluationError."""
        return cls.of(scorecard, Predictions.load(folder / scorecard.predictions))

    @property
    def right(self) -> int:
        """On how many test examples."""
        return round(self.scorecard.accuracy * self.scorecard.examples)

    @property
    def truth(self) -> NDArray[np.str_] | None:
        """The names of the true classes, (N,); None as `labels`."""
        return None if self.labels is None else np.array(self.scorecard.classes)[self.labels]

    @property
    def flaw(self) -> str | None:
        """Why these figures can carry no decision; None where they can."""
        card = self.scorecard
        if card.examples == 0:
            return "it was scored on no examples"
        if not math.isfinite(card.accuracy):
            return f"its accuracy is {card.accuracy}"
        if self.correct is None:
            return None
        if card.examples != len(self.correct) or abs(card.accuracy - float(self.correct.mean())) > 1e-9:
            return "its accuracy is not the one its predictions give"
        return None
