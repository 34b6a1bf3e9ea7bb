"""What a model scored on the frozen test examples: the per-example predictions and the figures made from them.

`Predictions` are kept as a file beside the scorecard, so that everything here can be computed again, later, without
the model. `score` makes the `Scorecard`; it holds plain numbers only and travels as JSON.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from trainer.errors import EvaluationError, StateError
from trainer.state import reported, write_atomically

CALIBRATION_BINS = 15
"""Equal-width bins of the expected calibration error, as in Guo et al. 2017 (arXiv:1706.04599), section 4."""

TOP = 5

_DAMAGE = (ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What NumPy and zipfile raise on a file in which any one byte was changed (tried)."""


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


class ClassScore(Part):
    name: str
    count: int
    """Test examples of this class."""
    precision: float
    """0 where the class was never predicted."""
    recall: float
    f1: float


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


def identity_digest(identities: Iterable[str]) -> str:
    """SHA-256 over identities in their order."""
    return hashlib.sha256("\n".join(identities).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model answered, example by example.

    Attributes:
        identities: N digests of the examples' content, in the order of the test split.
        labels: int32 (N,), the true classes.
        probabilities: float32 (N, K), one row per example, summing to 1.

    Errors: EvaluationError where the three do not fit together.
    """

    identities: list[str]
    labels: NDArray[np.int32]
    probabilities: NDArray[np.float32]

    def __post_init__(self) -> None:
        count = len(self.identities)
        if self.labels.shape != (count,) or self.probabilities.ndim != 2 or len(self.probabilities) != count:
            raise EvaluationError(
                f"Received {count} identities, labels of shape {self.labels.shape} and probabilities of shape "
                f"{self.probabilities.shape}; they must be N, (N,) and (N, classes)."
            )
        outside = (self.labels < 0) | (self.labels >= self.probabilities.shape[1])
        if outside.any():
            raise EvaluationError(
                f"Label {int(self.labels[outside][0])} is none of the {self.probabilities.shape[1]} classes that "
                "the model answers with.",
                "The model was made for other classes than the test examples have.",
            )

    @property
    def predicted(self) -> NDArray[np.intp]:
        """The likeliest class of each example, (N,); the first of equals."""
        likeliest: NDArray[np.intp] = np.argmax(self.probabilities, axis=1)
        return likeliest

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the likeliest class is the true one, (N,)."""
        right: NDArray[np.bool_] = self.predicted == self.labels
        return right

    def save(self, path: Path) -> None:
        """Write an .npz that needs no pickle, whole or not at all. Errors: StateError."""
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            identities=np.array(self.identities, dtype=np.str_),
            labels=self.labels.astype(np.int32, copy=False),
            probabilities=self.probabilities.astype(np.float32, copy=False),
        )
        write_atomically(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> Predictions:
        """Read what `save` wrote. Errors: StateError (missing, unreadable, damaged)."""
        try:
            with reported(path):
                content = path.read_bytes()
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                return cls(arrays["identities"].tolist(), arrays["labels"], arrays["probabilities"])
        except (*_DAMAGE, EvaluationError) as error:
            raise StateError(
                f"The predictions in {path} are damaged: {error}.", "Delete the file and evaluate again."
            ) from error


def score(predictions: Predictions, classes: Sequence[str], file: str = "predictions.npz") -> Scorecard:
    """Every figure of a set of predictions.

    Args:
        predictions: N examples, K probabilities each.
        classes: the K class names.
        file: the name under which the predictions are saved beside the scorecard.

    Errors: EvaluationError where there are no examples, where the number of classes differs, or where the answers
    are no probabilities (NaN, negative, not summing to 1).
    """
    _refuse_what_is_no_probability(predictions, classes)
    labels, probabilities = predictions.labels, predictions.probabilities.astype(np.float64)
    confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(confusion, (labels, predictions.predicted), 1)
    precision, recall, f1 = _per_class(confusion)
    calibration_error, reliability = _calibration(probabilities.max(axis=1), predictions.correct)
    return Scorecard(
        examples=len(labels),
        test_digest=identity_digest(predictions.identities),
        accuracy=float(predictions.correct.mean()),
        top5_accuracy=_top(probabilities, labels, TOP) if len(classes) > TOP else None,
        log_loss=_log_loss(probabilities, labels),
        calibration_error=calibration_error,
        reliability=reliability,
        macro_precision=float(precision.mean()),
        macro_recall=float(recall.mean()),
        macro_f1=float(f1.mean()),
        classes=list(classes),
        per_class=[
            ClassScore(name=name, count=int(count), precision=float(p), recall=float(r), f1=float(f))
            for name, count, p, r, f in zip(classes, confusion.sum(axis=1), precision, recall, f1, strict=True)
        ],
        confusion=confusion.tolist(),
        predictions=file,
    )


def _refuse_what_is_no_probability(predictions: Predictions, classes: Sequence[str]) -> None:
    probabilities = predictions.probabilities
    if not len(probabilities):
        raise EvaluationError("There are no test examples to score.", "See that the source's test split is not empty.")
    if probabilities.shape[1] != len(classes):
        raise EvaluationError(
            f"The model answers with {probabilities.shape[1]} classes, the data has {len(classes)}.",
            "The model was made for other classes than the test examples have.",
        )
    # 0.01 leaves room for a softmax computed in bfloat16 (8 bits of mantissa).
    bad = ~np.isfinite(probabilities).all(axis=1)
    bad |= (probabilities < 0).any(axis=1) | (np.abs(probabilities.sum(axis=1, dtype=np.float64) - 1) > 0.01)
    if bad.any():
        raise EvaluationError(
            f"On {int(bad.sum())} of {len(bad)} test examples the model's answers are no probabilities "
            f"(first: {probabilities[bad][0][:3].tolist()} …).",
            "The model's output must be a softmax, and finite: a training that diverged ends like this.",
        )


def _per_class(confusion: NDArray[np.int64]) -> tuple[NDArray[np.float64], ...]:
    """Precision, recall and F1, each (K,); 0 where there is nothing to divide by."""
    right = np.diagonal(confusion).astype(np.float64)
    truth, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    return _ratio(right, predicted), _ratio(right, truth), _ratio(2 * right, truth + predicted)


def _ratio(numerator: NDArray[np.float64], denominator: NDArray[Any]) -> NDArray[np.float64]:
    ratio: NDArray[np.float64] = np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
    return ratio


def _log_loss(probabilities: NDArray[np.float64], labels: NDArray[np.int32]) -> float:
    of_truth = probabilities[np.arange(len(labels)), labels]
    # A float32 softmax can underflow to 0; its epsilon keeps one confident mistake from making the mean infinite.
    return float(-np.log(np.clip(of_truth, np.finfo(np.float32).eps, 1.0)).mean())


def _top(probabilities: NDArray[np.float64], labels: NDArray[np.int32], k: int) -> float:
    # A stable sort ranks equals by class index, as `predicted` does.
    ranked = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    return float((ranked == labels[:, None]).any(axis=1).mean())


def _calibration(confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> tuple[float, list[Bin]]:
    """Expected calibration error and its bins: the mean gap between confidence and accuracy, weighted by count."""
    edges = np.linspace(0.0, 1.0, CALIBRATION_BINS + 1)
    index = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, CALIBRATION_BINS - 1)
    bins = []
    for i in np.unique(index):
        inside = index == i
        bins.append(
            Bin(
                lower=float(edges[i]),
                upper=float(edges[i + 1]),
                count=int(inside.sum()),
                confidence=float(confidence[inside].mean()),
                accuracy=float(correct[inside].mean()),
            )
        )
    error = sum(one.count * abs(one.confidence - one.accuracy) for one in bins) / len(confidence)
    return float(error), bins
