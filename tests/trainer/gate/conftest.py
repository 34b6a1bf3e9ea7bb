"""Candidates made to measure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from trainer.gate import Candidate
from trainer.scorecard import Predictions, score


def make_candidate(
    correct: Sequence[bool] | np.ndarray,
    prefix: str = "",
    labels: Sequence[int] | None = None,
    classes: Sequence[str] = ("a", "b"),
) -> Candidate:
    """A model that is right exactly where it is told to be, on examples of the first class unless told otherwise."""
    right = np.asarray(correct, bool)
    truth = np.zeros(len(right), np.int32) if labels is None else np.asarray(labels, np.int32)
    answers = np.where(right, truth, (truth + 1) % len(classes))
    probabilities = np.full((len(right), len(classes)), 0.1 / (len(classes) - 1), np.float32)
    probabilities[np.arange(len(right)), answers] = 0.9
    predictions = Predictions([f"{prefix}{i}" for i in range(len(right))], truth, probabilities)
    return Candidate.of(score(predictions, classes), predictions)


def make_pair(won: int, lost: int, both: int, neither: int = 0) -> tuple[Candidate, Candidate]:
    """Challenger and champion with so many examples on which only the one, only the other, both or neither is right."""
    ours = [True] * won + [False] * lost + [True] * both + [False] * neither
    theirs = [False] * won + [True] * lost + [True] * both + [False] * neither
    return make_candidate(ours), make_candidate(theirs)


@pytest.fixture
def candidate() -> Callable[..., Candidate]:
    return make_candidate


@pytest.fixture
def pair() -> Callable[..., tuple[Candidate, Candidate]]:
    return make_pair
