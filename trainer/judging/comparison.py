"""The champion held against a challenger whose answers are known: whether it may be, on which examples, and the sides
that changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trainer.config import Evaluate
from trainer.events import note
from trainer.judging import class_changes, hygiene, pictures, slices, training_files
from trainer.judging.answers import answers, predict
from trainer.judging.predictions import Predictions
from trainer.judging.registered_model import RegisteredModel
from trainer.record import ChangedSide, ClassChange
from trainer.registry.protocol import ModelVersion
from trainer.scorecard import Scorecard, score
from trainer.state import State

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainer.data.prepared import Split

CHAMPION_FILE = "champion.npz"
COMMON_FILES = ("challenger-common.npz", "champion-common.npz")
"""Predictions on what both models know, where they know different classes."""


@dataclass(frozen=True)
class Compared:
    """What `record.Evaluated` holds of the champion."""

    champion: Scorecard | None = None
    incomparable: str | None = None
    class_change: ClassChange | None = None
    shared_with_training: int | None = None
    changed_sides: list[ChangedSide] = field(default_factory=list)
    newly_right: int = 0
    newly_wrong: int = 0


@dataclass(frozen=True, eq=False)
class Comparison:
    """One challenger's answers on one test split, waiting for a champion."""

    state: State
    folder: Path
    """Of the run record: predictions and pictures go there."""
    test: Split
    challenger: RegisteredModel
    predictions: Predictions
    """The challenger's, on all of the split."""
    settings: Evaluate

    def against(self, champion: RegisteredModel, version: ModelVersion) -> Compared:
        """Score the champion where that says something. Errors: EvaluationError, RegistryError, StateError."""
        name = f"version {version.version}"
        seen = training_files.fetch(self.state, version.run_id, training_files.IDENTITIES) if version.run_id else None
        if seen is None:
            note(f"the champion ({name}) left no record of its training images: whether it knows test examples is open")
        known = hygiene.shared(seen, self.test.identities) if seen is not None else {}
        shared = sum(known.values()) if seen is not None else None
        if shared:
            return Compared(incomparable=hygiene.refusal(name, known, len(self.test)), shared_with_training=shared)
        change = class_changes.find(champion.classes, self.test.classes, self.settings.renamed)
        if not change:
            return self._on_all(champion, shared)
        if len(change.common) < class_changes.FEWEST:
            return Compared(
                incomparable=f"The champion ({name}) and the challenger know too few common classes to be compared on: "
                f"{change}. Name the classes that were only renamed in evaluate.renamed, register the recipe under "
                "another registry.name, or promote the challenger by hand (inception models promote).",
                shared_with_training=shared,
            )
        note(f"the classes changed since the champion ({name}): {change}; compared on the {len(change.common)} common")
        return self._on_common(champion, change, shared)

    def _on_all(self, champion: RegisteredModel, shared: int | None) -> Compared:
        theirs = predict(champion, self.test, self.settings.batch_size, "champion")
        theirs.save(self.folder / CHAMPION_FILE)
        card = self._score(theirs, self.test.classes, CHAMPION_FILE, champion)
        everything = np.arange(len(self.test))
        return Compared(
            champion=card,
            shared_with_training=shared,
            changed_sides=self._changed_sides(self.predictions, theirs, everything, self.test.classes),
            newly_right=int(pictures.newly(self.predictions, theirs).sum()),
            newly_wrong=int(pictures.newly(theirs, self.predictions).sum()),
        )

    def _on_common(self, champion: RegisteredModel, change: class_changes.Change, shared: int | None) -> Compared:
        """Both on the examples whose class both know, choosing among the common classes only."""
        classes, common = self.test.classes, change.common
        place = np.array([common.index(name) if name in common else -1 for name in classes])
        labels = place[self.test.labels]
        asked = np.flatnonzero(labels >= 0)
        identities = [self.test.identities[index] for index in asked]
        given = answers(champion, self.test, self.settings.batch_size, "champion", asked)
        ours, theirs = (
            Predictions(identities, labels[asked].astype(np.int32), probabilities)
            for probabilities in (
                class_changes.restricted(self.predictions.probabilities[asked], classes, common, {}),
                class_changes.restricted(given, champion.classes, common, self.settings.renamed),
            )
        )
        for file, predictions in zip(COMMON_FILES, (ours, theirs), strict=True):
            predictions.save(self.folder / file)
        return Compared(
            class_change=ClassChange(
                added=change.added,
                removed=change.removed,
                renamed=change.renamed,
                common=common,
                challenger=self._score(ours, common, COMMON_FILES[0], self.challenger, asked),
                champion=self._score(theirs, common, COMMON_FILES[1], champion, asked),
            ),
            shared_with_training=shared,
            changed_sides=self._changed_sides(ours, theirs, asked, common),
            newly_right=int(pictures.newly(ours, theirs).sum()),
            newly_wrong=int(pictures.newly(theirs, ours).sum()),
        )

    def _score(
        self,
        predictions: Predictions,
        classes: list[str],
        file: str,
        model: RegisteredModel,
        indices: NDArray[np.intp] | None = None,
    ) -> Scorecard:
        table = self.test.table if indices is None else self.test.table.take(indices)
        groups = slices.groups(table, self.test.classes, self.settings.slices)
        return sized(score(predictions, classes, file, groups, self.settings.resamples), model)

    def _changed_sides(
        self, ours: Predictions, theirs: Predictions, indices: NDArray[np.intp], classes: list[str]
    ) -> list[ChangedSide]:
        most = self.settings.mistakes
        return pictures.keep_changed_sides(self.folder, ours, theirs, self.test, indices, classes, most)


def sized(card: Scorecard, model: RegisteredModel) -> Scorecard:
    """With what the model weighs."""
    return card.model_copy(update={"size_bytes": model.size_bytes, "parameters": model.parameters})
