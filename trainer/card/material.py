"""What a run card is made from: the documents of one run record, read once, whatever state they are in."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image

from trainer import record
from trainer.data.images import opened
from trainer.errors import StateError
from trainer.record import Checked, Document, Evaluated, Failure, Prepared, Promoted, Registered, Result, Trained
from trainer.registry.protocol import Entry
from trainer.scorecard import Scorecard

STEPS = ("check", "prepare", "train", "evaluate", "register", "promote")

MISTAKES = "mistakes.json"
"""Beside the pictures of the mistakes: a list of {file, truth, predicted, probability, source}."""

LARGEST_PICTURE = 320
"""Pixels; a mistake's picture with a longer side is scaled down, or a card on photographs would weigh megabytes."""

D = TypeVar("D", bound=Document)


@dataclass(frozen=True)
class Mistake:
    """A test example the challenger got wrong."""

    file: str
    picture: bytes | None
    """PNG; None where the file cannot be read."""
    size: tuple[int, int]
    """Width and height of the picture in pixels; (0, 0) without one."""
    truth: str
    predicted: str
    probability: float | None
    source: str


@dataclass(frozen=True)
class Side:
    """A test example on which exactly one of challenger and champion is right."""

    file: str
    picture: bytes | None
    """PNG; None where the file cannot be read."""
    size: tuple[int, int]
    truth: str
    challenger: str
    champion: str
    newly_right: bool
    source: str


@dataclass(frozen=True)
class Material:
    """One run, as far as its record tells. A document is None where its step left none that can be read."""

    tick: str
    result: Result
    reason: str
    folder: Path
    """Where the card and its pictures are put."""
    checked: Checked | None = None
    prepared: Prepared | None = None
    trained: Trained | None = None
    evaluated: Evaluated | None = None
    registered: Registered | None = None
    promoted: Promoted | None = None
    failure: Failure | None = None
    mistakes: list[Mistake] = field(default_factory=list)
    sides: list[Side] = field(default_factory=list)
    damaged: frozenset[str] = frozenset()
    """Steps whose document is there and cannot be read."""
    ledger: tuple[Entry, ...] = ()
    """The model's promotions and decisions, oldest first; empty where they cannot be read."""

    @property
    def recipe(self) -> Mapping[str, Any]:
        """The recipe's sections; empty where it is unknown."""
        return _json_object(self.checked.recipe) if self.checked else {}

    @property
    def model(self) -> str | None:
        """Name of the registered model: the registry's word, or before that the recipe's."""
        if self.registered:
            return self.registered.name
        section = self.recipe.get("registry")
        return str(section["name"]) if isinstance(section, dict) and "name" in section else None

    @property
    def version(self) -> str | None:
        """The challenger's version; None where none was registered."""
        if self.promoted:
            return self.promoted.version
        return self.registered.version if self.registered else None

    @property
    def pair(self) -> tuple[Scorecard, Scorecard] | None:
        """Challenger and champion on the same examples: all of them, or where classes changed those both know."""
        e = self.evaluated
        if e is None:
            return None
        if e.champion is not None:
            return e.challenger, e.champion
        return (e.class_change.challenger, e.class_change.champion) if e.class_change else None

    @property
    def entry(self) -> Entry | None:
        """What the ledger remembers of this decision."""
        number = self.promoted.ledger_entry if self.promoted else None
        return next((one for one in self.ledger if one.number == number), None)

    def document(self, step: str) -> Document | None:
        documents: dict[str, Document | None] = {
            "check": self.checked,
            "prepare": self.prepared,
            "train": self.trained,
            "evaluate": self.evaluated,
            "register": self.registered,
            "promote": self.promoted,
        }
        return documents[step]


def document(folder: Path, kind: type[D]) -> D | None:
    """A document, or None where it is missing or cannot be read for whatever reason: half a record makes a card too."""
    try:
        return record.find(folder, kind)
    except StateError:
        return None


def damaged(folders: Mapping[type[Document], Path]) -> frozenset[str]:
    """Steps whose document is in its folder and cannot be read."""
    return frozenset(
        record.NAMES[kind]
        for kind, folder in folders.items()
        if (folder / f"{record.NAMES[kind]}.json").exists() and document(folder, kind) is None
    )


def read_mistakes(folder: Path, evaluated: Evaluated | None) -> list[Mistake]:
    """The worst mistakes, worst first. A picture or caption that is missing leaves a gap, never an error."""
    if evaluated is None:
        return []
    captions = _captions(folder)
    mistakes = []
    for file in evaluated.worst_mistakes:
        picture, size = _picture(folder, file)
        caption = captions.get(file, {})
        probability = caption.get("probability")
        mistakes.append(
            Mistake(
                file=file,
                picture=picture,
                size=size,
                truth=str(caption.get("truth", "?")),
                predicted=str(caption.get("predicted", "?")),
                probability=float(probability) if isinstance(probability, int | float) else None,
                source=str(caption.get("source") or ""),
            )
        )
    return mistakes


def read_sides(folder: Path, evaluated: Evaluated | None) -> list[Side]:
    """The examples that changed sides and have a picture: newly wrong first, in the order of the record."""
    if evaluated is None:
        return []
    sides = []
    for one in sorted(evaluated.changed_sides, key=lambda one: one.newly_right):
        picture, size = _picture(folder, one.file)
        sides.append(
            Side(one.file, picture, size, one.truth, one.challenger, one.champion, one.newly_right, one.source)
        )
    return sides


def _captions(folder: Path) -> dict[str, dict[str, Any]]:
    try:
        listed = json.loads((folder / MISTAKES).read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(listed, list):
        return {}
    return {str(entry["file"]): entry for entry in listed if isinstance(entry, dict) and "file" in entry}


def _picture(folder: Path, file: str) -> tuple[bytes | None, tuple[int, int]]:
    """A picture of the record, as PNG of at most `LARGEST_PICTURE` pixels a side."""
    if Path(file).name != file:  # the document may name files of its own folder only
        return None, (0, 0)
    try:
        with opened(folder / file) as image:
            image.thumbnail((LARGEST_PICTURE, LARGEST_PICTURE))
            buffer = io.BytesIO()
            image.convert("RGB").save(buffer, format="PNG", optimize=True)
            return buffer.getvalue(), image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # Pillow's ways to refuse a file
        return None, (0, 0)


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
