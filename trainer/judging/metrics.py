"""The figures of an evaluation that are worth a line, in MLflow and in the pipeline's UI."""

from __future__ import annotations

from trainer.record import Evaluated
from trainer.scorecard import Scorecard

MOST_CLASSES = 200
"""In the matrix of the orchestrator's UI. A thousand classes make some 10 MB of a step's metadata, and Kubeflow
Pipelines refused more than 4 MB (kubeflow/pipelines issue 11949); nobody could read it anyway."""


def logged(evaluated: Evaluated) -> dict[str, float]:
    """What goes to the training's MLflow run."""
    card = evaluated.challenger
    figures = {
        "test_accuracy": card.accuracy,
        "test_log_loss": card.log_loss,
        "test_macro_f1": card.macro_f1,
        "test_calibration_error": card.calibration_error,
        "test_top5_accuracy": card.top5_accuracy,
        "model_bytes": card.size_bytes,
        **{f"latency_ms_batch_{one.batch}": one.challenger_ms for one in evaluated.latency},
    }
    return {name: float(figure) for name, figure in figures.items() if figure is not None}


def shown(evaluated: Evaluated) -> dict[str, float]:
    """What the orchestrator's UI lists beside the step."""
    card, change = evaluated.challenger, evaluated.class_change
    rival = change.champion if change else evaluated.champion
    interval = card.intervals.get("accuracy")
    figures = {
        "accuracy": card.accuracy,
        "accuracy, 95 % from": interval.low if interval else None,
        "accuracy, 95 % to": interval.high if interval else None,
        "log loss": card.log_loss,
        "calibration error": card.calibration_error,
        "champion accuracy": rival.accuracy if rival else None,
        "newly right": evaluated.newly_right if rival else None,
        "newly wrong": evaluated.newly_wrong if rival else None,
        **{f"latency ratio, {one.batch} images": one.ratio for one in evaluated.latency},
    }
    return {name: float(figure) for name, figure in figures.items() if figure is not None}


def matrix(card: Scorecard) -> tuple[list[str], list[list[int]]] | None:
    """Class names and confusion matrix for the orchestrator's UI; None where they are too many for it."""
    return (card.classes, card.confusion) if len(card.classes) <= MOST_CLASSES else None
