"""Weights from an object store: downloaded once per content of the object, written beside, then renamed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from trainer.errors import StateError, StoreError, WeightsError
from trainer.events import note
from trainer.state import write_atomically
from trainer.storage import Place, Stored, place


def fetch(address: str, cache: Path) -> Path:
    """The local copy of an object, or of the objects of the checkpoint whose prefix it is.

    The copy is used again as long as the store holds the same content and the copy has the checksum it had.

    Args:
        address: gs://bucket/name, or a file in another object store.
        cache: where copies are kept.

    Errors: WeightsError (nothing there, no access, no answer), StateError.
    """
    folder = cache / hashlib.sha256(address.encode()).hexdigest()[:16]
    above, _, name = address.rpartition("/")
    if not name or above.endswith("/") or ":" not in above:
        raise WeightsError(f"Received the address {address!r}.", "Write it as gs://bucket/path.")
    try:
        there = place(above)
    except StateError as error:
        raise WeightsError(error.message, error.remedy) from None
    try:
        found = _found(there, name)
        for held in found:
            _copy(there, held, folder)
    except StoreError as error:
        raise WeightsError(error.message, error.remedy) from error
    except FileNotFoundError as error:
        raise WeightsError(f"The weights changed while they were fetched: {error}.", "Run again.") from None
    if not found:
        raise WeightsError(f"There is nothing at {address}.", "See that the bucket and the name are right.")
    return folder / name


def _found(there: Place, name: str) -> list[Stored]:
    held = {one.name: one for one in there.stored(name)}
    if name in held:
        return [held[name]]
    parts = (one for one in sorted(held) if one == f"{name}.index" or one.startswith(f"{name}.data-"))
    return [held[one] for one in parts if "/" not in one]  # which might lead out of the folder for copies


def _copy(there: Place, held: Stored, folder: Path) -> None:
    """Bring one object here unless it is here already."""
    path = folder / held.name
    memory = folder / f".{held.name}.json"
    if _remembered(memory) == {"mark": held.mark, "sha256": _sha256(path)}:
        return
    note(f"downloading {there.address}/{held.name} ({held.size / 1e6:,.0f} MB)")
    there.get(held, path)
    write_atomically(memory, json.dumps({"mark": held.mark, "sha256": _sha256(path)}))


def _remembered(memory: Path) -> Any:
    try:
        return json.loads(memory.read_bytes())
    except (OSError, ValueError):
        return None


def _sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
