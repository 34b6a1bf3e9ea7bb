"""Carrying a plan out. Every item is looked at again before it goes: time has passed since it was shown."""

from __future__ import annotations

from trainer.events import note
from trainer.registry.protocol import Ledger, Registry
from trainer.retention import folders
from trainer.retention.plan import Item, Plan, at_work, needed_data
from trainer.retention.tracked import Tracked
from trainer.retention.versions import kept
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
        gone = []
        for item in shown.items:
            if self._in_use(item):
                note(f"{item.kind} {item.name} is in use by now: it stays")
            else:
                self._delete(item)
                gone.append(item)
        return gone

    def _in_use(self, item: Item) -> bool:
        runs = folders.records(self._state)
        if item.kind in ("prepared data", "failed preparation"):
            left = {fingerprint for _, fingerprint in folders.prepared(self._state)}
            needed = needed_data(self._state, self._registry, runs, set(), self._name)
            return item.name not in left or (item.kind == "prepared data" and item.name in needed)
        if item.kind in ("checkpoints", "run record"):
            under_way = any(one.run_key == item.name and one.under_way for one in runs)
            return under_way or (item.kind == "run record" and self._is_registered(item.name))
        versions = self._registry.versions(self._name)
        staying = kept(versions, self._ledger.read().entries, self._newest, at_work(runs))
        stay = [one for one in versions if one.version in staying]
        if item.kind == "version":
            return item.name in staying
        if item.kind == "MLflow run":
            return item.name in {one.run_id for one in stay}
        return f"models:/{item.name}" in {one.model_uri for one in stay}

    def _is_registered(self, run_key: str) -> bool:
        return self._registry.find_by_run_key(self._name, run_key) is not None

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
