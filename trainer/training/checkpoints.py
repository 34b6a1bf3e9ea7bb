"""Checkpoints of a training: in a folder or a bucket, checksummed, the one before kept until the next is whole.

A checkpoint is two files: `step-<n>-<id>.safetensors` with every array, and `step-<n>.json`, written after it, with the
position, the curves so far, the training it belongs to, and the name and SHA-256 of the arrays' file. Without its JSON,
or with a checksum that does not match, a checkpoint is as good as absent and the one before is used.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from trainer.config import Recipe
from trainer.errors import ForeignCheckpoint
from trainer.events import note
from trainer.record import Epoch
from trainer.state import STORAGE_REFUSALS, State, storage_error
from trainer.storage import place, store_address
from trainer.training import array_file

KEPT = 2
_FORMAT = 2
_DECISIVE = {"data", "model", "train", "transfer"}
_SHOWN = 5


@dataclass(frozen=True)
class Position:
    """How far a training has come."""

    step: int
    """Optimiser steps done."""
    seconds: float
    """Training time so far, over all sittings."""
    epoch_seconds: float
    """Of these, in the epoch under way."""
    loop: dict[str, Any] = field(default_factory=dict)
    """What else the loop has to remember; JSON values."""


@dataclass(frozen=True)
class Checkpoint:
    position: Position
    curves: list[Epoch]
    arrays: dict[str, np.ndarray]


def opened(recipe: Recipe, fingerprint: str, run_key: str, state: State) -> Checkpoints:
    """The checkpoints of a run key: where its recipe wants them, else in the store, where there is one, else here.

    Errors: StateError (no such kind of place).
    """
    store = store_address()
    elsewhere = recipe.resources.checkpoints or (f"{store}/checkpoints" if store else None)
    where = f"{elsewhere.rstrip('/')}/{run_key}" if elsewhere else state.checkpoints(run_key)
    return Checkpoints(where, belonging(recipe, fingerprint))


def belonging(recipe: Recipe, fingerprint: str) -> dict[str, Any]:
    """What decides a training, by dotted key: the data's fingerprint and the recipe's values that reach it."""
    sections = recipe.model_dump(mode="json", include=_DECISIVE, exclude_none=True)
    return {"data fingerprint": fingerprint, **dict(_leaves(sections))}


class Checkpoints:
    """Those of one training. A `with` block around the training sees to it that the last one is written whole."""

    def __init__(self, where: str | Path, belongs_to: Mapping[str, Any]) -> None:
        """
        Args:
            where: a folder, or `gs://bucket/prefix`; made when the first is written.
            belongs_to: JSON values that a checkpoint must agree on to be used.
        """
        self.place = place(where)
        self._belongs_to = dict(belongs_to)
        self._writer: threading.Thread | None = None
        self._failure: BaseException | None = None

    def of_member(self, number: int) -> Checkpoints:
        """Those of one member of an ensemble, in a folder of its own; `clear` of the whole forgets them too."""
        return Checkpoints(f"{self.place.address}/member-{number}", {**self._belongs_to, "member": number})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Wait for the last one. After an error its own failure is only noted; an interruption waits for nothing."""
        if kind is None:
            self.wait()
        elif issubclass(kind, Exception):
            try:
                self.wait()
            except Exception as failure:
                note(f"the last checkpoint could not be written: {failure}")

    def save(self, position: Position, curves: Sequence[Epoch], arrays: Mapping[str, np.ndarray]) -> None:
        """Have a thread write a checkpoint, then forget all but the last two.

        Args:
            position: how far the training has come.
            curves: its epochs so far.
            arrays: by any names; nobody may write into them afterwards.

        Errors: those of the one before (StateError).
        """
        self.wait()
        about = {
            "format": _FORMAT,
            "position": asdict(position),
            "curves": [json.loads(epoch.model_dump_json()) for epoch in curves],
            "belongs_to": self._belongs_to,
        }
        self._writer = threading.Thread(target=self._write, args=(about, dict(arrays)), daemon=True)
        self._writer.start()

    def wait(self) -> None:
        """Until what was saved is written. Errors: StateError where it could not be."""
        if self._writer is not None:
            self._writer.join()
            self._writer = None
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint that is whole; None where there is none.

        Errors: ForeignCheckpoint where it belongs to another training, StateError where the place cannot be read.
        """
        self.wait()
        for stem in self._stems():
            try:
                return self._read(stem)
            except (OSError, ValueError, KeyError, TypeError) as damage:
                if isinstance(damage, OSError) and damage.errno in STORAGE_REFUSALS:
                    raise storage_error(damage, self.place.address) from damage
                note(f"checkpoint {stem} is damaged ({damage}); using the one before")
        return None

    def clear(self) -> None:
        """Forget all checkpoints: the training is complete and its model logged. Errors: StateError."""
        self.wait()
        self._remove(name for name in list(self.place.names()) if _stem(name) is not None)

    def _write(self, about: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        stem = f"step-{about['position']['step']:09d}"
        # A name of its own: what a checkpoint of the same step has written stays whole until this one is.
        data = f"{stem}-{secrets.token_hex(4)}.safetensors"
        try:
            with self.place.writing(data) as path:
                about |= {"arrays": data, "sha256": array_file.write(path, arrays)}
            self.place.write(f"{stem}.json", json.dumps(about).encode())
            self._forget_all_but(stem, data)
        except BaseException as failure:  # raised where somebody waits for it
            self._failure = failure

    def _forget_all_but(self, stem: str, data: str) -> None:
        """Of other steps, too, that a training which went back has not come to yet."""
        kept = [found for found in self._stems() if found <= stem][:KEPT]
        names = [name for name in self.place.names() if "/" not in name and _stem(name) is not None]
        ours = (data, f"{stem}.json")
        self._remove(n for n in names if _stem(n) not in kept or (_stem(n) == stem and n not in ours))

    def _read(self, stem: str) -> Checkpoint:
        about: dict[str, Any] = json.loads(self.place.read(f"{stem}.json"))
        if about["format"] != _FORMAT:
            raise ValueError(f"its format is {about['format']}")
        position, curves = Position(**about["position"]), [Epoch(**epoch) for epoch in about["curves"]]
        self._expect_ours(about["belongs_to"])
        with self.place.reading(about["arrays"]) as path:
            return Checkpoint(position, curves, array_file.read(path, about["sha256"]))

    def _expect_ours(self, theirs: dict[str, Any]) -> None:
        ours: dict[str, Any] = json.loads(json.dumps(self._belongs_to))
        differing = [key for key in {**ours, **theirs} if theirs.get(key) != ours.get(key)]
        if not differing:
            return
        words = [f"{key} is {_words(theirs, key)} there and {_words(ours, key)} here" for key in differing[:_SHOWN]]
        more = f", and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
        raise ForeignCheckpoint(
            f"The checkpoint in {self.place.address} belongs to another training: {', '.join(words)}{more}.",
            f"Remove {self.place.address} to train from the start, or point resources.checkpoints at another place.",
        )

    def _stems(self) -> list[str]:
        return sorted((name.removesuffix(".json") for name in self.place.names() if _is_about(name)), reverse=True)

    def _remove(self, names: Iterator[str]) -> None:
        # What makes a checkpoint valid goes first: a crash in between leaves none that looks whole and is not.
        for name in sorted(names, key=lambda name: not name.endswith(".json")):
            self.place.remove(name)


def _is_about(name: str) -> bool:
    return name.startswith("step-") and name.endswith(".json")


def _stem(name: str) -> str | None:
    """`step-<n>` of a checkpoint's file, of what a killed writer left too; None where it is none of ours."""
    kind, dash, rest = name.rpartition("/")[2].lstrip(".").partition("-")
    return f"{kind}-{rest[:9]}" if kind == "step" and dash and rest[:9].isdigit() else None


def _leaves(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _words(values: Mapping[str, Any], key: str) -> str:
    return json.dumps(values[key], ensure_ascii=False) if key in values else "absent"
