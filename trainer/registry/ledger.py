"""The promotion ledger, on a file or in memory, and the alias that follows it.

The ledger decides who is champion; the registry's alias `champion` is derived from it. Whoever appends to the ledger
then moves the alias, and a crash in between is mended by `reconcile` at the next start.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from trainer.errors import LedgerConflict, RegistryError
from trainer.events import note
from trainer.registry.locks import held
from trainer.registry.protocol import (
    CHAMPION,
    RUN_KEY_TAG,
    Entry,
    History,
    Ledger,
    Registry,
    champion,
)
from trainer.state import reported, write_atomically


class Document(BaseModel):
    """What a ledger looks like where it is stored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    entries: tuple[Entry, ...] = ()


def parse(text: str | bytes, where: str) -> tuple[Entry, ...]:
    """The entries of a stored ledger. Errors: RegistryError where it is damaged or has a gap."""
    try:
        entries = Document.model_validate_json(text).entries
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise _damaged(where, f"{'.'.join(map(str, first['loc'])) or 'document'}: {first['msg']}") from None
    if [entry.number for entry in entries] != list(range(1, len(entries) + 1)):
        raise _damaged(where, f"its entries are numbered {[entry.number for entry in entries]}")
    return entries


def render(entries: tuple[Entry, ...]) -> str:
    return Document(entries=entries).model_dump_json(indent=2) + "\n"


def _damaged(where: str, why: str) -> RegistryError:
    return RegistryError(
        f"The promotion ledger {where} is damaged, or a newer version wrote it ({why}).",
        "Put back a good copy. To begin a new history on purpose, move the file away: the next run adopts the "
        "champion that the registry names.",
    )


class FileLedger:
    """A ledger on a local file: a lock for writers, atomic replacement for readers. The generation counts entries."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> History:
        with reported(self.path):
            try:
                text = self.path.read_bytes()
            except FileNotFoundError:
                return History((), 0)
        entries = parse(text, str(self.path))
        return History(entries, len(entries))

    def append(self, entry: Entry, expected_generation: int) -> None:
        with held(self.path.with_name(f".{self.path.name}.lock")):
            entries, generation = self.read()
            _expect(entry, entries, generation, expected_generation)
            write_atomically(self.path, render((*entries, entry)))


class MemoryLedger:
    """The twin, for tests: safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: tuple[Entry, ...] = ()

    def read(self) -> History:
        entries = self._entries
        return History(entries, len(entries))

    def append(self, entry: Entry, expected_generation: int) -> None:
        with self._lock:
            _expect(entry, self._entries, len(self._entries), expected_generation)
            self._entries = (*self._entries, entry)


def _expect(entry: Entry, entries: tuple[Entry, ...], generation: int, expected_generation: int) -> None:
    if generation != expected_generation or entry.number != len(entries) + 1:
        raise LedgerConflict(
            f"The promotion ledger has {len(entries)} entries (generation {generation}); entry {entry.number} was "
            f"decided on generation {expected_generation}.",
            "Somebody else promoted in between: read the ledger again and decide again.",
        )


def reconcile(registry: Registry, ledger: Ledger, name: str) -> str | None:
    """Bring alias and ledger in line, and say what was done. Returns the champion's version, None where there is none.

    The ledger wins. Only where it is empty while the registry has a champion (a registry that is older than its
    ledger) is that champion adopted into it.

    Errors: RegistryError (also where the ledger's champion is gone from the registry), StateError.
    """
    entries, generation = ledger.read()
    alias = registry.alias(name, CHAMPION)
    head = champion(entries)
    if alias == head:
        return head
    if alias is not None and not entries:
        return _adopt(registry, ledger, name, alias, generation)
    follow(registry, ledger, name)
    crashed = alias == entries[-1].previous
    cause = "an earlier run ended before it moved the alias" if crashed else "the alias was moved without the ledger"
    note(f"{name}: {CHAMPION} was {_words(alias)}, is {_words(head)} again as the ledger says ({cause})")
    return head


def follow(registry: Registry, ledger: Ledger, name: str) -> str | None:
    """Move the alias to the ledger's champion, and again if the ledger has grown meanwhile. Returns the champion.

    The second look is what makes concurrent promoters end right: whoever moves the alias last has read the ledger
    after moving it, and found nothing newer. Errors: RegistryError, StateError.
    """
    while True:
        head = champion(ledger.read().entries)
        if head is not None and registry.alias(name, CHAMPION) != head:
            _expect_version(registry, name, head)
            registry.set_alias(name, CHAMPION, head)
        if champion(ledger.read().entries) == head:
            return head


def _adopt(registry: Registry, ledger: Ledger, name: str, version: str, generation: int) -> str | None:
    entry = Entry(
        number=1,
        event="adopt",
        version=version,
        previous=None,
        run_key=registry.get(name, version).tags.get(RUN_KEY_TAG),
        verdict_digest=None,
        reason=f"The registry's alias {CHAMPION!r} was on it when the ledger began.",
        tick=None,
        at=datetime.now(UTC),
    )
    try:
        ledger.append(entry, generation)
    except LedgerConflict:
        return reconcile(registry, ledger, name)
    note(f"{name}: version {version} was champion before there was a ledger; adopted as its first entry")
    return version


def _expect_version(registry: Registry, name: str, version: str) -> None:
    known = registry.versions(name) if name in registry.names() else []
    if all(one.version != version for one in known):
        raise RegistryError(
            f"The promotion ledger says that version {version} of {name!r} is champion, but the registry has no such "
            "version.",
            "Restore the registry that the ledger belongs to, or move the ledger away to begin a new history.",
        )


def _words(version: str | None) -> str:
    return "nobody" if version is None else f"version {version}"
