"""Where ledgers are kept: on a file, as an object in Google Cloud Storage, or in memory.

All that a store must be able to do is to write on a condition: only if nobody wrote since it was read.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from trainer.errors import StateError
from trainer.registry.document import conflict, expect_next, parse, render
from trainer.registry.locks import held
from trainer.registry.protocol import Entry, History, Ledger
from trainer.state import State, reported, write_atomically
from trainer.storage import SCHEME, STORE, Bucket, store_address

VARIABLE = "INCEPTION_LEDGERS"
"""A folder or `gs://bucket/prefix` that holds the ledgers of all models; unset: `ledger` in the store that
`INCEPTION_STORE` names, and without one the state folder's own."""


def ledger_of(state: State, name: str) -> Ledger:
    """The ledger of a model. Nothing is made or asked yet. Errors: StateError (a place that cannot hold ledgers)."""
    own, store = os.environ.get(VARIABLE), store_address()
    place = own or (store and f"{store}/ledger")
    if not place:
        return FileLedger(state.ledger(name))
    if place.startswith(SCHEME):
        bucket = place.removeprefix(SCHEME).rstrip("/")
        return GoogleLedger(f"{SCHEME}{bucket}/{name}.json")
    if "://" in place:
        raise StateError(
            f"Received the place {place!r} for ledgers, from {VARIABLE if own else STORE}.",
            f"Let {VARIABLE} name a folder that all runs share, or gs://bucket/prefix: a ledger needs a store that "
            "writes on the condition that nobody wrote since, which is what keeps two promotions from overwriting each "
            "other.",
        )
    return FileLedger(Path(place).expanduser().absolute() / f"{name}.json")


class FileLedger:
    """A ledger on a local file: a lock for writers, atomic replacement for readers. The generation counts entries."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def address(self) -> str:
        return str(self.path)

    def read(self) -> History:
        with reported(self.path):
            try:
                text = self.path.read_bytes()
            except FileNotFoundError:
                return History((), 0)
        entries = parse(text, self.address)
        return History(entries, len(entries))

    def append(self, entry: Entry, expected_generation: int) -> None:
        with held(self.path.with_name(f".{self.path.name}.lock")):
            entries, generation = self.read()
            expect_next(entry, entries, generation, expected_generation)
            write_atomically(self.path, render((*entries, entry)))


class GoogleLedger:
    """A ledger as an object, written on the condition that it is still of the generation that was read.

    Where an answer is lost and the client asks again, the second try fails the condition because the first one has
    worked; so a refused entry is looked for before it counts as refused.
    """

    def __init__(self, address: str) -> None:
        """Errors: StateError where it is no `gs://bucket/name`."""
        self._object = Bucket(address)

    @property
    def address(self) -> str:
        return self._object.address

    def read(self) -> History:
        try:
            text, generation = self._object.read_versioned("")
        except FileNotFoundError:
            return History((), 0)
        return History(parse(text, self.address), generation)

    def append(self, entry: Entry, expected_generation: int) -> None:
        entries, generation = self.read()
        expect_next(entry, entries, generation, expected_generation)
        if self._object.write_if("", render((*entries, entry)).encode(), generation) is not None:
            return
        entries, generation = self.read()
        if entry not in entries[entry.number - 1 : entry.number]:
            raise conflict(entry, len(entries), generation, expected_generation)


class MemoryLedger:
    """The twin, for tests: safe to use from several threads."""

    address = "memory"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: tuple[Entry, ...] = ()

    def read(self) -> History:
        entries = self._entries
        return History(entries, len(entries))

    def append(self, entry: Entry, expected_generation: int) -> None:
        with self._lock:
            expect_next(entry, self._entries, len(self._entries), expected_generation)
            self._entries = (*self._entries, entry)
