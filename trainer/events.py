"""Live progress: what a step says while it works.

Every event becomes a line on standard output (the pod's log) and, where `INCEPTION_EVENTS` names a file, a JSON line
in it, which is how the command line draws progress for steps that run as processes of their own.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from trainer.errors import without_secrets
from trainer.legible import legible

EVENTS_VARIABLE = "INCEPTION_EVENTS"
DEBUG_VARIABLE = "INCEPTION_DEBUG"
"""Set: errors show their tracebacks."""


def emit(kind: str, line: str = "", **fields: Any) -> None:
    """Say that something happened.

    Args:
        kind: `step`, `progress`, `epoch`, `note` or `outcome`; `study` and `trial` while a recipe is tuned.
        line: the event in words, for logs; an event without words is for the screen only.
        fields: its figures; JSON values.
    """
    line = legible(without_secrets(line))
    if line:
        try:
            print(line, flush=True)
        except BrokenPipeError:
            # An orchestrator that is interrupted stops reading first and then asks to stop: the work is put in order.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    path = os.environ.get(EVENTS_VARIABLE)
    if not path:
        return
    event = {"kind": kind, "line": line, "at": time.time(), **fields}
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(event) + "\n")


def note(line: str) -> None:
    """Something the user should know, in words."""
    emit("note", line)


def progress(step: str, done: int, total: int | None, unit: str) -> None:
    """How far a step has come; not logged, only drawn."""
    emit("progress", step=step, done=done, total=total, unit=unit)
