"""The champion that a challenger is held against, from the predictions in the run records."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trainer import record
from trainer.errors import EvaluationError, StateError
from trainer.gate import Candidate, Circumstances
from trainer.promotion.common_classes import compare
from trainer.scorecard import Predictions


@dataclass(frozen=True, eq=False)
class Rival:
    """A champion to compare with, or why there is none: what the gate wants to know of it."""

    candidate: Candidate | None
    circumstances: Circumstances


def as_evaluated(folder: Path, evaluated: record.Evaluated) -> Rival:
    """The champion that the evaluation saw. Errors: StateError, EvaluationError (its predictions are damaged)."""
    if evaluated.incomparable is not None:
        return Rival(None, Circumstances(incomparable=evaluated.incomparable))
    change, measured = evaluated.class_change, evaluated.latency
    if change is not None:
        compared, champion = Candidate.load(change.challenger, folder), Candidate.load(change.champion, folder)
        return Rival(champion, Circumstances(class_change=change, compared=compared, latency=measured))
    if evaluated.champion is None:
        return Rival(None, Circumstances(incomparable="The evaluation has no figures of the champion."))
    return Rival(Candidate.load(evaluated.champion, folder), Circumstances(latency=measured))


def from_records(version: str, folder: Path | None, challenger: record.Evaluated, ours: Path) -> Rival:
    """A version that has become champion since the evaluation, from the record of the run that made it.

    What was measured side by side, the time, is not known of it.

    Args:
        version: the champion's.
        folder: the record of its run; None where no run of ours made it.
        challenger: what the challenger's evaluation found.
        ours: the record of the challenger's run.

    Errors: StateError, EvaluationError (the challenger's predictions are missing or damaged).
    """
    theirs = record.find(folder, record.Evaluated) if folder is not None else None
    answers = None
    if folder is not None and theirs is not None:
        try:
            answers = Predictions.load(folder / theirs.challenger.predictions)
            candidate = Candidate.of(theirs.challenger, answers)
        except (StateError, EvaluationError):
            answers = None
    since = f"Version {version} has become champion since the evaluation, and"
    if theirs is None or answers is None:
        return Rival(None, Circumstances(incomparable=f"{since} its predictions are not in the run records."))
    if sorted(theirs.challenger.classes) == sorted(challenger.challenger.classes):
        return Rival(candidate, Circumstances())
    known = challenger.class_change.renamed if challenger.class_change is not None else {}
    mine = Predictions.load(ours / challenger.challenger.predictions)
    common = compare((challenger.challenger, mine), (theirs.challenger, answers), known)
    if common is None:
        text = f"{since} it knows other classes and was not asked about all test examples of those that both know."
        return Rival(None, Circumstances(incomparable=text))
    return Rival(common.champion, Circumstances(class_change=common.change, compared=common.challenger))
