"""Carrying a plan out. Every item is looked at again before it goes: time has passed since it was shown."""

from __future__ import annotations

from typing import get_args

from trainer.events import note
from trainer.registry.protocol import RUN_KEY_TAG, Ledger, Registry
from trainer.retention import folders
from trainer.retention.folders import RunRecord
from trainer.retention.plan import Item, Kind, Plan, at_work, holders, needed_data, registered
from trainer.retention.tracked import Tracked
from trainer.retention.versions import newest_of, reason
from trainer.state import State


class Sweep:
    """One carrying out.

    Args:
        state, registry, ledger, tracked: as they were given to `plan`.
        name: the registered model.
        newest: how many of the last versions stay.
    """

    def __init__(
        self, state: State, registry: Registry, ledger: Ledger, tracked: Tracked, name: str, newest: int
    ) -> None:
        self._state, self._registry, self._ledger, self._tracked = state, registry, ledger, tracked
        self._name, self._newest = name, newest

    def carry_out(self, shown: Plan) -> list[Item]:
        """Delete what a plan names, if it may still go. Returns what went.

        One that was cut is finished by the next. Errors: RegistryError, StateError.
        """
        folders.clear_away(self._state)
        gone = []
        for kind in get_args(Kind):
            items = [item for item in shown.items if item.kind == kind]
            if items:
                self._read()
            for item in items:
                if self._in_use(item):
                    note(f"{item.kind} {item.name} is in use by now: it stays")
                else:
                    self._delete(item)
                    gone.append(item)
        return gone

    def _read(self) -> None:
        """All that is registered and has run, once for each kind; what an item hangs on is read again for each."""
        self._runs = folders.records(self._state)
        self._versions = registered(self._registry)
        self._last = newest_of([one for one in self._versions if one.name == self._name], self._newest)

    def _in_use(self, item: Item) -> bool:
        if item.kind == "version":
            return self._stays(item.name)
        if item.kind == "checkpoints":
            return self._is_under_way(item.name)
        if item.kind == "run record":
            return self._is_under_way(item.name) or self._is_registered(item.name)
        if item.kind == "failed preparation":
            return not folders.is_left(self._state, self._state.failed_data(item.name))
        if item.kind == "prepared data":
            return self._is_needed(item.name)
        run = item.name if item.kind == "MLflow run" else self._tracked.run_of(item.name)
        return self._is_held({item.name, *([run, *self._tracked.models(run)] if run else [])})

    def _stays(self, version: str) -> bool:
        one = self._registry.get(self._name, version)
        under_way = at_work(self._record(one.tags.get(RUN_KEY_TAG, "")))
        return reason(one, self._ledger.read().entries, self._last, under_way) is not None

    def _is_held(self, ids: set[str]) -> bool:
        """Whether an MLflow run with its logged models belongs to a version that stays, or to a run under way."""
        return any(one.name != self._name or self._stays(one.version) for one in holders(self._versions, *ids)) or any(
            self._is_under_way(one.run_key) for one in self._runs if one.mlflow_run_id in ids
        )

    def _is_needed(self, fingerprint: str) -> bool:
        of_other_data = {one.run_key for one in self._runs if one.fingerprint not in (fingerprint, None)}
        runs = folders.records(self._state, of_other_data)
        left = folders.is_left(self._state, self._state.data(fingerprint))
        return not left or fingerprint in needed_data(self._state, self._versions, runs)

    def _is_under_way(self, run_key: str) -> bool:
        return any(one.under_way for one in self._record(run_key))

    def _record(self, run_key: str) -> list[RunRecord]:
        """One, or none where this machine has it not."""
        folder = self._state.run(run_key)
        found = run_key and folders.inside(self._state, folder)
        return [RunRecord.read(folder, self._state.checkpoints(run_key))] if found else []

    def _is_registered(self, run_key: str) -> bool:
        return any(self._registry.find_by_run_key(name, run_key) is not None for name in self._registry.names())

    def _delete(self, item: Item) -> None:
        state = self._state
        if item.kind == "version":
            self._registry.delete_version(self._name, item.name)
        elif item.kind == "logged model":
            self._tracked.delete_model(item.name)
        elif item.kind == "MLflow run":
            self._tracked.delete_run(item.name)
        else:
            folder = {
                "checkpoints": state.checkpoints,
                "run record": state.run,
                "prepared data": state.data,
                "failed preparation": state.failed_data,
            }[item.kind]
            folders.remove(state, folder(item.name))
