"""A folder of this machine, or one that is mounted like it."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from trainer.state import reported, shared, write_atomically
from trainer.storage.stored import Stored, expect_size


class Folder:
    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def address(self) -> str:
        return str(self.root)

    def names(self, below: str = "") -> Iterator[str]:
        with reported(self.root):
            for folder, _, files in os.walk(self.root / below.rpartition("/")[0], onerror=_unless_missing):
                found = (Path(folder, file).relative_to(self.root).as_posix() for file in files)
                yield from (name for name in found if name.startswith(below))

    def stored(self, below: str = "") -> Iterator[Stored]:
        for name in self.names(below):
            with suppress(FileNotFoundError):  # another has removed it meanwhile
                yield self._stored(name)

    def read(self, name: str, most: int | None = None) -> bytes:
        with self.reading(name) as path, reported(path):
            expect_size(path.stat().st_size, most, str(path))
            return path.read_bytes()

    def write(self, name: str, content: bytes) -> None:
        write_atomically(self.root / name, content)

    @contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        path = self.root / name
        if not path.is_file():
            raise FileNotFoundError(f"there is no {path}")
        yield path

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        path = self.root / name
        with reported(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
            os.close(handle)
            try:
                yield Path(beside)
                _sync(beside)
                os.chmod(beside, shared(0o666))
                os.replace(beside, path)
            except BaseException:
                Path(beside).unlink(missing_ok=True)
                raise

    def get(self, held: Stored, path: Path) -> None:
        part = beside(path)
        with self.reading(held.name) as there, reported(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copyfile(there, part)
                os.replace(part, path)
            finally:
                part.unlink(missing_ok=True)

    def put(self, name: str, path: Path) -> Stored:
        with self.writing(name) as beside:
            shutil.copyfile(path, beside)
        return self._stored(name)

    def remove(self, name: str) -> None:
        path = self.root / name
        with reported(path):
            path.unlink(missing_ok=True)
        for folder in path.parents:
            with suppress(OSError):  # it holds something else, or another has removed it
                folder.rmdir()
            if folder == self.root:
                break

    def _stored(self, name: str) -> Stored:
        status = (self.root / name).stat()
        changed = datetime.fromtimestamp(status.st_mtime, UTC)
        return Stored(name, status.st_size, f"{status.st_size} mtime:{status.st_mtime_ns}", changed=changed)


def beside(path: Path) -> Path:
    """Where a file is while it arrives: of two that fetch it at once each has its own."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")


@contextmanager
def local_copy() -> Iterator[Path]:
    """A path for an object on its way, in the folder for temporary files."""
    with reported(Path(tempfile.gettempdir())):
        folder = tempfile.mkdtemp(prefix="inception-")
    try:
        yield Path(folder, "object")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unless_missing(error: OSError) -> None:
    """A folder that is not there holds nothing; one that may not be read must not pass for empty."""
    if not isinstance(error, FileNotFoundError):
        raise error


def _sync(path: str) -> None:
    """See that what was written is on the disk before it gets its name."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
