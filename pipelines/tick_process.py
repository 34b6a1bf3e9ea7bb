"""A tick's own process: `inception schedule run-now`, started by the scheduler and stopped with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from trainer.state import State

GRACE_SECONDS = 60.0
"""How long a tick that was asked to stop may take to put its work in order."""
LOOK_SECONDS = 1.0
"""How often is looked whether it is to stop."""


class TickProcess:
    """Runs in a session of its own, so that Ctrl-C reaches it by way of the scheduler alone.

    Args:
        name: of the schedule.
        due: when it wanted the tick.
        file: the schedule file.
        state: the state folder.

    Errors: OSError where no process can be had.
    """

    def __init__(self, name: str, due: datetime, file: Path, state: State) -> None:
        words = ["schedule", "run-now", name, "--due", due.isoformat(), "--file", str(file), "--state", str(state.root)]
        # -P: what lies in the folder that `serve` was called in is not what is imported.
        command = [sys.executable, "-P", "-c", "from pipelines.cli import main; main()", *words]
        self._child = subprocess.Popen(command, start_new_session=True)

    def wait(self, stopping: threading.Event, say: Callable[[str], None]) -> int:
        """Its exit status, minus the signal where it was killed; once `stopping` is set it is asked to end."""
        while True:
            try:
                status = self._child.wait(LOOK_SECONDS)
                break
            except subprocess.TimeoutExpired:
                if stopping.is_set():
                    say("stopping the tick under way …")
                    self._child.terminate()
                    status = self._ended()
                    break
        self._leave_none_behind()
        return status

    def _ended(self) -> int:
        try:
            return self._child.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            return self._child.wait()

    def _leave_none_behind(self) -> None:
        """Steps outlive a process that was killed: they would run on beside the next tick."""
        deadline = time.monotonic() + GRACE_SECONDS
        with suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGTERM)
            while time.monotonic() < deadline:
                os.killpg(self._child.pid, 0)
                time.sleep(0.1)
            os.killpg(self._child.pid, signal.SIGKILL)
