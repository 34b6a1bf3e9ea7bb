"""Decides over every candidate, in the order of the source: which split it goes to, or why it is left out."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.config import Data
from trainer.data.inspection import Inspected
from trainer.data.sources import RawExample
from trainer.data.splits import side
from trainer.data.writing import DatasetWriter
from trainer.record import Rejected


@dataclass(slots=True)
class Met:
    """Where some content was met first."""

    split: str
    index: int | None
    """Place in the split's table; None where `data.limit` passed over it."""
    label: int
    path: str
    conflicting: bool = False


class Intake:
    """Takes inspected candidates one by one; hands those that can be used to the writer."""

    def __init__(self, data: Data, classes: list[str], writer: DatasetWriter) -> None:
        self._data = data
        self._classes = classes
        self._writer = writer
        self._met: dict[str, Met] = {}
        self._official: set[str] = set()
        self.rejected: list[Rejected] = []
        self.candidates = 0

    def take(self, inspected: Inspected) -> None:
        """Errors: OSError."""
        raw = inspected.raw
        self.candidates += 1
        if raw.split:
            # A source gives test and validation first, so all it has are known when training examples come.
            self._official.add(raw.split)
        if inspected.reason:
            self._reject(raw.path, inspected.reason)
        elif first := self._met.get(inspected.identity):
            self._take_again(raw, first)
        else:
            fractions = self._data.validation_fraction, self._data.test_fraction
            split = side(inspected.identity, raw.split, self._official, *fractions)
            index = self._writer.add(split, inspected)
            self._met[inspected.identity] = Met(split, index, raw.label, raw.path)

    def _take_again(self, raw: RawExample, first: Met) -> None:
        """Equal content: once is enough in one class, and in two classes nobody knows which is right."""
        if raw.label == first.label and not first.conflicting:
            self._reject(raw.path, f"duplicate of {first.path}")
            return
        self._reject(raw.path, self._same_as(first.path, first.label))
        if not first.conflicting:
            first.conflicting = True
            self._reject(first.path, self._same_as(raw.path, raw.label))
            if first.index is not None:
                self._writer.drop(first.split, first.index)

    def _same_as(self, path: str, label: int) -> str:
        return f"same content as {path}, which is in the class {self._classes[label]}"

    def _reject(self, path: str, reason: str) -> None:
        self.rejected.append(Rejected(path=path, reason=reason))
