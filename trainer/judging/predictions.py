"""What a model answered, example by example, in memory and on file."""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.errors import EvaluationError, StateError
from trainer.state import reported, write_atomically

DAMAGE = (ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What NumPy and zipfile raise on a file in which any one byte was changed (tried)."""


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
        except (*DAMAGE, EvaluationError) as error:
            raise StateError(
                f"The predictions in {path} are damaged: {error}.", "Delete the file and evaluate again."
            ) from error


def expect_probabilities(predictions: Predictions, classes: Sequence[str]) -> None:
    """Errors: EvaluationError (no examples, another number of classes, answers that are no probabilities)."""
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
