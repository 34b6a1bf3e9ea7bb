"""Figures on their way to MLflow while a training goes on.

Writing to the store takes from some milliseconds (SQLite) to minutes (a server that does not answer), and no optimiser
step waits for it: a thread sends what has gathered, in batches. A store that fails ends nothing; the figures are kept
and sent when it answers again, and one that comes twice, with the time it was logged at, is one figure to MLflow.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

from trainer.events import note
from trainer.patience import FIRST_PAUSE, LONGEST_PAUSE, passes

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

GATHER_SECONDS = 1.0
"""What is logged within this time travels together."""
PATIENCE_SECONDS = 60.0
"""Longest pause between two tries at a store that does not answer."""
FAREWELL_SECONDS = 60.0
"""How long the end of a training waits for its last figures."""
HASTY_FAREWELL_SECONDS = 6.0
"""The same where it was stopped: an orchestrator's grace period is short, and the next sitting logs what is lost."""
KEPT = 100_000
"""Figures kept for a store that does not answer; beyond this the oldest are let go."""
_BATCH = 1000  # MLflow takes no more at once


class MetricStream:
    """Sends figures of one run from a thread of its own; use as a context manager.

    Args:
        client: of the store.
        run_id: the run the figures belong to.
        seen: the last step of every figure that the run has already. A training that goes on from a checkpoint passes
            some steps a second time, and they are not logged twice.
    """

    def __init__(self, client: MlflowClient, run_id: str, seen: Mapping[str, int] | None = None) -> None:
        self._client = client
        self._run_id = run_id
        self._seen = dict(seen or {})
        self._waiting: deque[Metric] = deque()
        self._lock = threading.Lock()
        self._leaving = threading.Event()
        self._lost = 0
        self._silent = False
        self._passing = True
        self._deadline = 0.0
        self._thread = threading.Thread(target=self._work, name="metrics", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        farewell = FAREWELL_SECONDS if kind is None else HASTY_FAREWELL_SECONDS
        self._deadline = time.monotonic() + farewell
        self._leaving.set()
        self._thread.join(farewell)
        unsent = len(self._waiting) + self._lost
        if unsent:
            note(f"{unsent:,} figure{'' if unsent == 1 else 's'} of the training never reached MLflow.")

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Take in figures of a step. Returns at once, and never raises for the store's sake."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        fresh = [Metric(key, value, now, step) for key, value in figures.items() if step > self._seen.get(key, -1)]
        with self._lock:
            self._waiting.extend(fresh)
            while len(self._waiting) > KEPT:
                self._waiting.popleft()
                self._lost += 1

    def _work(self) -> None:
        pause = GATHER_SECONDS
        while not self._leaving.wait(pause):
            pause = GATHER_SECONDS if self._send() else min(2 * pause, PATIENCE_SECONDS)
        pause = FIRST_PAUSE
        while time.monotonic() < self._deadline and not self._send() and self._passing:
            if time.monotonic() + pause >= self._deadline:
                return
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _send(self) -> bool:
        """Send what has gathered. Returns whether the store took it."""
        while self._waiting:
            with self._lock:
                batch = [self._waiting[index] for index in range(min(_BATCH, len(self._waiting)))]
            try:
                self._client.log_batch(self._run_id, metrics=batch)
            except Exception as error:  # whatever a store, a driver or a proxy can say: the training goes on
                self._passing = passes(self._client.tracking_uri, error)
                self._fell_silent(error)
                return False
            with self._lock:
                for metric in batch:
                    if self._waiting and self._waiting[0] is metric:
                        self._waiting.popleft()
        if self._silent:
            self._silent = False
            note("MLflow takes figures again.")
        return True

    def _fell_silent(self, error: Exception) -> None:
        if not self._silent:
            self._silent = True
            reason = str(error).strip().partition("\n")[0]
            note(f"MLflow takes no figures at the moment: {reason}. The training goes on, and they are sent later.")
