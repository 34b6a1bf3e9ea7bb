"""What every source of images offers, and how its identity comes about."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from trainer.config import Data, canonical_json, sha256_text

DIVISION_VERSION = 3
"""Raised when the same source and recipe would be decoded, divided or stored differently than before."""


@dataclass(frozen=True, slots=True)
class RawExample:
    """One candidate as the source holds it, not yet decoded."""

    path: str
    """Name within the source, for people."""
    label: int
    """Index into the source's classes; -1 where the source gives none."""
    split: str | None
    """The official split (`train`, `validation`, `test`), where the source has them."""
    payload: bytes
    """Encoded image."""
    problem: str = ""
    """Why there is no payload, where it could not be read."""


@dataclass(frozen=True, slots=True)
class SourceIdentity:
    digest: str
    """Data fingerprint: changes exactly when the prepared dataset would (SHA-256, hexadecimal)."""
    summary: dict[str, str | int]
    """The source in words: address, number of files, bytes."""


class Source(Protocol):
    """Where images come from. Making one, and `fingerprint`, import no TensorFlow and decode nothing."""

    def fingerprint(self) -> SourceIdentity:
        """What the source holds now and how the recipe divides it. Errors: DataError, StateError."""

    def classes(self) -> list[str]:
        """Class names; a label is an index into them. Errors: DataError."""

    def total(self) -> int | None:
        """How many examples there will be, where that is known beforehand."""

    def examples(self) -> Iterator[RawExample]:
        """Every candidate once, one at a time, in an order that repeats; test examples first, then validation,
        then train, so that of two equal images the one in the more precious split is met first. Errors: DataError."""


def identify(data: Data, holds: Iterable[tuple[str | int, ...]], summary: dict[str, str | int]) -> SourceIdentity:
    """The identity of a source that holds these facts (file name, size, checksum …), divided as `data` says.

    The way of dividing is part of it, because two recipes may share a prepared dataset only if they divide alike.
    Where the source lies is not.
    """
    content = sha256()
    for fact in holds:
        content.update(canonical_json(fact).encode() + b"\n")
    division = {
        "content": content.hexdigest(),
        "limit": data.limit,
        "test_fraction": data.test_fraction,
        "validation_fraction": data.validation_fraction,
        "version": DIVISION_VERSION,
    }
    return SourceIdentity(sha256_text(canonical_json(division)), summary)
