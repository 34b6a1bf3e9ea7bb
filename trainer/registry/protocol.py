"""What the project asks of a model registry and of a promotion ledger; one contract test holds every kind to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict

from trainer.errors import RegistryError, nearest

CHAMPION = "champion"
CHALLENGER = "challenger"

RUN_KEY_TAG = "run_key"
VERDICT_TAG = "verdict"
"""Its presence says that the version's run key has been decided."""

Event = Literal["promote", "adopt"]


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


class Entry(BaseModel):
    """One change of hands, as the ledger remembers it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    """Counted from 1 without a gap."""
    event: Event
    """`promote`: the gate said so. `adopt`: the alias was there before the ledger was."""
    version: str
    """Champion from here on."""
    previous: str | None
    run_key: str | None
    verdict_digest: str | None
    reason: str
    tick: str | None
    """The pipeline run that did it."""
    at: datetime


class History(NamedTuple):
    """A ledger as it was read; `generation` says which state of it, 0 where it is not there yet."""

    entries: tuple[Entry, ...]
    generation: int


class Ledger(Protocol):
    """One append-only document for one model."""

    def read(self) -> History:
        """Errors: RegistryError (damaged: it is never started anew silently), StateError (cannot be read)."""

    def append(self, entry: Entry, expected_generation: int) -> None:
        """Add an entry if the ledger is still as it was read.

        Errors: LedgerConflict (somebody else wrote first, or the number is not the next), RegistryError, StateError.
        """


def champion(entries: Iterable[Entry]) -> str | None:
    """The version that the ledger says is champion."""
    version = None
    for entry in entries:
        version = entry.version
    return version


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
