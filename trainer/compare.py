"""The verb `compare`: which of two registered models is better, on the same examples, and could that be chance?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer import record, sharing
from trainer.errors import EvaluationError, InceptionError
from trainer.gate import examples_needed, gain_interval, mcnemar
from trainer.judging.any_source import Images, Scored, scored
from trainer.judging.class_changes import FEWEST, restricted
from trainer.judging.predictions import Predictions
from trainer.record import Document
from trainer.registry.lookup import Found
from trainer.registry.protocol import RUN_KEY_TAG
from trainer.scorecard import Interval, Scorecard, score
from trainer.sections import Evaluate
from trainer.state import State

LEVEL = 0.05
"""Of the two-sided test: nobody said beforehand which of the two would be better."""


class Side(Document):
    """One of the two models."""

    name: str
    version: str
    accuracy: float
    interval: Interval | None
    log_loss: float
    calibration_error: float
    right_alone: int
    """Examples on which it is right and the other is wrong."""
    seen: int | None
    """Examples from its own training; None where that is not known."""


class Paired(Document):
    """Two models on the same examples."""

    source: str
    examples: int
    classes: list[str]
    """Those between which both had to choose."""
    first: Side
    second: Side
    difference: float
    """Accuracy of the first less that of the second."""
    difference_interval: Interval
    """Paired bootstrap, 95 %."""
    p_value: float
    """Exact McNemar test, two-sided."""
    level: float
    better: str | None
    """`first` or `second`; None where the examples cannot tell."""
    examples_needed: int | None
    """About how many would tell, if the difference is what it looks like; None where there is none."""


def compare_on(state: State, first: Found, second: Found, asked: Images, settings: Evaluate) -> Paired:
    """Ask both about images. Errors: as `any_source.scored`, EvaluationError (too few common classes)."""
    ours, theirs = (scored(state, model, asked, settings, "predictions.npz") for model in (first, second))
    source = f"{asked.source}, {asked.split} split" if asked.split != "all" else asked.source
    return compare(first, ours, second, theirs, source, settings.resamples)


def compare_recorded(state: State, first: Found, second: Found, resamples: int) -> Paired:
    """From the answers that both gave when they were evaluated, on the test examples that both were asked about.

    Errors: EvaluationError (a model whose run record is gone, no common examples).
    """
    ours, theirs = _recorded(state, first), _recorded(state, second)
    return compare(first, ours, second, theirs, "the test examples of their run records", resamples)


def compare(first: Found, ours: Scored, second: Found, theirs: Scored, source: str, resamples: int) -> Paired:
    """Errors: EvaluationError (no common examples, or fewer than two common classes)."""
    one, other, classes = _aligned(ours, theirs)
    won = int((one.correct & ~other.correct).sum())
    lost = int((other.correct & ~one.correct).sum())
    count = len(one.labels)
    p_value = min(1.0, 2 * mcnemar(max(won, lost), min(won, lost)))
    low, high = gain_interval(won, lost, count, 0.95, max(resamples, 1000))
    needed = examples_needed(max(won, lost), min(won, lost), count, LEVEL / 2) if won != lost else None
    return Paired(
        source=source,
        examples=count,
        classes=classes,
        first=_side(first, score(one, classes, resamples=resamples), won, ours.seen),
        second=_side(second, score(other, classes, resamples=resamples), lost, theirs.seen),
        difference=(won - lost) / count,
        difference_interval=Interval(low=low, high=high),
        p_value=p_value,
        level=LEVEL,
        better=None if p_value > LEVEL else "first" if won > lost else "second",
        examples_needed=needed if p_value > LEVEL else None,
    )


def _recorded(state: State, model: Found) -> Scored:
    run_key = model.tags.get(RUN_KEY_TAG)
    folder = state.run(run_key) if run_key else None
    try:
        if folder is not None:
            sharing.fetch(state, folder)
        evaluated = record.find(folder, record.Evaluated) if folder else None
        if folder is None or evaluated is None:
            raise EvaluationError("its run record is not in this state folder")
        card = evaluated.challenger
        return Scored(card, Predictions.load(folder / card.predictions), 0)
    except InceptionError as error:
        raise EvaluationError(
            f"What {model.name} version {model.version} answered when it was evaluated is not to be had: "
            f"{error.message.rstrip('.')}.",
            "Name images to ask both about with --data SOURCE.",
        ) from error


def _aligned(ours: Scored, theirs: Scored) -> tuple[Predictions, Predictions, list[str]]:
    """Both on the examples that both answered and whose class both know, choosing among the classes both know."""
    classes = [name for name in ours.card.classes if name in theirs.card.classes]
    if len(classes) < FEWEST:
        raise EvaluationError(
            f"The two know too few common classes to be compared: {', '.join(classes) or 'none'}.",
            f"One knows {', '.join(ours.card.classes)}, the other {', '.join(theirs.card.classes)}.",
        )
    at = {identity: row for row, identity in enumerate(theirs.predictions.identities)}
    rows = [
        (row, at[identity])
        for row, identity in enumerate(ours.predictions.identities)
        if identity in at and _truth(ours, row) == _truth(theirs, at[identity]) and _truth(ours, row) in classes
    ]
    if not rows:
        raise EvaluationError(
            "The two were evaluated on different examples.", "Name images to ask both about with --data SOURCE."
        )
    mine, others = np.array(rows).T
    identities = [ours.predictions.identities[row] for row in mine]
    labels = np.array([classes.index(_truth(ours, row)) for row in mine], np.int32)

    def chosen(of: Scored, places: Sequence[int]) -> Predictions:
        probabilities = restricted(of.predictions.probabilities[places], of.card.classes, classes, {})
        return Predictions(identities, labels, probabilities)

    return chosen(ours, mine), chosen(theirs, others), classes


def _truth(of: Scored, row: int) -> str:
    return of.card.classes[int(of.predictions.labels[row])]


def _side(model: Found, card: Scorecard, right_alone: int, seen: int | None) -> Side:
    return Side(
        name=model.name,
        version=model.version,
        accuracy=card.accuracy,
        interval=card.intervals.get("accuracy"),
        log_loss=card.log_loss,
        calibration_error=card.calibration_error,
        right_alone=right_alone,
        seen=seen,
    )
