"""One tick of a schedule on this machine: the pipeline, run once, one tick at a time, and remembered.

schedules/ticks.jsonl     every tick that came to an end, one a line, oldest first
schedules/running.json    the tick under way; it stays when the tick is killed, so that the next start takes it up
schedules/asked/<name>    a tick that the scheduler has asked for, from before its process begins until it has ended
schedules/tick.lock       held by the process that runs a tick, and gone with it
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout
from pydantic import ValidationError

from pipelines import local
from pipelines.schedules import Schedule
from trainer import config, record
from trainer.errors import InceptionError
from trainer.events import note
from trainer.state import State, reported, write_atomically

MARK = "running.json"
HISTORY = "ticks.jsonl"


class Tick(record.Document):
    """How one tick ended."""

    schedule: str
    due: datetime | None
    """When the schedule wanted it; None where a person did."""
    started: datetime
    ended: datetime
    result: record.Result | Literal["interrupted"]
    reason: str
    model: str | None = None
    version: str | None = None
    accuracy: float | None = None
    tick: str | None = None
    """The pipeline run."""


class Mark(record.Document):
    """Of a tick under way."""

    schedule: str
    due: datetime | None
    process: int
    started: datetime


def folder(state: State) -> Path:
    return state.root / "schedules"


def run(
    schedule: Schedule, recipe: Path, state: State, show: Callable[[dict[str, Any]], None], due: datetime | None = None
) -> Tick:
    """Run the pipeline for a schedule, once no other tick of this state folder runs.

    Args:
        schedule: whose tick it is.
        recipe: path of its recipe.
        state: the state folder.
        show: called with every event of every step.
        due: when the schedule wanted it.

    Returns how it ended, failures included.
    Errors: StateError; KeyboardInterrupt, with the tick's mark left behind, so that it is taken up again.
    """
    with _alone(state):
        started = record.now()
        mark = folder(state) / MARK
        write_atomically(
            mark, Mark(schedule=schedule.name, due=due, process=os.getpid(), started=started).model_dump_json()
        )
        try:
            tick = _tick(schedule, recipe, state, show, due)
        except KeyboardInterrupt:
            _remember(state, _interrupted(schedule, due, started))
            raise
        _remember(state, tick)
        with reported(mark):
            mark.unlink(missing_ok=True)
        if due is not None:
            forget(state, schedule.name)  # the scheduler that asked may be gone
    return tick


def _tick(
    schedule: Schedule, recipe: Path, state: State, show: Callable[[dict[str, Any]], None], due: datetime | None
) -> Tick:
    asked, started = schedule.parameters, record.now()
    form = {"model.variant": asked.variant, "train.epochs": asked.epochs, "gate.threshold": asked.threshold}
    try:
        outcome = local.run(config.load(recipe, config.overrides_from(form)), state, show, asked.force)
    except InceptionError as error:
        return Tick(
            schedule=schedule.name, due=due, started=started, ended=record.now(), result="failed", reason=str(error)
        )
    return Tick(
        schedule=schedule.name,
        due=due,
        started=started,
        ended=record.now(),
        result=outcome.result,
        reason=outcome.reason,
        model=outcome.model,
        version=outcome.version,
        accuracy=outcome.accuracy,
        tick=outcome.tick,
    )


def _interrupted(schedule: Schedule, due: datetime | None, started: datetime) -> Tick:
    return Tick(
        schedule=schedule.name,
        due=due,
        started=started,
        ended=record.now(),
        result="interrupted",
        reason="It was asked to stop. The scheduler takes it up again when it starts.",
    )


def ask(state: State, name: str) -> None:
    """Note that a schedule's tick is to run, so that no crash forgets it. A disk that is full does not stop it."""
    with suppress(OSError):
        _asked(state).mkdir(parents=True, exist_ok=True)
        (_asked(state) / name).touch()


def forget(state: State, name: str) -> None:
    """A tick that was asked for has ended."""
    with suppress(OSError):
        (_asked(state) / name).unlink(missing_ok=True)


def asked(state: State) -> set[str]:
    """The schedules whose ticks were asked for and have not ended. Errors: StateError."""
    with reported(_asked(state)):
        return {path.name for path in _asked(state).iterdir()} if _asked(state).is_dir() else set()


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


def history(state: State, name: str | None = None) -> list[Tick]:
    """The ticks that came to an end, oldest first; of one schedule, or of all. Errors: StateError."""
    path = folder(state) / HISTORY
    if not path.exists():
        return []
    with reported(path):
        lines = path.read_bytes().splitlines()  # as bytes: a line may be cut off within a letter
    return [tick for tick in map(_parsed, lines) if tick is not None and name in (None, tick.schedule)]


def _parsed(line: bytes) -> Tick | None:
    """None for a line that was cut off by a crash."""
    try:
        return Tick.model_validate_json(line)
    except ValidationError:
        return None


def _remember(state: State, tick: Tick) -> None:
    path = folder(state) / HISTORY
    with reported(path), open(path, "a+b") as file:
        # A line that a crash cut off must not take the next one with it.
        whole = file.tell() == 0 or _ends_whole(path)
        file.write((b"" if whole else b"\n") + tick.model_dump_json().encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _ends_whole(path: Path) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


@contextmanager
def _alone(state: State) -> Iterator[None]:
    at = folder(state)
    with reported(at):
        at.mkdir(parents=True, exist_ok=True)
    lock = FileLock(at / "tick.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        note("another tick is running: waiting for its end")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
