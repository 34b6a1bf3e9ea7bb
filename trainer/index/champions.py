"""Who has been champion of a model, and how accurate: from its ledger and the runs' records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from trainer.index.runs import Run
from trainer.registry.protocol import Entry
from trainer.scorecard import Interval


@dataclass(frozen=True)
class Reign:
    """One change of hands, or the alias put back where the ledger has it."""

    number: int
    """Of the ledger's entry."""
    at: datetime
    event: str
    version: str | None
    """None: nobody is champion from here on."""
    previous: str | None
    reason: str
    actor: str | None
    accuracy: float | None
    """As its own run measured it; None where this state folder has no record of that."""
    interval: Interval | None
    other_test: bool
    """Measured on other test images than the champion before it."""


def reigns(entries: Iterable[Entry], runs: Sequence[Run]) -> list[Reign]:
    """Every change of hands, oldest first; decisions that left the champion in place are no change.

    A hand that moved the alias and was undone is a change of hands too, though the ledger's champion stayed.
    """
    made = {run.version: run for run in runs if run.version is not None and run.accuracy is not None}
    found: list[Reign] = []
    digest: str | None = None
    for entry in entries:
        if entry.event == "keep" or (entry.version == entry.previous and entry.event != "restore"):
            continue
        run = made.get(entry.version or "")
        known = run.test_digest if run is not None else None
        found.append(
            Reign(
                number=entry.number,
                at=entry.at,
                event=entry.event,
                version=entry.version,
                previous=entry.previous,
                reason=entry.reason,
                actor=entry.actor,
                accuracy=run.accuracy if run is not None else None,
                interval=run.interval if run is not None else None,
                other_test=known is not None and digest is not None and known != digest,
            )
        )
        digest = known or digest
    return found
