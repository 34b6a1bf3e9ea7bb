"""Verdicts on file, in the folder of the run that they are on.

A verdict is written before the ledger remembers its digest, under that digest: so what the ledger says was decided can
be said again word for word, whatever has become of champion, budget and code since.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from trainer.errors import StateError
from trainer.gate import Verdict
from trainer.state import reported, write_atomically


def keep(folder: Path, verdict: Verdict) -> None:
    """Errors: StateError."""
    write_atomically(_path(folder, verdict.digest()), verdict.model_dump_json(indent=2) + "\n")


def find(folder: Path, digest: str) -> Verdict | None:
    """The verdict with this digest; None where it is not there, or not what it was."""
    path = _path(folder, digest)
    try:
        with reported(path):
            verdict = Verdict.model_validate_json(path.read_bytes())
    except (StateError, ValidationError):
        return None
    return verdict if verdict.digest() == digest else None


def _path(folder: Path, digest: str) -> Path:
    return folder / f"verdict-{digest[:16]}.json"
