"""One machine at a time: an object that says who is at work, renewed while that is so.

It is made, renewed and taken over on the condition that nobody wrote it since it was read. Whoever waits goes by its
own clock alone: an object that has not been renewed for `STALE_SECONDS` of its time belongs to a machine that is gone.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from trainer.errors import StateError, StoreError
from trainer.events import note
from trainer.storage import Bucket
from trainer.storage.google import hastily

RENEW_SECONDS = 20.0
STALE_SECONDS = 120.0
LOOK_SECONDS = 5.0


def end_this() -> None:
    """As a cluster ends a step: with its checkpoint written."""
    os.kill(os.getpid(), signal.SIGTERM)


class Lease:
    """Of one name in a bucket."""

    def __init__(self, bucket: Bucket, name: str, lost: Callable[[], None]) -> None:
        self._bucket = bucket
        self._name = name
        self._lost = lost
        self._holder = f"{socket.gethostname()} {os.getpid()} {secrets.token_hex(4)}"
        self._content = json.dumps({"holder": self._holder}).encode()
        self._generation = 0
        self._writing = threading.Lock()
        self._ended = threading.Event()
        self.waited = False
        """Whether somebody else was at work first."""

    def acquire(self, what: str) -> None:
        """Wait until nobody else holds it. Errors: StateError (the store is out of reach)."""
        seen, since = 0, time.monotonic()
        while True:
            asked = time.monotonic()
            try:
                holder, generation = self._read()
            except FileNotFoundError:
                if self._take(0):
                    return
                continue
            # A store that did not answer for so long may have left its holder without an answer too.
            if generation != seen or time.monotonic() - asked > RENEW_SECONDS:
                seen, since = generation, time.monotonic()
            elif time.monotonic() - since > STALE_SECONDS and self._take(generation):
                note(f"nothing was heard from {holder} for {STALE_SECONDS:.0f} s: going on in its place")
                return
            if not self.waited:
                note(f"{holder} is at the same {what}: waiting for it")
            self.waited = True
            time.sleep(LOOK_SECONDS)

    def keep(self) -> None:
        """Renew it until it is released, or lost; then this process is ended."""
        while not self._ended.wait(RENEW_SECONDS):
            with suppress(StateError):  # out of reach: whether it was taken over is seen when the store answers again
                if not self._renew():
                    self._lost()
                    return

    def confirm(self) -> None:
        """Errors: StoreError where somebody else has taken it over meanwhile."""
        if not self._renew():
            self._ended.set()
            raise StoreError(
                "Another machine has taken this work over, because nothing was heard from this one for "
                f"{STALE_SECONDS:.0f} s.",
                "Let that one finish; what it makes counts.",
            )

    def release(self) -> None:
        self._ended.set()
        # Where the store is away nobody waits long for it: what stays there is taken over.
        with self._writing, suppress(StateError), hastily():
            self._bucket.remove_if(self._name, self._generation)

    def _take(self, generation: int) -> bool:
        written = self._bucket.write_if(self._name, self._content, generation)
        self._generation = written or 0
        return written is not None

    def _renew(self) -> bool:
        with self._writing:
            if self._ended.is_set():
                return True
            written = self._bucket.write_if(self._name, self._content, self._generation)
            if written is not None:
                self._generation = written
            return written is not None

    def _read(self) -> tuple[str, int]:
        """Errors: FileNotFoundError, StateError."""
        content, generation = self._bucket.read_versioned(self._name)
        try:
            return str(json.loads(content)["holder"]), generation
        except (ValueError, KeyError, TypeError):
            return "somebody", generation


@contextmanager
def held(bucket: Bucket, name: str, what: str, lost: Callable[[], None] = end_this) -> Iterator[Lease]:
    """Hold a lease for the length of a block.

    Args:
        bucket: where it is.
        name: of its object.
        what: the work, in a word.
        lost: called where somebody else has taken it over.

    Errors: StateError.
    """
    lease = Lease(bucket, name, lost)
    lease.acquire(what)
    renewing = threading.Thread(target=lease.keep, daemon=True, name="lease")
    renewing.start()
    try:
        yield lease
    finally:
        lease.release()
