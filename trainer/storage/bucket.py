"""A place in Google Cloud Storage. Every transfer's checksum is compared, and every transfer can be taken up again.

A large upload is sent in chunks, so that a lost connection costs one of them. A large download comes in slices, several
at once. What arrives damaged all the same is asked for again, `TRIES` times in all.
"""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from trainer.errors import StateError
from trainer.state import reported
from trainer.storage.google import SCHEME, answering, client, parts, patience, patient
from trainer.storage.local import beside, local_copy
from trainer.storage.stored import MOST_DOCUMENT_BYTES, Bounded, Stored, crc32c, crc32c_of

TRIES = 3
SLICES = 8
"""Of a large download, at once."""
SLICED_BYTES = 64 << 20
"""From this size on a download comes in slices."""
_CHUNK_BYTES = 32 << 20
"""How much of a large upload is sent again after a fault; a slice of a download, too."""

T = TypeVar("T")


class Bucket:
    """The objects whose names begin with a prefix, or all of a bucket.

    An empty name is the object that is called as the prefix.
    """

    def __init__(self, address: str) -> None:
        """Errors: StateError where it is no address of a place in a bucket."""
        self._bucket, self._prefix = parts(address.rstrip("/"))
        self._below = f"{self._prefix}/" if self._prefix else ""

    @property
    def address(self) -> str:
        return f"{SCHEME}{self._bucket}/{self._prefix}".rstrip("/")

    def names(self) -> Iterator[str]:
        return (held.name for held in self.stored())

    def stored(self, below: str = "") -> Iterator[Stored]:
        with answering(self._address(below)):
            for blob in self._client.list_blobs(self._bucket, prefix=self._below + below, **patience()):
                yield self._stored(blob)

    def read(self, name: str, most: int | None = None) -> bytes:
        return self._read(name, most)[0]

    def read_versioned(self, name: str) -> tuple[bytes, int]:
        """A document with its generation. Errors: FileNotFoundError, StoreError."""
        return self._read(name, MOST_DOCUMENT_BYTES)

    def _read(self, name: str, most: int | None) -> tuple[bytes, int]:
        blob = self._blob(name)

        def once() -> bytes:
            arrived = Bounded(most, self._address(name))
            blob.download_to_file(arrived, **patience() | {"retry": None})
            return arrived.getvalue()

        def download() -> tuple[bytes, int]:
            # Tried again as a whole: after a part of it the client compares no checksum.
            content: bytes = patient()(once)()
            self._expect(blob.crc32c, crc32c_of(content), name)
            return content, int(blob.generation)

        with self._found(name):
            return _tried(download)

    def write(self, name: str, content: bytes) -> None:
        blob = self._blob(name)
        with answering(self._address(name)):
            _tried(lambda: blob.upload_from_string(content, _kind(blob.name), **patience()))

    def write_if(self, name: str, content: bytes, generation: int) -> int | None:
        """Write on the condition that the object is of this generation still; 0: that it is not there.

        Returns the generation written; None where the condition failed. An answer that was lost does not make it fail:
        what is there then is this very content.
        """
        from google.api_core.exceptions import PreconditionFailed

        blob = self._blob(name)
        with answering(self._address(name)):
            try:
                blob.upload_from_string(content, _kind(blob.name), if_generation_match=generation, **patience())
                return int(blob.generation)
            except PreconditionFailed:
                pass
        try:
            there, now = self.read_versioned(name)
        except FileNotFoundError:
            return None
        return now if there == content else None

    def get(self, held: Stored, path: Path) -> None:
        """Download what `stored` told of, compare it, and give it its name. Errors: FileNotFoundError, StoreError."""
        part = beside(path)
        with reported(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._found(held.name):
                _tried(lambda: self._download(held, part))
            with reported(path):
                os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)

    def put(self, name: str, path: Path) -> Stored:
        """Upload a file. Returns what the place has now."""
        blob = self._blob(name)
        with reported(path):
            blob.chunk_size = _CHUNK_BYTES if path.stat().st_size > _CHUNK_BYTES else None
        with answering(self._address(name)):
            _tried(lambda: blob.upload_from_filename(str(path), _kind(blob.name), **patience()))
        return self._stored(blob)

    @contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        with local_copy() as path:
            blob = self._blob(name)

            def download() -> None:
                blob.download_to_filename(str(path), **patience())
                self._expect(blob.crc32c, crc32c(path), name)

            with self._found(name):
                _tried(download)
            yield path

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        with local_copy() as path:
            with reported(path):
                yield path
            self.put(name, path)

    def remove(self, name: str) -> None:
        with answering(self._address(name)):
            self._client.bucket(self._bucket).delete_blobs([self._blob(name)], on_error=lambda _: None, **patience())

    def remove_if(self, name: str, generation: int) -> None:
        """Remove the object where it is of this generation still."""
        from google.api_core.exceptions import NotFound, PreconditionFailed

        with answering(self._address(name)):
            try:
                self._blob(name).delete(if_generation_match=generation, **patience())
            except (NotFound, PreconditionFailed):
                return

    def _download(self, held: Stored, path: Path) -> None:
        from google.cloud.storage import transfer_manager

        blob, same = self._blob(held.name), {"if_generation_match": held.generation, **patience()}
        if held.size < SLICED_BYTES:
            blob.download_to_filename(str(path), **same)
        else:
            transfer_manager.download_chunks_concurrently(
                blob,
                str(path),
                chunk_size=_CHUNK_BYTES,
                download_kwargs=same,
                worker_type=transfer_manager.THREAD,
                max_workers=SLICES,
                crc32c_checksum=False,  # compared below, for both ways
            )
        self._expect(held.crc32c, crc32c(path), held.name)

    def _expect(self, theirs: str | None, ours: str, name: str) -> None:
        from google.cloud.storage.exceptions import DataCorruption

        if theirs is not None and theirs != ours:
            raise DataCorruption(None, f"Checksum mismatch: {self._address(name)} is {theirs}, what arrived {ours}.")

    def _stored(self, blob: Any) -> Stored:
        name = blob.name.removeprefix(self._below)
        return Stored(name, int(blob.size), f"crc32c:{blob.crc32c}", int(blob.generation), blob.crc32c, blob.updated)

    @contextmanager
    def _found(self, name: str) -> Iterator[None]:
        from google.api_core.exceptions import NotFound, PreconditionFailed

        address = self._address(name)
        with answering(address):
            try:
                yield
            except NotFound as error:
                if "bucket does not exist" in error.message:
                    raise
                raise FileNotFoundError(f"there is no {address}") from None
            except PreconditionFailed:
                raise FileNotFoundError(f"{address} has been written anew") from None

    def _blob(self, name: str) -> Any:
        return self._client.bucket(self._bucket).blob(self._name(name))

    def _name(self, name: str) -> str:
        whole = self._below + name if name else self._prefix
        if not whole:
            raise StateError(f"Received the address {self.address!r}.", f"Write it as {self.address}/path.")
        return whole

    def _address(self, name: str) -> str:
        return f"{self.address}/{name}" if name else self.address

    @cached_property
    def _client(self) -> Any:
        return client()


def _kind(name: str) -> str:
    """By which a browser knows how to show it."""
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def _tried(transfer: Callable[[], T]) -> T:
    """Again where it arrived damaged: the way is at fault more often than what lies at its end."""
    from google.cloud.storage.exceptions import DataCorruption

    for _ in range(TRIES - 1):
        try:
            return transfer()
        except DataCorruption:
            continue
    return transfer()
