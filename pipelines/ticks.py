"""One tick of a schedule on this machine: the pipeline, run once, one tick at a time, and remembered.

schedules/ticks.jsonl     every tick that came to an end, one a line, oldest first

What has not ended yet is in `pipelines.pending`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from pipelines import local, pending
from pipelines.pending import MARK, Mark, folder
from pipelines.schedules import Schedule
from trainer import notifications, record
from trainer.errors import InceptionError
from trainer.state import State, reported, write_atomically

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


def run(
    schedule: Schedule, file: Path, state: State, show: Callable[[dict[str, Any]], None], due: datetime | None = None
) -> Tick | None:
    """Run the pipeline for a schedule, once no other tick of this state folder runs.

    Args:
        schedule: whose tick it is.
        file: the schedule file.
        state: the state folder.
        show: called with every event of every step.
        due: when the schedule wanted it; None where a person does.

    Returns how it ended, failures included; None where the tick that was waited for was this very one.
    Errors: StateError; KeyboardInterrupt, with the tick's mark left behind, so that it is taken up again.
    """
    with pending.alone(state, show) as waited:
        if waited and due is not None and schedule.name not in pending.asked(state):
            return None
        started = record.now()
        mark = folder(state) / MARK
        write_atomically(
            mark, Mark(schedule=schedule.name, due=due, process=os.getpid(), started=started).model_dump_json()
        )
        try:
            tick = _tick(schedule, file, state, show, due)
        except KeyboardInterrupt:
            _remember(state, _interrupted(schedule, due, started))
            raise
        _remember(state, tick)
        with reported(mark):
            mark.unlink(missing_ok=True)
        pending.forget(state, schedule.name, started)  # the scheduler that asked may be gone
    return tick


def _tick(
    schedule: Schedule, file: Path, state: State, show: Callable[[dict[str, Any]], None], due: datetime | None
) -> Tick:
    started = record.now()
    try:
        outcome = local.run(schedule.recipe_in(file.parent), state, show, schedule.parameters.force)
    except InceptionError as error:
        return _failed(state, schedule, due, started, error)
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


def without_word(state: State, schedule: Schedule, due: datetime, began: datetime, status: int) -> None:
    """Remember as failed a tick whose process ended without a word in the history: it is not taken up again.

    Args:
        state: the state folder.
        schedule: whose tick it was.
        due: when the schedule wanted it.
        began: when its process was started.
        status: what the process ended with; minus a signal's number where that killed it.

    Errors: StateError.
    """
    if any(tick.ended >= began for tick in history(state, schedule.name)):
        return
    error = InceptionError(
        f"Its process was killed by signal {-status}." if status < 0 else f"Its process ended with status {status}.",
        "A system that is out of memory kills by signal 9. What the process said is where the scheduler writes.",
    )
    _remember(state, _failed(state, schedule, due, began, error))
    mark = pending.under_way(state)
    if mark is not None and mark.schedule == schedule.name and pending.running(state) is None:
        with reported(folder(state) / MARK):
            (folder(state) / MARK).unlink(missing_ok=True)


def _failed(state: State, schedule: Schedule, due: datetime | None, started: datetime, error: InceptionError) -> Tick:
    """A tick that came to no report, which is why its failure is told here."""
    ended = record.now()
    told = dict.fromkeys(record.Outcome.model_fields) | {
        "tick": f"{schedule.name} {started:%Y-%m-%d %H:%M:%S} UTC",
        "result": "failed",
        "reason": f"The schedule {schedule.name!r}: {error.message}",
        "remedy": error.remedy,
        "seconds": (ended - started).total_seconds(),
        "at": ended,
    }
    notifications.tell(state, record.Outcome.model_validate(told))
    return Tick(schedule=schedule.name, due=due, started=started, ended=ended, result="failed", reason=str(error))


def _interrupted(schedule: Schedule, due: datetime | None, started: datetime) -> Tick:
    return Tick(
        schedule=schedule.name,
        due=due,
        started=started,
        ended=record.now(),
        result="interrupted",
        reason="It was asked to stop. The scheduler takes it up again when it starts.",
    )


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
