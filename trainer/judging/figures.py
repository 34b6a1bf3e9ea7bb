"""The figures of a scorecard from a model's answers.

Every figure is a function of sums over the examples: of hits, of losses, of confidences. `tally` lays out what an
example adds to each sum, `of` makes the figures from the sums. A bootstrap weighs the examples anew, sums again and
calls the same `of`, for all its resamples at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.judging.predictions import Predictions

CALIBRATION_BINS = 15
"""Equal-width bins of the expected calibration error, as in Guo et al. 2017 (arXiv:1706.04599), section 4."""

TOP = 5

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Group:
    """Examples that share a value of a column: a slice to be.

    Attributes:
        column, value: in words.
        members: bool (N,).
    """

    column: str
    value: str
    members: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Part:
    """Some of the sums, of which every example adds to one.

    Attributes:
        columns: (N,), to which.
        values: (N,), what.
        width: how many there are.
    """

    columns: NDArray[Any]
    values: Floats
    width: int


@dataclass(frozen=True, eq=False)
class Tally:
    """What every example adds to the sums, part by part."""

    parts: Sequence[Part]
    classes: int
    groups: int

    @property
    def sums(self) -> Floats:
        """(1, sums): over all examples, each once. Without SciPy, which the image that decides does not hold."""
        every = [np.bincount(one.columns, one.values, minlength=one.width) for one in self.parts]
        return np.concatenate(every).astype(np.float64).reshape(1, -1)

    def matrix(self) -> Any:
        """(N, sums), a sparse array of float64."""
        from scipy import sparse

        rows = np.arange(len(self.parts[0].columns))
        every = [
            sparse.csr_array((one.values, (rows, one.columns)), shape=(len(rows), one.width)) for one in self.parts
        ]
        whole = sparse.hstack(every, format="csr")
        whole.eliminate_zeros()
        return whole


@dataclass(frozen=True, eq=False)
class Figures:
    """Of B sets of sums at once; NaN where there is nothing to divide by, and nowhere else."""

    accuracy: Floats
    top5_accuracy: Floats
    log_loss: Floats
    calibration_error: Floats
    macro_precision: Floats
    """Over the classes that occur, as an example's truth or as an answer; this and all above (B,)."""
    macro_recall: Floats
    macro_f1: Floats
    precision: Floats
    """(B, K), as the next two."""
    recall: Floats
    f1: Floats
    groups: Floats
    """Accuracy of each group, (B, groups)."""
    bins: tuple[Floats, Floats, Floats]
    """Count, mean confidence and accuracy of each calibration bin, (B, bins)."""


def tally(predictions: Predictions, groups: Sequence[Group]) -> Tally:
    """Lay out what each example adds to the sums that `of` reads, in its order."""
    labels, probabilities = predictions.labels, predictions.probabilities
    count, classes = probabilities.shape
    confidence = probabilities.max(axis=1).astype(np.float64)
    predicted, bins = predictions.predicted, _bin(confidence)
    correct = (predicted == labels).astype(np.float64)
    ones, only = np.ones(count), np.zeros(count, np.intp)
    parts = [
        Part(labels, ones, classes),
        Part(predicted, ones, classes),
        Part(labels, correct, classes),
        Part(only, _loss(probabilities, labels), 1),
        Part(only, _in_top(probabilities, labels, TOP), 1),
        Part(bins, ones, CALIBRATION_BINS),
        Part(bins, confidence, CALIBRATION_BINS),
        Part(bins, correct, CALIBRATION_BINS),
    ]
    for group in groups:
        members = group.members.astype(np.float64)
        parts += [Part(only, members, 1), Part(only, members * correct, 1)]
    return Tally(parts, classes, len(groups))


def of(sums: Floats, layout: Tally) -> Figures:
    """The figures of B sets of sums, (B, sums)."""
    classes, bins = layout.classes, CALIBRATION_BINS
    widths = [classes, classes, classes, 2, bins, bins, bins, 2 * layout.groups]
    truth, predicted, right, means, held, confidence, hits, grouped = np.split(sums, np.cumsum(widths)[:-1], axis=1)
    count = truth.sum(axis=1)
    occurs = truth + predicted > 0
    precision, recall, f1 = _ratio(right, predicted), _ratio(right, truth), _ratio(2 * right, truth + predicted)

    def macro(figure: Floats) -> Floats:
        averages: Floats = np.nan_to_num(figure).sum(axis=1) / occurs.sum(axis=1)
        return averages

    return Figures(
        accuracy=right.sum(axis=1) / count,
        top5_accuracy=means[:, 1] / count,
        log_loss=means[:, 0] / count,
        calibration_error=np.abs(confidence - hits).sum(axis=1) / count,
        macro_precision=macro(precision),
        macro_recall=macro(recall),
        macro_f1=macro(f1),
        precision=precision,
        recall=recall,
        f1=f1,
        groups=_ratio(grouped[:, 1::2], grouped[:, 0::2]),
        bins=(held, _ratio(confidence, held), _ratio(hits, held)),
    )


def bin_edges() -> Floats:
    """(bins + 1,); a bin holds what lies above its lower edge, up to its upper one."""
    return np.linspace(0.0, 1.0, CALIBRATION_BINS + 1)


def _bin(confidence: Floats) -> NDArray[np.intp]:
    return np.clip(np.searchsorted(bin_edges(), confidence, side="left") - 1, 0, CALIBRATION_BINS - 1)


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)


def _loss(probabilities: NDArray[np.float32], labels: NDArray[np.int32]) -> Floats:
    of_truth = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    # A float32 softmax can underflow to 0; its epsilon keeps one confident mistake from making the mean infinite.
    losses: Floats = -np.log(np.clip(of_truth, np.finfo(np.float32).eps, 1.0))
    return losses


def _in_top(probabilities: NDArray[np.float32], labels: NDArray[np.int32], k: int) -> Floats:
    """Whether the truth is among the k likeliest; equals are ranked by class index, as `predicted` ranks them."""
    of_truth = probabilities[np.arange(len(labels)), labels][:, None]
    before = (probabilities > of_truth).sum(axis=1)
    earlier = np.arange(probabilities.shape[1]) < labels[:, None]
    before += ((probabilities == of_truth) & earlier).sum(axis=1)
    among: Floats = (before < k).astype(np.float64)
    return among
