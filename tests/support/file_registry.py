"""A registry on a file, for tests with many processes: the memory twin, kept whole under a lock."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from trainer.registry.locks import held
from trainer.registry.memory import MemoryRegistry
from trainer.state import write_atomically

READING = ("names", "versions", "get", "find_by_run_key", "alias")


class Kept(MemoryRegistry):
    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "_lock"}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        self.__init__()  # type: ignore[misc]
        vars(self).update(kept)


class FileRegistry:
    """Whoever is killed in the middle leaves the file as it was before or as it is after."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __getattr__(self, method: str) -> Any:
        def call(*arguments: Any) -> Any:
            if method in READING:
                return getattr(self._read(), method)(*arguments)
            with held(self._path.with_suffix(".lock")):
                registry = self._read()
                answer = getattr(registry, method)(*arguments)
                write_atomically(self._path, pickle.dumps(registry))
                return answer

        return call

    def _read(self) -> Kept:
        return pickle.loads(self._path.read_bytes()) if self._path.exists() else Kept()  # type: ignore[no-any-return]
