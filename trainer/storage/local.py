"""A folder of this machine, or one that is mounted like it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trainer.state import reported, write_atomically


class Folder:
    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def address(self) -> str:
        return str(self.root)

    def names(self) -> Iterator[str]:
        with reported(self.root):
            for folder, _, files in os.walk(self.root, onerror=_unless_missing):
                yield from (Path(folder, file).relative_to(self.root).as_posix() for file in files)

    def read(self, name: str) -> bytes:
        with self.reading(name) as path, reported(path):
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
                os.chmod(beside, 0o644)
                os.replace(beside, path)
            except BaseException:
                Path(beside).unlink(missing_ok=True)
                raise

    def remove(self, name: str) -> None:
        path = self.root / name
        with reported(path):
            path.unlink(missing_ok=True)
        for folder in path.parents:
            with suppress(OSError):  # it holds something else, or another has removed it
                folder.rmdir()
            if folder == self.root:
                break


def _unless_missing(error: OSError) -> None:
    """A folder that is not there holds nothing; one that may not be read must not pass for empty."""
    if not isinstance(error, FileNotFoundError):
        raise error


def _sync(path: str) -> None:
    """See that what was written is on the disk before it gets its name."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
