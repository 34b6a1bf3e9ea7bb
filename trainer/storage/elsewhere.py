"""Other object stores (`s3://`, `az://`, `memory://`, …), each through its own package behind fsspec.

What costs nothing is had: listing, reading, writing. Retries are those of the store's package; what is compared after a
transfer is the size. Nothing is written on a condition, because fsspec has no way to ask for that.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from trainer.errors import InceptionError, StateError, StoreError, nearest
from trainer.state import STORAGE_REFUSALS, reported, storage_error
from trainer.storage.local import beside, local_copy
from trainer.storage.stored import Stored, expect_size

_MARKS = ("ETag", "etag", "md5", "content_md5", "crc32c", "checksum")
"""What file systems call that which changes with a file's content, the best first; else it is the time of change."""
_CHANGED = ("mtime", "LastModified", "last_modified", "created")
_COMMON = ("abfs", "az", "file", "gs", "hdfs", "memory", "oss", "s3", "sftp", "smb", "webdav")
_NO_STORES = (
    *("http", "https", "ftp", "data", "git", "github", "jlab", "jupyter", "dask"),
    *("zip", "tar", "libarchive", "reference", "cached", "blockcache", "filecache", "simplecache", "dir"),
)
"""Protocols of fsspec that nothing can be listed or written by, or that stand for what is inside another address."""
_ALIASES = {"gcs": "gs"}


class Elsewhere:
    """The files below an address; an empty name is the file at the address itself."""

    def __init__(self, address: str) -> None:
        """Errors: StateError where no such store is known, or its package is missing."""
        expect_protocol(address)
        self.address = address.rstrip("/")

    def names(self) -> Iterator[str]:
        return (held.name for held in self.stored())

    def stored(self, below: str = "") -> Iterator[Stored]:
        with answering(self.address):
            self._files.invalidate_cache()
            # A prefix may end within a name; file systems list folders.
            folder = below.rpartition("/")[0]
            at = f"{self._root}/{folder}" if folder else self._root
            try:
                found = self._files.find(at, detail=True)
            except FileNotFoundError:
                return
            for path, about in sorted(found.items()):
                name = path.removeprefix(f"{self._root}/")
                if about["type"] == "file" and name.startswith(below):
                    yield Stored(name, int(about["size"] or 0), _mark(about), changed=_changed(about))

    def read(self, name: str, most: int | None = None) -> bytes:
        with self._found(name):
            if most is not None:
                expect_size(int(self._files.size(self._path(name)) or 0), most, self._address(name))
            content: bytes = self._files.cat_file(self._path(name))
            return content

    def write(self, name: str, content: bytes) -> None:
        with answering(self._address(name)):
            self._make_room(name)
            self._files.pipe_file(self._path(name), content)

    def get(self, held: Stored, path: Path) -> None:
        part = beside(path)
        with reported(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._found(held.name):
                self._files.get_file(self._path(held.name), str(part))
            with reported(path):
                arrived = part.stat().st_size
            if arrived != held.size:
                raise FileNotFoundError(f"{self._address(held.name)} has been written anew")
            with reported(path):
                os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)

    def put(self, name: str, path: Path) -> Stored:
        with reported(path):
            size = path.stat().st_size
        with answering(self._address(name)):
            self._make_room(name)
            self._files.put_file(str(path), self._path(name))
            self._files.invalidate_cache()
            about = self._files.info(self._path(name))
        if int(about["size"]) != size:
            raise StoreError(
                f"{self._address(name)} has {about['size']} bytes after an upload of {size}.", "Run again."
            )
        return Stored(name, size, _mark(about), changed=_changed(about))

    @contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        with local_copy() as path:
            with self._found(name):
                self._files.get_file(self._path(name), str(path))
            yield path

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        with local_copy() as path:
            with reported(path):
                yield path
            self.put(name, path)

    def remove(self, name: str) -> None:
        with answering(self._address(name)):
            try:
                self._files.rm_file(self._path(name))
            except FileNotFoundError:
                return

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        import fsspec

        files, root = fsspec.core.url_to_fs(self.address)
        return files, str(root).rstrip("/")

    @property
    def _files(self) -> Any:
        return self._opened[0]

    @property
    def _root(self) -> str:
        return self._opened[1]

    def _make_room(self, name: str) -> None:
        """Folders, for file systems that want them made. Object stores have none, and would make a bucket."""
        if _protocol(self.address) in ("file", "local", "sftp", "ssh", "smb", "hdfs", "webhdfs", "webdav", "memory"):
            self._files.makedirs(self._path(name).rpartition("/")[0], exist_ok=True)

    @contextmanager
    def _found(self, name: str) -> Iterator[None]:
        try:
            with answering(self._address(name)):
                yield
        except FileNotFoundError as error:
            if "anew" in str(error):
                raise
            raise FileNotFoundError(f"there is no {self._address(name)}") from None

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _address(self, name: str) -> str:
        return f"{self.address}/{name}" if name else self.address


def expect_protocol(address: str, kind: type[InceptionError] = StateError) -> None:
    """Errors: one of `kind` where fsspec knows no such store, or the store's own package is not installed."""
    import fsspec
    from fsspec.registry import known_implementations

    protocol, _, rest = address.partition("://")
    if protocol in _ALIASES:
        raise kind(f"Received the address {address!r}.", f"Write it as {_ALIASES[protocol]}://{rest}.")
    try:
        if protocol in _NO_STORES or "::" in address:  # fsspec's way to write one address inside another
            raise ValueError
        fsspec.get_filesystem_class(protocol)
    except ValueError:
        raise kind(
            f"Received the address {address!r}, and there is no store {protocol!r}.",
            "Write a folder, gs://bucket/path, or the address of another object store, such as s3://bucket/path. "
            f"{nearest(protocol, _COMMON)}",
        ) from None
    except ImportError as error:
        asked = known_implementations.get(protocol, {}).get("err") or str(error)
        package = known_implementations[protocol]["class"].partition(".")[0]
        raise kind(
            f"{address} needs a package that is not installed: {asked}.",
            f"pip install {package}, here and in the images of the steps.",
        ) from None
    if not rest.strip("/"):
        raise kind(f"Received the address {address!r}.", f"Write it as {protocol}://bucket/path.")


@contextmanager
def answering(address: str, kind: type[InceptionError] = StoreError) -> Iterator[None]:
    """Turn what a store refuses about `address` into an error of `kind`. A FileNotFoundError stays what it is."""
    try:
        yield
    except (FileNotFoundError, InceptionError):
        raise
    except OSError as error:
        if error.errno in STORAGE_REFUSALS and not isinstance(error, PermissionError):
            raise storage_error(error, address) from error
        raise _refused(error, address, kind) from error
    except Exception as error:  # each store's package has errors of its own
        raise _refused(error, address, kind) from error


def _refused(error: Exception, address: str, kind: type[InceptionError]) -> InceptionError:
    cause = (str(error).strip().splitlines() or [""])[0]
    remedy = (
        "Give the account this runs as the right to list, read, write and delete there."
        if isinstance(error, PermissionError)
        else "See that the address is right, that the store answers, and that its package finds its credentials."
    )
    return kind(f"{address} cannot be used: {type(error).__name__}: {cause}", remedy)


def _protocol(address: str) -> str:
    return address.partition("://")[0]


def _mark(about: Mapping[str, Any]) -> str:
    known = next((f"{key}:{about[key]}" for key in _MARKS if about.get(key) is not None), "")
    return f"{about['size']} {known or _changed(about)}"


def _changed(about: Mapping[str, Any]) -> datetime | None:
    found = next((about[key] for key in _CHANGED if about.get(key) is not None), None)
    if isinstance(found, int | float):
        return datetime.fromtimestamp(found, UTC)
    return found if isinstance(found, datetime) else None
