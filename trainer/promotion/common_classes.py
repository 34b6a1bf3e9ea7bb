"""Two sets of predictions on the classes that both models know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.gate import Candidate
from trainer.judging.class_changes import FEWEST, find, restricted
from trainer.record import ClassChange
from trainer.scorecard import Predictions, Scorecard, score


@dataclass(frozen=True, eq=False)
class Common:
    """The comparison that is left where the classes have changed."""

    change: ClassChange
    challenger: Candidate
    champion: Candidate


def compare(
    challenger: tuple[Scorecard, Predictions],
    champion: tuple[Scorecard, Predictions],
    renamed: Mapping[str, str] | None = None,
) -> Common | None:
    """Score both on the challenger's test examples of the classes that both know.

    Args:
        challenger, champion: scorecard, whose `classes` name the columns of the predictions.
        renamed: the champion's name of a class to the challenger's.

    Returns None where fewer than two classes are left, or where the champion was not asked about all those examples.
    """
    (ours, our_answers), (theirs, their_answers) = challenger, champion
    change = find(theirs.classes, ours.classes, renamed or {})
    if len(change.common) < FEWEST:
        return None
    rows = np.flatnonzero(np.isin(our_answers.labels, [ours.classes.index(name) for name in change.common]))
    at = {identity: row for row, identity in enumerate(their_answers.identities)}
    identities = [our_answers.identities[row] for row in rows]
    if not identities or not all(identity in at for identity in identities):
        return None
    their_rows = np.array([at[identity] for identity in identities])
    labels = np.array([change.common.index(ours.classes[label]) for label in our_answers.labels[rows]], np.int32)

    def candidate(card: Scorecard, probabilities: NDArray[np.float32], names: Mapping[str, str]) -> Candidate:
        answers = Predictions(identities, labels, restricted(probabilities, card.classes, change.common, names))
        scored = score(answers, change.common, card.predictions)
        figures = {"size_bytes": card.size_bytes, "parameters": card.parameters}
        return Candidate.of(scored.model_copy(update=figures), answers)

    compared = candidate(ours, our_answers.probabilities[rows], {})
    rival = candidate(theirs, their_answers.probabilities[their_rows], renamed or {})
    return Common(
        ClassChange(
            added=change.added,
            removed=change.removed,
            renamed=change.renamed,
            common=change.common,
            challenger=compared.scorecard,
            champion=rival.scorecard,
        ),
        compared,
        rival,
    )
