"""A dataset of TFDS that lies prepared in an object store: known by a list, fetched when its images are asked for.

TensorFlow could read `gs://` by itself where its build has that; it would know neither this project's patience nor its
checksums, and no other store.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Self

from filelock import FileLock

from trainer import events
from trainer.data.sources.tfds_address import Address, find
from trainer.errors import DataError, StateError
from trainer.state import State, reported
from trainer.storage import Stored, place, transfers


class StoredDataset:
    """Errors of all methods: DataError (nothing that fits), StateError (out of reach, no room)."""

    def __init__(self, given: Address, data_dir: str) -> None:
        """Errors: DataError (an address that cannot be)."""
        try:
            self._place = place(data_dir)
        except StateError as error:
            raise DataError(error.message, error.remedy) from None
        self._given = given

    def holds(self) -> list[tuple[str | int, ...]]:
        """What identifies it. The JSON files describe it in words that change with TFDS itself."""
        address, files = self._found
        return [address.facts, *((Path(held.name).name, held.size, held.mark) for held in _examples(files))]

    def summary(self) -> dict[str, str | int]:
        """It in words."""
        address, files = self._found
        examples = _examples(files)
        return {"address": str(address), "files": len(examples), "bytes": sum(held.size for held in examples)}

    def fetched(self, state: State) -> Path:
        """Its folder here, as long as the store has the same files: named by them."""
        address, files = self._found
        identity = hashlib.sha256("\n".join(f"{held.name} {held.mark}" for held in files).encode()).hexdigest()[:16]
        final = state.cache / "tfds" / identity
        with reported(final):
            final.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(final.with_suffix(".lock")):
            if not final.is_dir():
                size = sum(held.size for held in files)
                events.note(f"fetching {address} from {self._place.address} ({size / 1e6:,.0f} MB)")
                self._fetch(files, final)
        return final / Path(files[0].name).parent

    def _fetch(self, files: list[Stored], final: Path) -> None:
        for left in final.parent.glob(f".{final.name}.*/"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        with reported(final):
            beside = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}."))
        try:
            transfers.fetch(self._place, files, beside)
            with reported(final):
                beside.rename(final)
        except FileNotFoundError as error:
            raise DataError(
                f"The source changed while it was read: {error}.", "Run again when nothing is being written there."
            ) from None
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    @cached_property
    def _found(self) -> tuple[Address, list[Stored]]:
        """The full address, and the files of its folder, sorted."""
        held = {one.name: one for one in self._place.stored()}
        address, folder = find(self._given, Names(self._place.address, frozenset(held)))
        return address, [held[name] for name in sorted(held) if name.rpartition("/")[0] == folder.at]


class Names:
    """A path in a list of names: as much of `pathlib.Path` as `find` asks for."""

    def __init__(self, root: str, names: frozenset[str], at: str = "") -> None:
        self._root = root
        self._names = names
        self.at = at

    @property
    def name(self) -> str:
        return self.at.rpartition("/")[2]

    def is_dir(self) -> bool:
        return not self.at or any(name.startswith(f"{self.at}/") for name in self._names)

    def is_file(self) -> bool:
        return self.at in self._names

    def iterdir(self) -> Iterator[Self]:
        before = f"{self.at}/" if self.at else ""
        beneath = {name[len(before) :].partition("/")[0] for name in self._names if name.startswith(before)}
        return (self / name for name in beneath if name)

    def __truediv__(self, name: str) -> Self:
        return type(self)(self._root, self._names, f"{self.at}/{name}" if self.at else name)

    def __str__(self) -> str:
        return f"{self._root}/{self.at}" if self.at else self._root


def _examples(files: list[Stored]) -> list[Stored]:
    return [held for held in files if not held.name.endswith(".json") and not Path(held.name).name.startswith(".")]
