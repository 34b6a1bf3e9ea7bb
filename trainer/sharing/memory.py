"""Which local files are known to be as they lie in a store: by size and time of change here, by their mark there."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from trainer.errors import StateError
from trainer.state import reported

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Known:
    size: int
    mtime_ns: int
    mark: str

    def is_still(self, status: os.stat_result) -> bool:
        """Whether the local file has not been changed since."""
        return (self.size, self.mtime_ns) == (status.st_size, status.st_mtime_ns)


class Memory:
    """Of one store and one state folder. Safe under concurrent processes.

    One that is lost, or damaged, costs comparisons and nothing else.
    """

    def __init__(self, database: Path, store: str) -> None:
        self._database = database
        self._store = store

    def below(self, folder: str) -> dict[str, Known]:
        """What is known of the files below a folder, by their names in it. Errors: StateError."""

        def ask(connection: sqlite3.Connection) -> dict[str, Known]:
            rows = connection.execute(
                "SELECT substr(path, ?), size, mtime_ns, mark FROM shared WHERE store = ? AND path >= ? AND path < ?",
                (len(folder) + 2, self._store, f"{folder}/", f"{folder}0"),  # 0 comes after the slash
            )
            return {name: Known(size, mtime_ns, mark) for name, size, mtime_ns, mark in rows}

        return self._answer(ask)

    def note(self, folder: str, known: Mapping[str, Known], forgotten: Iterable[str] = ()) -> None:
        """Errors: StateError."""
        kept = [(self._store, f"{folder}/{name}", k.size, k.mtime_ns, k.mark) for name, k in known.items()]
        gone = [(self._store, f"{folder}/{name}") for name in forgotten]

        def ask(connection: sqlite3.Connection) -> None:
            connection.executemany("INSERT OR REPLACE INTO shared VALUES (?, ?, ?, ?, ?)", kept)
            connection.executemany("DELETE FROM shared WHERE store = ? AND path = ?", gone)

        self._answer(ask)

    def _answer(self, ask: Callable[[sqlite3.Connection], T]) -> T:
        with reported(self._database.parent):
            self._database.parent.mkdir(parents=True, exist_ok=True)
        try:
            try:
                return _answered(self._database, ask)
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError:  # damaged, or of another kind: that may show late
                self._database.unlink(missing_ok=True)
                return _answered(self._database, ask)
        except sqlite3.DatabaseError as error:
            raise StateError(
                f"What was fetched cannot be remembered in {self._database}: {error}.",
                "Free some space or give write permission, or put the state elsewhere with --state DIR.",
            ) from error


def _answered(database: Path, ask: Callable[[sqlite3.Connection], T]) -> T:
    connection = sqlite3.connect(database, timeout=60)
    try:
        with connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS shared (store TEXT, path TEXT, size INTEGER, mtime_ns INTEGER, mark TEXT,"
                " PRIMARY KEY (store, path)) WITHOUT ROWID"
            )
            return ask(connection)
    finally:
        connection.close()
