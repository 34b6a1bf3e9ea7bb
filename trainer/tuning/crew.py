"""The worker processes of a tuning, seen from the process that runs the study."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from trainer.events import EVENTS_VARIABLE

GRACE_SECONDS = 15.0
"""What a worker gets to write a checkpoint when it is asked to stop."""


@dataclass
class Worker:
    process: subprocess.Popen[bytes]
    number: int
    """The trial it has in hand."""


@dataclass(frozen=True)
class Message:
    """What a worker said of its trial: `kind` is `progress`, `ended`, `error` or `died`."""

    number: int
    kind: str
    fields: dict[str, Any]


class Crew:
    """Up to `size` workers, each started when there is a trial for it and kept for the next one; a context manager.

    Left by an error or an interrupt, it asks the workers to stop and waits for their checkpoints.

    Args:
        size: how many.
        arguments: of `trainer.tuning.worker`.
        log: what the workers print goes there.
    """

    def __init__(self, size: int, arguments: Sequence[str], log: Path) -> None:
        self._size = size
        self._arguments = arguments
        self._log = log
        self._idle: list[subprocess.Popen[bytes]] = []
        self._busy: dict[int, Worker] = {}
        """By the descriptor their messages come from."""
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        busy = [worker.process for worker in self._busy.values()]
        if kind is not None:
            for process in busy:
                process.terminate()
            for process in busy:
                _wait(process)
        for process in [*busy, *self._idle]:
            # Idle ones end with their standard input.
            process.kill()
            process.communicate()
        self._selector.close()

    @property
    def has_room(self) -> bool:
        return len(self._busy) < self._size

    @property
    def busy(self) -> bool:
        return bool(self._busy)

    def give(self, number: int) -> None:
        """Have a worker train a trial."""
        process = self._idle.pop() if self._idle else self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        self._busy[process.stdout.fileno()] = Worker(process, number)
        self._selector.register(process.stdout, selectors.EVENT_READ)
        try:
            process.stdin.write(f"{number}\n".encode())
            process.stdin.flush()
        except BrokenPipeError:
            return  # it died; its standard output says so too

    def listen(self) -> list[Message]:
        """Wait for what the workers say next."""
        return [self._hear(key.fd) for key, _ in self._selector.select()]

    def _hear(self, descriptor: int) -> Message:
        worker = self._busy[descriptor]
        stdout = worker.process.stdout
        assert stdout is not None
        line = stdout.readline()
        if not line:
            self._dismiss(descriptor)
            status = worker.process.wait()
            return Message(worker.number, "died", {"status": status})
        fields = json.loads(line)
        kind = fields.pop("kind")
        if kind == "ended":
            self._dismiss(descriptor)
            self._idle.append(worker.process)
        return Message(worker.number, kind, fields)

    def _dismiss(self, descriptor: int) -> None:
        worker = self._busy.pop(descriptor)
        assert worker.process.stdout is not None
        self._selector.unregister(worker.process.stdout)

    def _start(self) -> subprocess.Popen[bytes]:
        with open(self._log, "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "trainer.tuning.worker", *self._arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
                env=self._environment(),
                # Ctrl-C reaches this process alone, which then asks the workers to stop.
                start_new_session=True,
            )

    def _environment(self) -> dict[str, str]:
        """That of this process; the run and the events that it may have been given are its own."""
        kept = {name: value for name, value in os.environ.items() if name not in ("MLFLOW_RUN_ID", EVENTS_VARIABLE)}
        if self._size == 1:
            return kept
        threads = str(max(1, (os.cpu_count() or 1) // self._size))
        shared = {
            "TF_NUM_INTRAOP_THREADS": threads,
            "OMP_NUM_THREADS": threads,
            # Else the first worker takes all of a GPU's memory.
            "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        }
        return shared | kept


def _wait(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
