"""What a tuning has found: its trials as documents, and how each ended in one word."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Literal

import optuna
from optuna.trial import FrozenTrial, TrialState

from trainer.record import Document
from trainer.tuning import values
from trainer.tuning.space import Metric
from trainer.tuning.study import MLFLOW_RUN, Study, number

OutcomeWord = Literal["done", "pruned", "refused", "failed", "running"]
_OUTCOME, _REASON, _SECONDS = "outcome", "reason", "seconds"
_LIMIT = 1000
"""Characters of a reason that are kept."""


class Tried(Document):
    """One trial."""

    number: int
    outcome: OutcomeWord
    """`done`: trained to the end. `pruned`: stopped as hopeless. `refused`: the recipe does not take these values
    together. `failed`: it could not be trained."""
    value: float | None
    """The metric: at the end of a `done` trial, at its last epoch of another."""
    epochs: int
    """Epochs trained."""
    seconds: float | None
    """Training time of a `done` trial."""
    parameters: dict[str, Any]
    """Values by recipe key."""
    reason: str
    mlflow_run_id: str | None


class Tuned(Document):
    """What `tune` gives."""

    study: str
    folder: str
    metric: Metric
    trials: list[Tried]
    """By number."""
    best: int | None
    """Number of the best trial; None where none was trained to the end."""
    value: float | None
    """Its metric."""
    importance: dict[str, float]
    """Share of each key in how much the values of the trials differ, the largest first."""
    recipe: str | None
    """Path of the best recipe."""
    plots: list[str]
    mlflow_run_id: str | None


def tried(study: Study, trial: FrozenTrial) -> Tried:
    reported = trial.intermediate_values
    last = reported[max(reported)] if reported else None
    attributes = trial.user_attrs
    return Tried(
        number=number(trial),
        outcome=attributes.get(_OUTCOME, "running"),
        value=trial.value if trial.state == TrialState.COMPLETE else last,
        epochs=max(reported, default=0),
        seconds=attributes.get(_SECONDS),
        parameters=values.chosen(study.space, trial.params),
        reason=attributes.get(_REASON, ""),
        mlflow_run_id=attributes.get(MLFLOW_RUN),
    )


def in_words(study: Study, tried: Tried) -> str:
    """A trial in one line; empty while it runs."""
    words = {
        "done": f"{study.space.metric} {tried.value:.4f}" if tried.value is not None else "",
        "running": "",
    }.get(tried.outcome, f"{tried.outcome}: {tried.reason}")
    if not words:
        return ""
    if tried.outcome == "done" and tried.reason:
        words += f" ({tried.reason})"
    names = short_names(tried.parameters)
    varied = "  ".join(f"{names[key]} {shown(value)}" for key, value in tried.parameters.items())
    return f"trial {tried.number}  {words}  {varied}"


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """Keys by their shortest endings that tell them apart: `learning_rate` for `train.optimizer.learning_rate`."""
    paths = {key: key.split(".") for key in keys}
    short = {}
    for key, path in paths.items():
        endings = [".".join(path[-length:]) for length in range(1, len(path) + 1)]
        short[key] = next(
            ending for ending in endings
            if sum(other == ending or other.endswith(f".{ending}") for other in paths) == 1 or ending == key
        )  # fmt: skip
    return short


def shown(value: Any) -> str:
    """A value in as many figures as a person compares."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def unexpected(study: Study, trial_number: int) -> bool:
    """Whether a trial failed through no fault of its values."""
    return any(t.state == TrialState.FAIL for t in study.trials() if number(t) == trial_number)


def end_done(study: Study, trial: optuna.Trial, value: float, seconds: float | None, reason: str = "") -> OutcomeWord:
    """Write down that a trial was trained to the end."""
    trial.set_user_attr(_SECONDS, seconds)
    return _end(study, trial, "done", reason, TrialState.COMPLETE, value)


def end_pruned(study: Study, trial: optuna.Trial, reason: str) -> OutcomeWord:
    return _end(study, trial, "pruned", reason, TrialState.PRUNED)


def end_refused(study: Study, trial: optuna.Trial, reason: str) -> OutcomeWord:
    # To Optuna it is pruned: the sampler then learns to stay away, as it would not from a failure.
    return _end(study, trial, "refused", reason, TrialState.PRUNED)


def end_failed(study: Study, trial: optuna.Trial, reason: str, fault_of_values: bool) -> OutcomeWord:
    """Write down that a trial could not be trained.

    Args:
        study: the trial's.
        trial: which.
        reason: in words.
        fault_of_values: whether other values would do better; the sampler then learns to stay away.
    """
    return _end(study, trial, "failed", reason, TrialState.PRUNED if fault_of_values else TrialState.FAIL)


def _end(
    study: Study,
    trial: optuna.Trial,
    outcome: OutcomeWord,
    reason: str,
    state: TrialState,
    value: float | None = None,
) -> OutcomeWord:
    trial.set_user_attr(_REASON, reason[:_LIMIT])
    trial.set_user_attr(_OUTCOME, outcome)
    study.optuna.tell(trial.number, value, state)
    return outcome
