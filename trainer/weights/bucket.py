"""Weights from Google Cloud Storage: downloaded once per version of the object, written beside, then renamed."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from trainer.errors import WeightsError
from trainer.events import note
from trainer.state import write_atomically
from trainer.storage.google import SCHEME, answering, client, parts, patient


def fetch(address: str, cache: Path) -> Path:
    """The local copy of an object, or of the objects of the checkpoint whose prefix it is.

    The copy is used again as long as the bucket holds the same generation and the copy has the checksum it had.

    Args:
        address: gs://bucket/name.
        cache: where copies are kept.

    Errors: WeightsError (nothing there, no access, no answer), StateError.
    """
    bucket, name = parts(address, WeightsError)
    folder = cache / hashlib.sha256(address.encode()).hexdigest()[:16]
    with answering(address, WeightsError):
        objects = _objects(client(), bucket, name)
        for held in objects:
            _copy(held, folder)
    if not objects:
        raise WeightsError(f"There is nothing at {address}.", "See that the bucket and the name are right.")
    return folder / Path(name).name


def _objects(service: Any, bucket: str, name: str) -> list[Any]:
    exact = service.bucket(bucket).get_blob(name, retry=patient())
    if exact is not None:
        return [exact]
    beside = service.list_blobs(bucket, prefix=f"{name}.", retry=patient())
    return [part for part in beside if part.name == f"{name}.index" or part.name.startswith(f"{name}.data-")]


def _copy(held: Any, folder: Path) -> None:
    """Bring one object here unless it is here already."""
    path = folder / Path(held.name).name
    memory = folder / f".{path.name}.json"
    generation = held.generation  # a download sets it anew
    if _remembered(memory) == {"generation": generation, "sha256": _sha256(path)}:
        return
    note(f"downloading {SCHEME}{held.bucket.name}/{held.name} ({held.size / 1e6:,.0f} MB)")
    beside = folder / f".{path.name}.part"
    folder.mkdir(parents=True, exist_ok=True)
    held.download_to_filename(str(beside), if_generation_match=generation, retry=patient())
    os.replace(beside, path)
    write_atomically(memory, json.dumps({"generation": generation, "sha256": _sha256(path)}))


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
