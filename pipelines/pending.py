"""What a state folder knows of ticks that have not ended: the one that runs, and those that were asked for.

schedules/running.json    the tick under way; it stays when the tick is killed, so that the next start takes it up
schedules/asked/<name>    when a tick was due that the scheduler asked for, until one that began later has ended
schedules/tick.lock       held by the process that runs a tick, and gone with it
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import ValidationError

from trainer import record
from trainer.errors import StateError
from trainer.state import State, reported, write_atomically

MARK = "running.json"
LOCK = "tick.lock"
LOOKED_AT_SECONDS = 0.5
"""How long a lock may be held by somebody who only looks whether it is free."""


class Mark(record.Document):
    """Of a tick under way."""

    schedule: str
    due: datetime | None
    process: int
    started: datetime


def folder(state: State) -> Path:
    return state.root / "schedules"


def ask(state: State, name: str, due: datetime) -> None:
    """Note that a schedule's tick is to run, so that no crash forgets it. A disk that is full does not stop it."""
    with suppress(StateError):
        write_atomically(_asked(state) / name, due.astimezone(UTC).isoformat())


def forget(state: State, name: str, began: datetime) -> None:
    """A tick has ended: what was due when it began is done."""
    with suppress(OSError, StateError):
        due = asked(state).get(name)
        if due is not None and due <= began:
            (_asked(state) / name).unlink(missing_ok=True)


def asked(state: State) -> dict[str, datetime]:
    """The schedules whose ticks were asked for and have not ended, and when these were due. Errors: StateError."""
    at = _asked(state)
    with reported(at):
        files = [path for path in at.iterdir() if not path.name.startswith(".")] if at.is_dir() else []
        found = {path.name: _moment(path) for path in files}
    return {name: due for name, due in found.items() if due is not None}


def _moment(path: Path) -> datetime | None:
    """When the tick was due; when that was noted, where the file does not say. None: it ended in this moment."""
    try:
        try:
            return datetime.fromisoformat(path.read_text(encoding="ascii")).astimezone(UTC)
        except ValueError:
            return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except (FileNotFoundError, IsADirectoryError):
        return None


def _asked(state: State) -> Path:
    return folder(state) / "asked"


def under_way(state: State) -> Mark | None:
    """The tick that runs, or that was killed while it ran. Errors: StateError."""
    path = folder(state) / MARK
    with reported(path):
        try:
            return Mark.model_validate_json(path.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None


def running(state: State) -> Mark | None:
    """The tick that runs. Errors: StateError."""
    return under_way(state) if held(folder(state) / LOCK) else None


def held(lock: Path) -> bool:
    """Whether a process holds a lock."""
    if not lock.exists():
        return False
    try:
        with FileLock(lock, blocking=False):
            return False
    except Timeout:
        return True
    except OSError:  # a disk that nobody may write to has no holders
        return False


@contextmanager
def alone(state: State, show: Callable[[dict[str, Any]], None]) -> Iterator[bool]:
    """Hold the tick's lock. Yields whether somebody else's end was waited for."""
    at = folder(state)
    with reported(at):
        at.mkdir(parents=True, exist_ok=True)
        lock, waited = FileLock(at / LOCK), False
        try:
            lock.acquire(LOOKED_AT_SECONDS)
        except Timeout:
            show({"kind": "note", "line": "another tick is running: waiting for its end"})
            lock.acquire()
            waited = True
    try:
        yield waited
    finally:
        lock.release()
