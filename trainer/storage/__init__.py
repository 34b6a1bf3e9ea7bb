"""Folders that may lie elsewhere: one face for a local folder (or a mounted volume) and for objects in a bucket.

`local.py` is the one, `google.py` the other and the only door to Google Cloud Storage. What is written is there whole
or not at all in both.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from trainer.errors import StateError
from trainer.storage.google import SCHEME, Bucket
from trainer.storage.local import Folder

__all__ = ["SCHEME", "Bucket", "Folder", "Place", "place", "writing"]


class Place(Protocol):
    """Files by name; a name may have slashes in it. Errors of all methods: StateError."""

    @property
    def address(self) -> str:
        """As a user would write it."""
        ...

    def names(self) -> Iterator[str]:
        """Of all files, relative to the place, in no order. None where the place is not there yet."""
        ...

    def read(self, name: str) -> bytes:
        """Errors: FileNotFoundError."""
        ...

    def write(self, name: str, content: bytes) -> None: ...

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
    """The place at a path or a `gs://bucket/prefix`. Nothing is made or asked yet. Errors: StateError."""
    text = str(address)
    if text.startswith(SCHEME):
        return Bucket(text)
    if "://" in text:
        raise StateError(f"Received the place {text!r}.", "Write a folder, or gs://bucket/prefix.")
    return Folder(Path(address).expanduser().absolute())


@contextmanager
def writing(address: str) -> Iterator[Path]:
    """A local path for one file, which is at its address once the block has ended well. Errors: StateError."""
    there = place(address)
    if isinstance(there, Bucket):
        where = there.writing("")  # it may lie in no folder of its bucket
    else:
        path = Path(there.address)
        where = Folder(path.parent).writing(path.name)
    with where as local:
        yield local
