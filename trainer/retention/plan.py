"""What would go, item by item, each with its reason and its size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from trainer.registry.protocol import RUN_KEY_TAG, VERDICT_TAG, Ledger, ModelVersion, Registry
from trainer.retention import folders
from trainer.retention.folders import ABANDONED_SECONDS, RunRecord
from trainer.retention.tracked import Tracked
from trainer.retention.versions import kept
from trainer.state import State
from trainer.storage import store_address

Kind = Literal[
    "logged model", "MLflow run", "version", "checkpoints", "run record", "prepared data", "failed preparation"
]
"""In the order in which they go: what leads to the rest goes after it, so that a sweep that was cut can be finished."""


class Item(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    name: str
    """Version, MLflow id, run key, or fingerprint."""
    reason: str
    bytes: int
    """On this machine."""


class Plan(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    kept: dict[str, str]
    """Versions that stay, with the reason."""
    items: list[Item]

    @property
    def bytes(self) -> int:
        return sum(item.bytes for item in self.items)


def plan(state: State, registry: Registry, ledger: Ledger, tracked: Tracked, name: str, newest: int) -> Plan:
    """Find what of a model's past may go. Nothing is deleted.

    Args:
        state: what lies outside its folder is never named here, but for what MLflow keeps. Where a store holds what
            runs share, the folder is a cache that does not tell what they use: nothing of it is named then.
        registry, ledger, tracked: the model's.
        name: the registered model.
        newest: how many of the last versions stay.

    Errors: RegistryError (no such model), StateError.
    """
    versions = registry.versions(name)
    runs = folders.records(state)
    staying = kept(versions, ledger.read().entries, newest, at_work(runs))
    going = [one for one in versions if one.version not in staying]
    gone = {one.version for one in going}
    held = [one for one in registered(registry) if one.name != name or one.version not in gone]
    kept_keys = {one.tags.get(RUN_KEY_TAG) for one in held}
    over = [one for one in runs if one.model == name and not one.under_way and one.run_key not in kept_keys]
    items = [
        *_of_mlflow(tracked, going, over, held),
        *(Item(kind="version", name=one.version, reason=_why(one), bytes=0) for one in going),
    ]
    if store_address() is None:
        items += [*_of_runs(state, name, runs, over), *_of_data(state, needed_data(state, held, runs))]
    return Plan(model=name, kept=staying, items=items)


def at_work(runs: list[RunRecord]) -> Callable[[ModelVersion], bool]:
    """Whether a version's run has not come to its end, by its record or, where another machine has that, its tags."""
    under_way = {one.run_key: one.under_way for one in runs}

    def judge(version: ModelVersion) -> bool:
        young = (datetime.now(UTC) - version.created_at).total_seconds() < ABANDONED_SECONDS
        return under_way.get(version.tags.get(RUN_KEY_TAG, ""), young and VERDICT_TAG not in version.tags)

    return judge


def registered(registry: Registry) -> list[ModelVersion]:
    """The versions of all models: one that was copied to another name has the same run and the same files."""
    return [one for model in registry.names() for one in registry.versions(model)]


def holders(versions: Iterable[ModelVersion], *ids: str) -> list[ModelVersion]:
    """The versions that came from an MLflow run, or are a logged model, of these ids."""
    return [one for one in versions if any(one.run_id == id_ or id_ in one.model_uri for id_ in ids)]


def needed_data(state: State, held: Iterable[ModelVersion], runs: Iterable[RunRecord]) -> set[str]:
    """The fingerprints that a version which stays, of whichever model, a run or a tuning under way refers to."""
    of_versions = {one.tags["fingerprint"] for one in held if "fingerprint" in one.tags}
    of_runs = {one.fingerprint for one in runs if one.under_way and one.fingerprint is not None}
    return of_versions | of_runs | folders.in_tuning(state)


def _of_mlflow(
    tracked: Tracked, going: list[ModelVersion], over: list[RunRecord], held: list[ModelVersion]
) -> Iterator[Item]:
    """Runs, and the models they logged, that no version which stays, of whichever model, came from."""
    runs = {one.run_id: one.tags.get(RUN_KEY_TAG, "") for one in going}
    runs |= {one.mlflow_run_id: one.run_key for one in over if one.mlflow_run_id is not None}
    models = {run: tracked.models(run) for run, key in runs.items() if run and tracked.is_of(run, key)}
    found = [run for run, logged in models.items() if not holders(held, run, *logged)]
    for run in found:
        for model in models[run]:
            yield Item(kind="logged model", name=model, reason=f"of run {run}", bytes=tracked.model_bytes(model))
    for run in found:
        yield Item(kind="MLflow run", name=run, reason=f"of run key {runs[run]}", bytes=tracked.run_bytes(run))


def _of_runs(state: State, name: str, runs: list[RunRecord], over: list[RunRecord]) -> Iterator[Item]:
    done = [one for one in runs if one.model == name and not one.under_way]
    for one in done:
        folder = state.checkpoints(one.run_key)
        if folders.inside(state, folder):
            yield Item(kind="checkpoints", name=one.run_key, reason="its run is over", bytes=folders.size(folder))
    for folder in folders.lone_checkpoints(state):
        yield Item(kind="checkpoints", name=folder.name, reason="no run has them", bytes=folders.size(folder))
    for one in over:
        reason = f"of version {one.version}" if one.version else "never came to a version"
        yield Item(kind="run record", name=one.run_key, reason=reason, bytes=folders.size(one.folder))


def _of_data(state: State, needed: set[str]) -> Iterator[Item]:
    for folder, fingerprint in folders.prepared(state):
        failed = folder.name != fingerprint
        if failed or fingerprint not in needed:
            yield Item(
                kind="failed preparation" if failed else "prepared data",
                name=fingerprint,
                reason="its run is over" if failed else "no version that stays, and no run, refers to it",
                bytes=folders.size(folder),
            )


def _why(version: ModelVersion) -> str:
    verdict = version.tags.get(VERDICT_TAG)
    return "retired" if "retired" in version.tags else f"was {verdict}" if verdict else "its run was given up"
