"""The verb `evaluate`: challenger and champion on the same frozen test examples, each through its registered form.

What users load is what is judged: both models come out of MLflow, and both are given the original images, raw.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trainer import record, sharing, tracking
from trainer.config import Recipe
from trainer.errors import EvaluationError, RecipeError, nearest
from trainer.events import note
from trainer.judging import golden, latency, metrics, pictures, registered_model, slices, training_files
from trainer.judging.answers import predict
from trainer.judging.comparison import Compared, Comparison, sized
from trainer.judging.registered_model import RegisteredModel
from trainer.registry.protocol import CHAMPION, Ledger, Registry, champion
from trainer.scorecard import Scorecard, score
from trainer.state import State

if TYPE_CHECKING:
    from trainer.data.prepared import Split

CHALLENGER_PREDICTIONS = "challenger.npz"


def evaluate(
    recipe: Recipe, fingerprint: str, run_key: str, state: State, registry: Registry, ledger: Ledger
) -> record.Evaluated:
    """Score both models and keep their per-example predictions in the run record.

    The champion is the one that the ledger names; where there is no ledger yet, the one behind the alias.

    Errors: EvaluationError (a challenger that answers with other classes, otherwise than when it was trained, or not at
    all), RecipeError (`evaluate.renamed` names a class that there is none of), RegistryError, StateError.
    """
    folder = state.run(run_key)
    decided = record.find(folder, record.Evaluated)
    entries = ledger.read().entries
    if decided is not None and any(entry.run_key == run_key for entry in entries):
        note("decided already: the evaluation the decision was made on stands")
        return decided

    trained = record.read(folder, record.Trained)
    dataset = sharing.opened_dataset(state, fingerprint)
    test, classes = dataset.split("test"), dataset.manifest.classes
    settings, name = recipe.evaluate, recipe.registry.name
    for new in settings.renamed.values():
        if new not in classes:
            raise RecipeError(f"evaluate.renamed names the new class {new!r}. {nearest(new, classes)}")
    pictures.forget(folder)

    # ---------------------------------------------------------------- challenger
    challenger = registered_model.load(state, trained.model_uri, "challenger")
    _expect_classes(challenger, classes)
    kept = training_files.fetch(state, trained.mlflow_run_id, training_files.GOLDEN)
    checked = golden.compare(challenger, kept, "challenger") if kept is not None else None
    predictions = predict(challenger, test, settings.batch_size, "challenger")
    predictions.save(folder / CHALLENGER_PREDICTIONS)
    groups = slices.groups(test.table, classes, settings.slices)
    card = sized(score(predictions, classes, CHALLENGER_PREDICTIONS, groups, settings.resamples), challenger)
    note(f"challenger: accuracy {_in_words(card)} on {card.examples:,} test examples")

    # ---------------------------------------------------------------- champion
    version = champion(entries) if entries else registry.alias(name, CHAMPION)
    rival, compared = None, Compared()
    if version is not None:
        holder = registry.get(name, version)
        rival = registered_model.load(state, holder.model_uri, "champion")
        compared = Comparison(state, folder, test, challenger, predictions, settings).against(rival, holder)
        _say(compared, version)

    evaluated = record.Evaluated(
        challenger=card,
        champion=compared.champion,
        champion_version=version,
        worst_mistakes=pictures.keep_mistakes(folder, predictions, test, classes, settings.mistakes),
        incomparable=compared.incomparable,
        class_change=compared.class_change,
        latency=latency.measure(challenger, rival, _typical(test)) if settings.latency else [],
        golden=checked,
        shared_with_training=compared.shared_with_training,
        changed_sides=compared.changed_sides,
        newly_right=compared.newly_right,
        newly_wrong=compared.newly_wrong,
    )
    record.write(folder, evaluated)
    tracking.log_metrics(state, trained.mlflow_run_id, metrics.logged(evaluated))
    return evaluated


def _expect_classes(challenger: RegisteredModel, classes: list[str]) -> None:
    if challenger.classes != classes:
        raise EvaluationError(
            f"The challenger {challenger.uri} knows the classes {challenger.classes}, the data has {classes}.",
            "It was trained on other data than this: run again.",
        )


def _typical(split: Split) -> np.ndarray:
    """An image of the middle size."""
    areas = split.table["height"].to_numpy() * split.table["width"].to_numpy()
    return split.image(int(np.argsort(areas, kind="stable")[len(areas) // 2]))


def _say(compared: Compared, version: str) -> None:
    change = compared.class_change
    card = change.champion if change else compared.champion
    if card is not None:
        where = " on what both know" if change else ""
        note(f"champion (version {version}): accuracy {_in_words(card)}{where}")
        note(f"test examples newly right: {compared.newly_right:,}, newly wrong: {compared.newly_wrong:,}")
    if compared.incomparable:
        note(compared.incomparable)


def _in_words(card: Scorecard) -> str:
    interval = card.intervals.get("accuracy")
    return f"{card.accuracy:.4f}" + (f" ({interval.low:.4f} to {interval.high:.4f})" if interval else "")
