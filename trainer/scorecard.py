"""What a model scored on the frozen test examples: plain numbers that travel as JSON.

The per-example predictions lie in a file beside (`Predictions`), so that everything here can be computed again, later,
without the model. `score` computes it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from trainer.judging import figures, intervals
from trainer.judging.figures import TOP, Figures, Floats, Group
from trainer.judging.predictions import Predictions, expect_probabilities, identity_digest

__all__ = [
    "Bin",
    "ClassScore",
    "Interval",
    "Predictions",
    "Scorecard",
    "Slice",
    "identity_digest",
    "score",
]

AVERAGES = (
    *("accuracy", "top5_accuracy", "log_loss", "calibration_error"),
    *("macro_precision", "macro_recall", "macro_f1"),
)
"""Figures of the whole that have intervals."""


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Bin(Part):
    """One bar of the reliability diagram: the examples whose highest probability lies in (lower, upper]."""

    lower: float
    upper: float
    count: int
    confidence: float
    """Mean of the highest probability."""
    accuracy: float


class Interval(Part):
    """A bootstrap interval, at the level that the scorecard names."""

    low: float
    high: float


class ClassScore(Part):
    name: str
    count: int
    """Test examples of this class."""
    precision: float
    """0 where the class was never predicted."""
    recall: float
    f1: float
    precision_interval: Interval | None = None
    recall_interval: Interval | None = None
    f1_interval: Interval | None = None


class Slice(Part):
    """The test examples that share a value of one column."""

    column: str
    """`class`, `folder`, `size`, `brightness`, …"""
    value: str
    """In words: a name, or a band such as `64–128 px`."""
    count: int
    accuracy: float
    interval: Interval | None = None


class Scorecard(Part):
    examples: int
    test_digest: str
    """Digest of the ordered identities: equal digests mean the same examples in the same order."""
    accuracy: float
    top5_accuracy: float | None
    """None with five classes or fewer, where it would say nothing."""
    log_loss: float
    """Nats per example."""
    calibration_error: float
    reliability: list[Bin]
    """Bins that hold an example, lowest first."""
    macro_precision: float
    macro_recall: float
    macro_f1: float
    classes: list[str]
    per_class: list[ClassScore]
    confusion: list[list[int]]
    """Counts; rows are the truth, columns the prediction."""
    predictions: str
    """File name of the per-example predictions, beside the document that holds this scorecard."""
    confidence: float = 0.95
    """Level of the intervals."""
    intervals: dict[str, Interval] = {}
    """By the name of the figure above that they are of."""
    slices: list[Slice] = []
    size_bytes: int | None = None
    """Of the registered model's files."""
    parameters: int | None = None


def score(
    predictions: Predictions,
    classes: Sequence[str],
    file: str = "predictions.npz",
    groups: Sequence[Group] = (),
    resamples: int = 0,
) -> Scorecard:
    """Every figure of a set of predictions.

    Args:
        predictions: N examples, K probabilities each.
        classes: the K class names.
        file: the name under which the predictions are saved beside the scorecard.
        groups: examples to be scored by themselves too, as slices.
        resamples: of the bootstrap; without them there are no intervals.

    Errors: EvaluationError where there are no examples, where the number of classes differs, or where the answers
    are no probabilities (NaN, negative, not summing to 1).
    """
    expect_probabilities(predictions, classes)
    labels = predictions.labels
    confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(confusion, (labels, predictions.predicted), 1)
    tally = figures.tally(predictions, groups)
    found = figures.of(tally.sums, tally)
    drawn = intervals.resampled(tally, resamples) if resamples else None
    names = [name for name in AVERAGES if name != "top5_accuracy" or len(classes) > TOP]
    values = {name: float(getattr(found, name)[0]) for name in names}
    return Scorecard(
        examples=len(labels),
        test_digest=identity_digest(predictions.identities),
        accuracy=values["accuracy"],
        top5_accuracy=values.get("top5_accuracy"),
        log_loss=values["log_loss"],
        calibration_error=values["calibration_error"],
        reliability=_reliability(found),
        macro_precision=values["macro_precision"],
        macro_recall=values["macro_recall"],
        macro_f1=values["macro_f1"],
        classes=list(classes),
        per_class=_per_class(classes, confusion.sum(axis=1), found, drawn),
        confusion=confusion.tolist(),
        predictions=file,
        confidence=intervals.CONFIDENCE,
        intervals=_intervals(names, found, drawn) if drawn else {},
        slices=_slices(groups, found, drawn),
    )


def _reliability(found: Figures) -> list[Bin]:
    edges = figures.bin_edges()
    counts, confidence, accuracy = (values[0] for values in found.bins)
    return [
        Bin(
            lower=float(edges[i]),
            upper=float(edges[i + 1]),
            count=int(counts[i]),
            confidence=float(confidence[i]),
            accuracy=float(accuracy[i]),
        )
        for i in np.flatnonzero(counts)
    ]


def _per_class(
    classes: Sequence[str], counts: NDArray[np.int64], found: Figures, drawn: Figures | None
) -> list[ClassScore]:
    precision, recall, f1 = (np.nan_to_num(of[0]) for of in (found.precision, found.recall, found.f1))
    of_precision, of_recall, of_f1 = (
        _per_column(drawn.precision if drawn else None, len(classes)),
        _per_column(drawn.recall if drawn else None, len(classes)),
        _per_column(drawn.f1 if drawn else None, len(classes)),
    )
    return [
        ClassScore(
            name=name,
            count=int(counts[i]),
            precision=float(precision[i]),
            recall=float(recall[i]),
            f1=float(f1[i]),
            precision_interval=of_precision[i],
            recall_interval=of_recall[i],
            f1_interval=of_f1[i],
        )
        for i, name in enumerate(classes)
    ]


def _intervals(names: Sequence[str], found: Figures, drawn: Figures) -> dict[str, Interval]:
    bounds = {name: intervals.percentile(getattr(drawn, name)) for name in names}
    bounds["calibration_error"] = intervals.mirrored(found.calibration_error[0], drawn.calibration_error)
    return {name: Interval(low=float(low), high=float(high)) for name, (low, high) in bounds.items()}


def _slices(groups: Sequence[Group], found: Figures, drawn: Figures | None) -> list[Slice]:
    bounds = _per_column(drawn.groups if drawn else None, len(groups))
    return [
        Slice(
            column=group.column,
            value=group.value,
            count=int(group.members.sum()),
            accuracy=float(found.groups[0, i]),
            interval=bounds[i],
        )
        for i, group in enumerate(groups)
    ]


def _per_column(drawn: Floats | None, columns: int) -> list[Interval | None]:
    """None where there are no resamples, or none that had anything to divide by."""
    if drawn is None:
        return [None] * columns
    low, high = intervals.percentile(drawn)
    return [None if np.isnan(low[i]) else Interval(low=float(low[i]), high=float(high[i])) for i in range(columns)]
