"""The alias `champion`, which follows the promotion ledger.

The ledger decides who is champion. Whoever appends to it then moves the alias, in four steps that a crash may cut
anywhere: an alias of the mover's own (`moving-…`) goes on the version, then `champion` does, the mover's own goes, and
the tag `ledger_entry` of the version gets the entry's number. So one can tell what has made ledger and alias differ.
With the tag of the ledger's champion missing it was a crash, and the next start mends it; so too where the alias is on
a version with a mover on it, who came late or was killed there. Else the alias was moved by a hand: it stays where it
is, nobody is promoted, and people say which of the two holds (`inception models audit`).
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from trainer.errors import LedgerConflict, RegistryError
from trainer.events import note
from trainer.registry.belonging import expect_known
from trainer.registry.protocol import (
    CHAMPION,
    ENTRY_TAG,
    RUN_KEY_TAG,
    Entry,
    Ledger,
    ModelVersion,
    Registry,
)
from trainer.registry.stores import FileLedger, MemoryLedger

__all__ = [
    "ENTRY_TAG",
    "FileLedger",
    "MemoryLedger",
    "Moved",
    "deciding",
    "follow",
    "moved_by_hand",
    "reconcile",
]

MOVER = re.compile(r"moving-[0-9a-f]{8}-\d+-(?P<entry>\d+)")
"""The alias (machine, process, entry) that stands on a version while `champion` is moved to it, or away from it."""
DEAD_AFTER = timedelta(minutes=10)
"""Who has been on the way to an entry for so long was killed."""


class Moved(NamedTuple):
    """An alias that a hand has moved away from the ledger's champion."""

    alias: str | None
    """The version it is on; None where it was taken away."""
    ledger: str | None
    """The version the ledger names; None where nobody is champion."""

    def in_words(self, name: str) -> str:
        where = "was taken away" if self.alias is None else f"was moved to version {self.alias}"
        return (
            f"The alias {CHAMPION!r} of {name!r} {where} by hand; by the ledger the champion is {_words(self.ledger)}."
        )


def deciding(entries: Iterable[Entry]) -> Entry | None:
    """The last entry that says where the alias belongs: others leave the champion what it is.

    Where nobody is champion, one that leaves it so says that the alias belongs nowhere.
    """
    found = None
    for entry in entries:
        if entry.version is None or entry.version != entry.previous or entry.event in ("adopt", "restore"):
            found = entry
    return found


def moved_by_hand(registry: Registry, ledger: Ledger, name: str) -> Moved | None:
    """Whether somebody moved the alias past the ledger; None where it agrees, and where a crash explains it.

    Errors: RegistryError, StateError.
    """
    while True:
        entries = ledger.read().entries
        entry = deciding(entries)
        alias = registry.alias(name, CHAMPION)
        if entry is None or alias == entry.version or not _settled(registry, name, entry):
            return None
        if _under_way(registry, name, alias, entries):
            return None
        # What was read one after the other holds together only if it is still so.
        if deciding(ledger.read().entries) == entry and registry.alias(name, CHAMPION) == alias:
            return Moved(alias, entry.version)


def reconcile(registry: Registry, ledger: Ledger, name: str) -> str | None:
    """Finish what a crash left undone between ledger and alias, and say so. Returns the ledger's champion, if any.

    Only where the ledger names none while the registry has a champion (a registry that is older than its ledger) is
    that champion adopted into it. An alias that was moved by hand is left where it is.

    Errors: RegistryError (also where the ledger's champion is gone from the registry, and where another ledger knows
    the model), StateError.
    """
    expect_known(registry, ledger, name)
    entries, generation = ledger.read()
    alias = registry.alias(name, CHAMPION)
    if alias is not None and deciding(entries) is None:
        return _adopt(registry, ledger, name, alias, len(entries) + 1, generation)
    head = follow(registry, ledger, name)
    if alias == head:
        return head
    moved = moved_by_hand(registry, ledger, name)
    if moved is not None:
        note(f"{moved.in_words(name)} Say which holds: inception models audit {name}")
    elif alias != head:
        cause = "an earlier run ended before it moved the alias"
        note(f"{name}: {CHAMPION} was {_words(alias)}, is {_words(head)} again as the ledger says ({cause})")
    return head


def follow(registry: Registry, ledger: Ledger, name: str) -> str | None:
    """Move the alias to the ledger's champion, and again if the ledger has grown meanwhile. Returns the champion.

    The second look is what makes concurrent promoters end right: whoever moves the alias last has read the ledger
    after moving it, and found nothing newer. Errors: RegistryError, StateError.
    """
    begun: list[Entry] = []
    while True:
        entries = ledger.read().entries
        entry = deciding(entries)
        if entry is None:
            return None
        if registry.alias(name, CHAMPION) != entry.version:
            if not begun and moved_by_hand(registry, ledger, name):
                return entry.version
            _expect_version(registry, name, entry)
            begun.append(entry)
            if _find(registry, name, _bearer(entry)) is not None:
                registry.set_alias(name, _mover(entry), _bearer(entry))
            _move(registry, name, entry.version)
        if deciding(ledger.read().entries) == entry:
            _finish(registry, name, entry, entries, moved=bool(begun))
            return entry.version


def _finish(registry: Registry, name: str, entry: Entry, entries: Iterable[Entry], moved: bool) -> None:
    """Take away the movers that are done or dead, and mark that the alias has followed."""
    bearer = _find(registry, name, _bearer(entry))
    seen = registry.versions(name) if moved else [bearer] if bearer else []
    began = {one.number: one.at for one in entries}
    for mover in filter(None, (MOVER.fullmatch(alias) for one in seen for alias in one.aliases)):
        alias = mover.group()
        age = datetime.now(UTC) - began.get(int(mover["entry"]), entry.at)
        if alias.startswith(_process()) or age > DEAD_AFTER:
            registry.delete_alias(name, alias)
    if bearer is not None and bearer.tags.get(ENTRY_TAG) != str(entry.number):
        registry.set_tags(name, bearer.version, {ENTRY_TAG: str(entry.number)})


def _mover(entry: Entry) -> str:
    return f"{_process()}{entry.number}"


def _process() -> str:
    """The beginning of the names of this process's own aliases."""
    host = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
    return f"moving-{host}-{os.getpid()}-"


def _move(registry: Registry, name: str, version: str | None) -> None:
    if version is not None:
        registry.set_alias(name, CHAMPION, version)
    elif name in registry.names():
        registry.delete_alias(name, CHAMPION)


def _under_way(registry: Registry, name: str, alias: str | None, entries: Iterable[Entry]) -> bool:
    """Whether a mover that came late is at work, or was killed, where the alias is now."""
    removals = [_bearer(entry) for entry in entries if entry.version is None]
    version = alias or next(iter(removals[-1:]), "")
    found = _find(registry, name, version)
    return found is not None and any(MOVER.fullmatch(one) for one in found.aliases)


def _bearer(entry: Entry) -> str:
    """The version whose tag says that the alias has followed this entry."""
    return entry.version or entry.challenger or entry.previous or ""


def _settled(registry: Registry, name: str, entry: Entry) -> bool:
    found = _find(registry, name, _bearer(entry))
    if found is None:
        return entry.version is None  # a retired version that was deleted since can say no more
    return found.tags.get(ENTRY_TAG) == str(entry.number)


def _find(registry: Registry, name: str, version: str) -> ModelVersion | None:
    try:
        return registry.get(name, version)
    except RegistryError:
        known = registry.versions(name) if name in registry.names() else []
        if any(one.version == version for one in known):
            raise
        return None


def _expect_version(registry: Registry, name: str, entry: Entry) -> None:
    if entry.version is not None and _find(registry, name, entry.version) is None:
        raise RegistryError(
            f"The promotion ledger says that version {entry.version} of {name!r} is champion, but the registry has no "
            "such version.",
            "Restore the registry that the ledger belongs to, or go back to another champion: "
            f"inception models rollback {name}",
        )


def _adopt(registry: Registry, ledger: Ledger, name: str, version: str, number: int, generation: int) -> str | None:
    entry = Entry(
        number=number,
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
    return follow(registry, ledger, name)


def _words(version: str | None) -> str:
    return "nobody" if version is None else f"version {version}"
