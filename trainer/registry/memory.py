"""A registry in memory: the twin of `mlflow.py`, held to the same contract test."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, datetime

from trainer.registry.protocol import RUN_KEY_TAG, ModelVersion, unknown_model, unknown_version


class MemoryRegistry:
    """Safe to use from several threads; forgets everything with the process."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._versions: dict[str, dict[str, ModelVersion]] = {}
        self._aliases: dict[str, dict[str, str]] = {}
        self._made: dict[str, int] = {}

    def names(self) -> list[str]:
        with self._lock:
            return sorted(self._versions)

    def versions(self, name: str) -> list[ModelVersion]:
        with self._lock:
            return [self._with_aliases(one) for one in self._of(name).values()]

    def get(self, name: str, version: str) -> ModelVersion:
        with self._lock:
            known = self._of(name)
            if version not in known:
                raise unknown_version(name, version, known)
            return self._with_aliases(known[version])

    def find_by_run_key(self, name: str, run_key: str) -> ModelVersion | None:
        with self._lock:
            if name not in self._versions:
                return None
            return next((one for one in self.versions(name) if one.tags.get(RUN_KEY_TAG) == run_key), None)

    def create_version(self, name: str, model_uri: str, run_id: str, tags: Mapping[str, str]) -> ModelVersion:
        with self._lock:
            # A number is never given out again, not even after the newest version was deleted.
            self._made[name] = self._made.get(name, 0) + 1
            made = ModelVersion(
                name=name,
                version=str(self._made[name]),
                model_uri=model_uri,
                run_id=run_id,
                tags=dict(tags),
                aliases=[],
                created_at=datetime.now(UTC),
            )
            self._versions.setdefault(name, {})[made.version] = made
            self._aliases.setdefault(name, {})
            return self._with_aliases(made)

    def delete_version(self, name: str, version: str) -> None:
        with self._lock:
            self.get(name, version)
            del self._versions[name][version]
            self._aliases[name] = {alias: at for alias, at in self._aliases[name].items() if at != version}

    def set_tags(self, name: str, version: str, tags: Mapping[str, str]) -> None:
        with self._lock:
            old = self.get(name, version)
            self._versions[name][version] = old.model_copy(update={"tags": {**old.tags, **tags}})

    def alias(self, name: str, alias: str) -> str | None:
        with self._lock:
            return self._aliases.get(name, {}).get(alias)

    def set_alias(self, name: str, alias: str, version: str) -> None:
        with self._lock:
            self.get(name, version)
            self._aliases[name][alias] = version

    def delete_alias(self, name: str, alias: str) -> None:
        with self._lock:
            self._of(name)
            self._aliases[name].pop(alias, None)

    def _of(self, name: str) -> dict[str, ModelVersion]:
        if name not in self._versions:
            raise unknown_model(name, self._versions)
        return self._versions[name]

    def _with_aliases(self, one: ModelVersion) -> ModelVersion:
        """A copy, so that what was given out changes nothing here."""
        aliases = sorted(alias for alias, version in self._aliases[one.name].items() if version == one.version)
        return one.model_copy(update={"aliases": aliases, "tags": dict(one.tags)})
