"""Being asked to stop: by a cluster that wants its machine back (SIGTERM), by a person (Ctrl-C).

Either interrupts at once, as Python does with Ctrl-C, but for a training that heeds it: there the first one only raises
a flag, so that the loop ends at its next look with a checkpoint written, and the second one interrupts.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""
TERMINATED = 143
"""After SIGTERM, likewise."""
PREEMPTED = 75
"""After SIGTERM, with a checkpoint written: EX_TEMPFAIL of sysexits.h, "try again later"."""
GO_ON = "Run again: it goes on from here."
TOGETHER_SECONDS = 2.0
"""Ctrl-C reaches a step twice, from the terminal and from the command that waits for it: signals so close are one."""


class Interrupted(KeyboardInterrupt):
    """What was being done ended before its time, in words, and with the status that the process should have."""

    def __init__(self, message: str = "", status: int = INTERRUPTED) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


class Interruption:
    """The flag. There is one per process, because signals are the process's."""

    def __init__(self) -> None:
        self._asked: tuple[int, float] | None = None

    @property
    def asked(self) -> bool:
        """Whether the loop should end at once."""
        return self._asked is not None

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """For the length of a block that looks at `asked` again and again; what it overlooks interrupts at its end.

        Signals are the main thread's, so another one hears none.
        """
        self._asked = None
        heard = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
        before = {number: signal.signal(number, self._hear) for number in heard}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        self._expect_looked_at()

    def stopped(self, what: str, where: str) -> Interrupted:
        """What to raise once the checkpoint is written.

        Args:
            what: the step, as in "train".
            where: how far it came, as in "epoch 3, step 17 of 391".
        """
        by_hand = self._asked is not None and self._asked[0] == signal.SIGINT
        how, status = ("interrupted", INTERRUPTED) if by_hand else ("preempted", PREEMPTED)
        return Interrupted(f"{what} was {how} at {where}; a checkpoint was written.", status)

    def _expect_looked_at(self) -> None:
        if self._asked is not None:
            interrupt(self._asked[0], None)

    def _hear(self, number: int, _: FrameType | None) -> None:
        now = time.monotonic()
        if self._asked is None:
            self._asked = number, now
        elif now - self._asked[1] > TOGETHER_SECONDS:
            interrupt(number, None)
        elif number == signal.SIGINT:
            # Both came at once, in whichever order they were heard: it was a person.
            self._asked = number, self._asked[1]


interruption = Interruption()


def interrupt(number: int, _: FrameType | None) -> None:
    """A signal handler: interrupt what the main thread does."""
    raise Interrupted(status=TERMINATED if number == signal.SIGTERM else INTERRUPTED)
