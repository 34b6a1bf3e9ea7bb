"""Checksums of files, remembered by path, size and time of change, so that an unchanged source costs only stats."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trainer.errors import StateError
from trainer.state import reported

RACY_NS = 2_000_000_000
"""A file that changed this recently may change again within the clock's grain: it is not remembered yet."""
LOOKUP = 500
UNREADABLE = "unreadable"
"""Stands for the checksum of a file that cannot be read."""


@dataclass(frozen=True, slots=True)
class FileFact:
    path: str
    """Absolute."""
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: str | Path) -> FileFact:
        """Errors: OSError."""
        file = Path(path)
        stat = file.stat()
        return cls(str(file.absolute()), stat.st_size, stat.st_mtime_ns)


def digests(files: Sequence[FileFact], database: Path) -> list[str]:
    """SHA-256 (hexadecimal) of every file, in order; `UNREADABLE` for one that cannot be read.

    Safe under concurrent processes. A database that is damaged or of another kind is made anew.

    Errors: StateError.
    """
    try:
        return _digests(files, database)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise StateError(
                f"The file checksums in {database} cannot be kept: {error}.",
                "Free some space or give write permission, or put the state elsewhere with --state DIR.",
            ) from error
        database.unlink(missing_ok=True)
        return _digests(files, database)


def _digests(files: Sequence[FileFact], database: Path) -> list[str]:
    with _opened(database) as connection:
        known = dict(_known(connection, files))
        fresh = [file for file in files if file not in known]
        since = time.time_ns() - RACY_NS
        with ThreadPoolExecutor(max_workers=4 * (os.cpu_count() or 1)) as pool:
            for file, digest in zip(fresh, pool.map(_hash, fresh), strict=True):
                known[file] = digest
        rows = [
            (os.fsencode(file.path), file.size, file.mtime_ns, known[file])
            for file in fresh
            if known[file] != UNREADABLE and file.mtime_ns < since
        ]
        with connection:
            connection.executemany("INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?)", rows)
    return [known[file] for file in files]


@contextmanager
def _opened(database: Path) -> Iterator[sqlite3.Connection]:
    with reported(database.parent):
        database.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(database, timeout=60)
    try:
        with connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS digests"
                " (path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER, sha256 TEXT) WITHOUT ROWID"
            )
        yield connection
    finally:
        connection.close()


def _known(connection: sqlite3.Connection, files: Sequence[FileFact]) -> Iterable[tuple[FileFact, str]]:
    for start in range(0, len(files), LOOKUP):
        part = {os.fsencode(file.path): file for file in files[start : start + LOOKUP]}
        marks = ",".join("?" * len(part))
        for path, size, mtime_ns, digest in connection.execute(
            f"SELECT path, size, mtime_ns, sha256 FROM digests WHERE path IN ({marks})", list(part)
        ):
            file = part[path]
            if (file.size, file.mtime_ns) == (size, mtime_ns):
                yield file, digest


def _hash(file: FileFact) -> str:
    try:
        with Path(file.path).open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError:
        return UNREADABLE
