"""Weights from Google Cloud Storage: downloaded once per version of the object, written beside, then renamed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trainer.errors import WeightsError
from trainer.events import note
from trainer.state import STORAGE_REFUSALS, storage_error, write_atomically

SCHEME = "gs://"


def fetch(address: str, cache: Path) -> Path:
    """The local copy of an object, or of the objects of the checkpoint whose prefix it is.

    The copy is used again as long as the bucket holds the same generation and the copy has the checksum it had.

    Args:
        address: gs://bucket/name.
        cache: where copies are kept.

    Errors: WeightsError (nothing there, no access, no answer), StateError.
    """
    bucket, _, name = address.removeprefix(SCHEME).partition("/")
    if not bucket or not name or name.endswith("/"):
        raise WeightsError(f"Received the address {address!r}.", "Write it as gs://bucket/path/to/file.")
    folder = cache / hashlib.sha256(address.encode()).hexdigest()[:16]
    with _answering(address):
        objects = _objects(_client(), bucket, name)
        for held in objects:
            _copy(held, folder)
    if not objects:
        raise WeightsError(f"There is nothing at {address}.", "See that the bucket and the name are right.")
    return folder / Path(name).name


def _client() -> Any:
    from google.auth.exceptions import DefaultCredentialsError
    from google.cloud import storage

    try:
        return storage.Client()
    except DefaultCredentialsError:
        return storage.Client.create_anonymous_client()  # public buckets need none


def _objects(client: Any, bucket: str, name: str) -> list[Any]:
    exact = client.bucket(bucket).get_blob(name)
    if exact is not None:
        return [exact]
    parts = client.list_blobs(bucket, prefix=f"{name}.")
    return [part for part in parts if part.name == f"{name}.index" or part.name.startswith(f"{name}.data-")]


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
    held.download_to_filename(str(beside), if_generation_match=generation)
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


@contextmanager
def _answering(address: str) -> Iterator[None]:
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from google.resumable_media import DataCorruption

    try:
        yield
    except (GoogleAPIError, GoogleAuthError, DataCorruption, OSError) as error:
        # What the network refuses is an OSError too, with other numbers than the disk's.
        if isinstance(error, OSError) and error.errno in STORAGE_REFUSALS:
            raise storage_error(error, address) from error
        raise WeightsError(
            f"{address} cannot be fetched: {error}",
            "See that the account this runs as may read the bucket, or give a local file.",
        ) from error
