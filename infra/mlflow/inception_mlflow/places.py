"""Folders and buckets, as MLflow itself reads and writes artifacts there: a path, `gs://` and what else it knows."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from inception_mlflow.settings import Trouble

_AT_ONCE = 8
_BUCKET = "gs://"


class File(BaseModel, frozen=True):
    path: str
    """Within its place."""
    bytes: int
    sha256: str | None = None
    """None where it was listed and not read."""


class Place:
    """Errors of all methods: Trouble (the place refuses, or what is asked for is not there)."""

    def __init__(self, address: str) -> None:
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        self.address = address.rstrip("/")
        with self._answering():
            self._repository: Any = get_artifact_repository(self.address)

    def within(self, folder: str) -> Place:
        return Place(f"{self.address}/{folder}")

    def files(self) -> list[File]:
        """All of them, by path; none where there is no such place."""
        with self._answering():
            found = self._objects() if self.address.startswith(_BUCKET) else self._below(None)
            return sorted(found, key=lambda file: file.path)

    def read(self, path: str) -> bytes:
        with self.fetched(path) as file:
            return file.read_bytes()

    @contextmanager
    def fetched(self, path: str) -> Iterator[Path]:
        """A file, as a temporary copy."""
        with tempfile.TemporaryDirectory(prefix="mlflow-") as folder:
            with self._answering():
                found = Path(self._repository.download_artifacts(path, folder))
            yield found

    def put(self, file: Path, path: str) -> None:
        """Write a file, over what is there; the last part of the path must be the file's own name."""
        with self._answering():
            self._repository.log_artifact(str(file), str(Path(path).parent) if "/" in path else None)

    def write(self, path: str, content: str) -> None:
        with tempfile.TemporaryDirectory(prefix="mlflow-") as folder:
            file = Path(folder, Path(path).name)
            file.write_text(content)
            self.put(file, path)

    def digest(self, file: File) -> File:
        """The file with its size and digest, as they are found by reading it."""
        with self.fetched(file.path) as copy:
            return described(copy, file.path)

    def copy(self, file: File, target: Place) -> File:
        """A file to another place, under the same path. Returns what was copied."""
        with self.fetched(file.path) as copy:
            target.put(copy, file.path)
            return described(copy, file.path)

    def _objects(self) -> Iterator[File]:
        """A bucket's, a thousand at a time; MLflow asks for every folder, and finds nothing at the root of a bucket."""
        bucket, _, prefix = self.address.removeprefix(_BUCKET).partition("/")
        begin = f"{prefix}/" if prefix else ""
        for blob in self._repository.client.list_blobs(bucket, prefix=begin):
            yield File(path=blob.name.removeprefix(begin), bytes=blob.size)

    def _below(self, folder: str | None) -> Iterator[File]:
        for found in self._repository.list_artifacts(folder):
            if found.is_dir:
                yield from self._below(found.path)
            else:
                yield File(path=found.path, bytes=found.file_size)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError
        from mlflow.exceptions import MlflowException

        try:
            yield
        except (MlflowException, GoogleAPIError, GoogleAuthError, OSError) as error:
            raise Trouble(
                f"{self.address} refused: {str(error).strip().partition(chr(10))[0]}",
                "See that it is there and that this account may list, read and write in it.",
            ) from error


def described(file: Path, path: str) -> File:
    """Errors: OSError."""
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return File(path=path, bytes=file.stat().st_size, sha256=digest)


def each(deed: Callable[[File], File], files: Iterable[File]) -> tuple[File, ...]:
    """Do it to every file, several at once; the first trouble ends it."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            return tuple(pool.map(deed, files))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
