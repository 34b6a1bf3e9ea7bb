"""Checkpoints of a training: written beside and renamed, checksummed, the one before kept.

A checkpoint is two files: `step-<n>.npz` with every array of `Learner.state()` (no pickle), and `step-<n>.json`,
written after it, with the position, the curves so far and the arrays' SHA-256. Without its JSON, or with a checksum
that does not match, a checkpoint is as good as absent and the one before is used.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainer.events import note
from trainer.record import Epoch
from trainer.state import write_atomically

KEPT = 2


@dataclass(frozen=True)
class Position:
    """How far a training has come."""

    step: int
    """Optimiser steps done."""
    seconds: float
    """Training time so far, over all sittings."""
    epoch_seconds: float
    """Of these, in the epoch under way."""


@dataclass(frozen=True)
class Checkpoint:
    position: Position
    curves: list[Epoch]
    arrays: dict[str, np.ndarray]


class Checkpoints:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, position: Position, curves: list[Epoch], arrays: dict[str, np.ndarray]) -> None:
        """Write a checkpoint, then forget all but the last two. Errors: StateError."""
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        payload = buffer.getvalue()
        stem = f"step-{position.step:09d}"
        write_atomically(self.folder / f"{stem}.npz", payload)
        about = {
            "position": asdict(position),
            "curves": [json.loads(epoch.model_dump_json()) for epoch in curves],
            "sha256": hashlib.sha256(payload).hexdigest(),
        }
        write_atomically(self.folder / f"{stem}.json", json.dumps(about))
        for old in self._stems()[KEPT:]:
            (self.folder / f"{old}.json").unlink(missing_ok=True)
            (self.folder / f"{old}.npz").unlink(missing_ok=True)

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint that is whole; None where there is none."""
        for stem in self._stems():
            try:
                return self._read(stem)
            except (OSError, ValueError, KeyError, TypeError) as damage:
                note(f"checkpoint {stem} is damaged ({damage}); using the one before")
        return None

    def clear(self) -> None:
        """Forget all checkpoints: the training is complete and its model logged."""
        for file in self.folder.glob("*step-*"):
            file.unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _stems(self) -> list[str]:
        return sorted((file.stem for file in self.folder.glob("step-*.json")), reverse=True)

    def _read(self, stem: str) -> Checkpoint:
        about: dict[str, Any] = json.loads((self.folder / f"{stem}.json").read_text(encoding="utf-8"))
        payload = (self.folder / f"{stem}.npz").read_bytes()
        if hashlib.sha256(payload).hexdigest() != about["sha256"]:
            raise ValueError("the checksum does not match")
        with np.load(io.BytesIO(payload), allow_pickle=False) as arrays:
            restored = {name: arrays[name] for name in arrays.files}
        return Checkpoint(Position(**about["position"]), [Epoch(**epoch) for epoch in about["curves"]], restored)
