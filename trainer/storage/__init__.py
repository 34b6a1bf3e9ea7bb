"""Folders that may lie elsewhere: one face for a local folder (or a mounted volume) and for objects in a store.

    local.py       a folder
    bucket.py      Google Cloud Storage; `google.py` is its door: the client, its patience, its errors
    elsewhere.py   other object stores, through fsspec
    objects.py     single objects, by their whole addresses
    transfers.py   many files at once

What is written is there whole or not at all in all of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from trainer.storage.bucket import Bucket
from trainer.storage.elsewhere import Elsewhere
from trainer.storage.google import SCHEME
from trainer.storage.local import Folder
from trainer.storage.stored import Stored

__all__ = ["SCHEME", "STORE", "Bucket", "Elsewhere", "Folder", "Place", "Stored", "place", "store_address", "writing"]

STORE = "INCEPTION_STORE"
"""A folder, `gs://bucket/prefix`, or the address of another object store, for what runs share (`trainer.sharing`)."""


class Place(Protocol):
    """Files by name; a name may have slashes in it. Errors of all methods: StateError."""

    @property
    def address(self) -> str:
        """As a user would write it."""
        ...

    def names(self) -> Iterator[str]:
        """Of all files, relative to the place, in no order. None where the place is not there yet."""
        ...

    def stored(self, below: str = "") -> Iterator[Stored]:
        """The same with what is known of each file, of those whose names begin so."""
        ...

    def read(self, name: str, most: int | None = None) -> bytes:
        """Errors: FileNotFoundError, TooLarge (more bytes than `most`: they are not read)."""
        ...

    def write(self, name: str, content: bytes) -> None: ...

    def get(self, held: Stored, path: Path) -> None:
        """A copy at a local path, whole or not at all. Errors: FileNotFoundError (gone, or written anew)."""
        ...

    def put(self, name: str, path: Path) -> Stored:
        """A copy of a local file. Returns what the place knows of it then."""
        ...

    def reading(self, name: str) -> AbstractContextManager[Path]:
        """A large file as a local one, for as long as the block lasts. Errors: FileNotFoundError."""
        ...

    def writing(self, name: str) -> AbstractContextManager[Path]:
        """A local path for a large file, which has its name once the block has ended well."""
        ...

    def remove(self, name: str) -> None:
        """Whether it is there or not. A folder that is left empty goes too."""
        ...


def place(address: str | Path) -> Place:
    """The place at a path, a `gs://bucket/prefix`, or the address of another object store.

    Nothing is made or asked yet. Errors: StateError (no such kind of place, or its package is missing).
    """
    text = str(address)
    if text.startswith(SCHEME):
        return Bucket(text)
    if "://" in text:
        return Elsewhere(text)
    return Folder(Path(address).expanduser().absolute())


def store_address() -> str | None:
    """Where the store is that holds what runs share; None where there is none, and the state folder holds all."""
    text = os.environ.get(STORE, "")
    # "gs://" is no folder "gs:": a variable within it was empty.
    return text if text.endswith("://") else text.rstrip("/") or None


@contextmanager
def writing(address: str) -> Iterator[Path]:
    """A local path for one file, which is at its address once the block has ended well. Errors: StateError."""
    there = place(address)
    # An object may lie in no folder of its bucket.
    where, name = (Folder(there.root.parent), there.root.name) if isinstance(there, Folder) else (there, "")
    with where.writing(name) as local:
        yield local
