"""What the project asks of a model registry and of a promotion ledger; one contract test holds every kind to it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict

from trainer.errors import RegistryError, UsageError, nearest

CHAMPION = "champion"
CHALLENGER = "challenger"

RUN_KEY_TAG = "run_key"
VERDICT_TAG = "verdict"
"""Its presence says that the version's run key has been decided."""
ENTRY_TAG = "ledger_entry"
"""On a version: the number of the entry that made it champion (or, with no successor, ended its time)."""
RETIRED_TAG = "retired"
"""On a version that was retired: the reason."""

Event = Literal["promote", "keep", "adopt", "force", "rollback", "retire", "restore"]


class ModelVersion(BaseModel):
    """One version of a registered model."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    name: str
    version: str
    """A whole number as text, counted from 1."""
    model_uri: str
    """Where the model itself lies: `models:/m-…`, or an artifact address."""
    run_id: str
    tags: dict[str, str]
    aliases: list[str]
    created_at: datetime


class Registry(Protocol):
    """The door to a model registry. Every method may raise RegistryError where the registry is out of reach."""

    def names(self) -> list[str]:
        """The registered models, sorted."""

    def versions(self, name: str) -> list[ModelVersion]:
        """Oldest first. Errors: RegistryError (no such model)."""

    def get(self, name: str, version: str) -> ModelVersion:
        """Errors: RegistryError (no such model or version)."""

    def find_by_run_key(self, name: str, run_key: str) -> ModelVersion | None:
        """The oldest version that this run key made; None also where there is no such model."""

    def create_version(self, name: str, model_uri: str, run_id: str, tags: Mapping[str, str]) -> ModelVersion:
        """Make a version, with its tags, in one deed; the model too where it is new."""

    def delete_version(self, name: str, version: str) -> None:
        """Errors: RegistryError (no such model or version)."""

    def set_tags(self, name: str, version: str, tags: Mapping[str, str]) -> None:
        """Add tags or change their values, in the order given. Errors: RegistryError (no such model or version)."""

    def alias(self, name: str, alias: str) -> str | None:
        """The version behind an alias; None where model or alias is not there."""

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Set or move an alias. Errors: RegistryError (no such model or version)."""

    def delete_alias(self, name: str, alias: str) -> None:
        """No error where the alias is not there. Errors: RegistryError (no such model)."""


class Trial(BaseModel):
    """One use of a test set to hold a challenger against a champion: what it spent of the error budget."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    test_digest: str
    examples: int
    level: float
    """The chance of a false promotion that this decision took upon itself."""
    p_value: float | None
    """None where the challenger scored no better, so that nothing was tested."""


class Entry(BaseModel):
    """One decision, or one change of hands, as the ledger remembers it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    """Counted from 1 without a gap."""
    event: Event
    """Of the gate: `promote`, and `keep` where a champion was challenged in vain. Of people: `force`, `rollback`,
    `retire`, `adopt` (an alias that was moved past the ledger holds from here on, or was there before it) and `restore`
    (it was put back)."""
    version: str | None
    """Champion from here on; None where nobody is."""
    previous: str | None
    """Champion until here."""
    challenger: str | None = None
    """The version that was judged, or retired."""
    run_key: str | None
    verdict_digest: str | None
    reason: str
    tick: str | None
    """The pipeline run that did it."""
    actor: str | None = None
    """Who did it by hand: user@host."""
    trial: Trial | None = None
    at: datetime


class History(NamedTuple):
    """A ledger as it was read; `generation` says which state of it, 0 where it is not there yet."""

    entries: tuple[Entry, ...]
    generation: int


class Ledger(Protocol):
    """One append-only document for one model."""

    @property
    def address(self) -> str:
        """Where it lies, as a user would write it."""

    def read(self) -> History:
        """Errors: RegistryError (damaged: it is never started anew silently), StateError (cannot be read)."""

    def append(self, entry: Entry, expected_generation: int) -> None:
        """Add an entry if the ledger is still as it was read.

        Errors: LedgerConflict (somebody else wrote first, or the number is not the next), RegistryError, StateError.
        """


def accuracy_of(version: ModelVersion) -> float | None:
    """On the frozen test examples, when it was made; None where its tag is missing, or a hand made it no number."""
    try:
        accuracy = float(version.tags.get("test_accuracy", ""))
    except ValueError:
        return None
    return accuracy if math.isfinite(accuracy) else None


def champion(entries: Iterable[Entry]) -> str | None:
    """The version that the ledger says is champion."""
    version = None
    for entry in entries:
        version = entry.version
    return version


def retired(entries: Iterable[Entry]) -> frozenset[str]:
    """The versions that are never to be champion again."""
    return frozenset(entry.challenger for entry in entries if entry.event == "retire" and entry.challenger is not None)


def expect_version(version: str) -> None:
    """Errors: UsageError, where this can be no version of any model."""
    if not re.fullmatch("[0-9]+", version):
        raise UsageError(f"Received the version {version!r}.", "A version is a whole number, such as 3.")


def unknown_model(name: str, known: Iterable[str]) -> RegistryError:
    return RegistryError(
        f"There is no registered model {name!r}. {nearest(name, known)}", "See `inception models` for what there is."
    )


def unknown_version(name: str, version: str, known: Iterable[str]) -> RegistryError:
    versions = ", ".join(sorted(known, key=int)) or "none"
    return RegistryError(
        f"The model {name!r} has no version {version!r}. Its versions: {versions}.",
        "See `inception models` for what there is.",
    )
