"""What people do past the gate: promote by force, roll back, retire. Each is an entry of the ledger, with a reason.

A deed is planned first (`force`, `rollback`, `retire`: what would change, or why it cannot be), shown, and then done.
Whoever becomes champion is loaded and answers its golden images before; and if somebody else has changed the champion
since the plan was shown, nothing is done.
"""

from __future__ import annotations

import getpass
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from trainer.errors import LedgerConflict, RegistryError, UsageError
from trainer.registry.ledger import deciding, follow, moved_by_hand, reconcile
from trainer.registry.protocol import (
    CHALLENGER,
    RETIRED_TAG,
    RUN_KEY_TAG,
    Entry,
    Event,
    Ledger,
    ModelVersion,
    Registry,
    champion,
    expect_version,
    retired,
)

Check = Callable[[ModelVersion], object]
"""Loads a version and holds it against its golden images. Errors: EvaluationError."""


@dataclass(frozen=True)
class Deed:
    """A change that was planned, and not done yet."""

    event: Event
    version: str | None
    """Champion afterwards; None: nobody."""
    previous: str | None
    """Champion while it was planned."""
    subject: str | None
    """The version that is retired."""
    reason: str


@dataclass(frozen=True)
class Hands:
    """One person at one model.

    Errors of all methods: UsageError (no reason, no whole number), RegistryError (no such version, one that is
    retired, an alias that was moved past the ledger), StateError.
    """

    registry: Registry
    ledger: Ledger
    name: str
    check: Check

    def force(self, version: str, reason: str) -> Deed:
        """Make a version champion whatever the gate said."""
        expect_version(version)
        entries = self._settled()
        self._expect_eligible(version, entries)
        return Deed("force", version, champion(entries), None, _expect_reason(reason))

    def rollback(self, to: str | None = None, reason: str = "") -> Deed:
        """Make an earlier champion champion again: the one before the present one, unless a version is given."""
        if to is not None:
            expect_version(to)
        entries = self._settled()
        version = to or self._predecessor(entries)
        if version not in {entry.version for entry in entries}:
            raise RegistryError(
                f"Version {version} of {self.name!r} was never champion.",
                f"See inception models history {self.name}; or promote it: inception models promote {self.name} "
                f"{version} --reason TEXT",
            )
        self._expect_eligible(version, entries)
        present = champion(entries)
        default = "Rolled back." if present is None else f"Rolled back from version {present}."
        return Deed("rollback", version, present, None, reason.strip() or default)

    def retire(self, version: str, reason: str, successor: str | None = None) -> Deed:
        """See that a version is never champion again; if it is, a successor is, or nobody."""
        for one in (version, successor):
            if one is not None:
                expect_version(one)
        entries = self._settled()
        self.registry.get(self.name, version)
        if version in retired(entries):
            raise RegistryError(
                f"Version {version} of {self.name!r} is retired already.", f"See inception models history {self.name}."
            )
        present = champion(entries)
        if successor is not None:
            if present != version:
                raise UsageError(
                    f"Received the successor {successor} for version {version}, which is not champion.",
                    "Leave --successor out.",
                )
            if successor == version:
                raise UsageError(f"Version {version} cannot be its own successor.", "Name another version.")
            self._expect_eligible(successor, entries)
        after = successor if present == version else present
        return Deed("retire", after, present, version, _expect_reason(reason))

    def do(self, deed: Deed) -> Entry:
        """Check whoever becomes champion, append to the ledger, and move the alias.

        Errors: EvaluationError (the version cannot be loaded, or does not answer as it did), LedgerConflict (the
        champion has changed since the deed was planned).
        """
        if deed.version is not None and deed.version != deed.previous:
            self.check(self.registry.get(self.name, deed.version))
        entry = self._append(deed)
        if deed.event == "retire" and deed.subject is not None:
            self.registry.set_tags(self.name, deed.subject, {RETIRED_TAG: deed.reason})
            if self.registry.alias(self.name, CHALLENGER) == deed.subject:
                self.registry.delete_alias(self.name, CHALLENGER)
        follow(self.registry, self.ledger, self.name)
        return entry

    def _append(self, deed: Deed) -> Entry:
        while True:
            entries, generation = self.ledger.read()
            if champion(entries) != deed.previous or deed.version in retired(entries):
                raise LedgerConflict(
                    f"The champion of {self.name!r} is {_words(champion(entries))} by now; this was decided when it "
                    f"was {_words(deed.previous)}.",
                    f"Look again (inception models history {self.name}), then decide again.",
                )
            entry = Entry(
                number=len(entries) + 1,
                event=deed.event,
                version=deed.version,
                previous=deed.previous,
                challenger=deed.subject,
                run_key=self._run_key(deed.subject or deed.version),
                verdict_digest=None,
                reason=deed.reason,
                tick=None,
                actor=actor(),
                at=datetime.now(UTC),
            )
            try:
                self.ledger.append(entry, generation)
            except LedgerConflict:
                continue  # somebody was decided on in between; whether that changes anything is seen above
            return entry

    def _run_key(self, version: str | None) -> str | None:
        known = {one.version: one.tags for one in self.registry.versions(self.name)}
        return known.get(version or "", {}).get(RUN_KEY_TAG)

    def _settled(self) -> tuple[Entry, ...]:
        """The entries, once alias and ledger agree. A champion that the registry lost hinders nobody here."""
        self.registry.versions(self.name)  # so that an unknown model is called that
        entries = self.ledger.read().entries
        if deciding(entries) is None:
            reconcile(self.registry, self.ledger, self.name)
            return self.ledger.read().entries
        moved = moved_by_hand(self.registry, self.ledger, self.name)
        if moved is not None:
            raise RegistryError(
                moved.in_words(self.name),
                f"Say first which holds: inception models audit {self.name} --restore, or --adopt --reason TEXT",
            )
        return entries

    def _expect_eligible(self, version: str, entries: Iterable[Entry]) -> None:
        entries = tuple(entries)
        self.registry.get(self.name, version)
        if version in retired(entries):
            why = next(one.reason for one in entries if one.event == "retire" and one.challenger == version)
            raise RegistryError(f"Version {version} of {self.name!r} is retired: {why}", "Choose another version.")
        if version == champion(entries):
            raise RegistryError(
                f"Version {version} is the champion of {self.name!r} already.", "Nothing is to be done."
            )

    def _predecessor(self, entries: tuple[Entry, ...]) -> str:
        known = {one.version for one in self.registry.versions(self.name)}
        before = [version for version in line(entries) if version in known and version != champion(entries)]
        if not before:
            raise RegistryError(
                f"{self.name!r} has no earlier champion to go back to.",
                f"See inception models history {self.name}; any version can be promoted: inception models promote "
                f"{self.name} VERSION --reason TEXT",
            )
        return before[-1]


def line(entries: Iterable[Entry]) -> list[str]:
    """The champions one goes back along, oldest first, the present one last.

    Going back to one forgets those that came after it, so that the next rollback goes further back and not forth; who
    was retired is left out.
    """
    entries = tuple(entries)
    found: list[str] = []
    for entry in entries:
        if entry.event == "rollback" and entry.version in found:
            del found[found.index(entry.version) + 1 :]
        elif entry.version is not None and found[-1:] != [entry.version]:
            found.append(entry.version)
    return [version for version in found if version not in retired(entries)]


def actor() -> str:
    """Who is at work: user@host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"  # a pod's user may have no name
    return f"{user}@{socket.gethostname()}"


def _expect_reason(reason: str) -> str:
    if not reason.strip():
        raise UsageError("Received no reason.", "Say why: --reason TEXT. It is what is read a year from now.")
    return reason.strip()


def _words(version: str | None) -> str:
    return "nobody" if version is None else f"version {version}"
