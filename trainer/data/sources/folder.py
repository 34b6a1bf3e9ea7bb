"""A folder of this machine, or one that is mounted like it, with images as `layout.py` has it.

What turns out to be no image is listed as rejected. The folder may grow between runs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from trainer.config import Data
from trainer.data.digests import UNREADABLE, FileFact, digests
from trainer.data.sources.base import RawExample, SourceIdentity, identify
from trainer.data.sources.layout import RULE, Layout
from trainer.errors import DataError
from trainer.state import State

CHANGED = "Run again when nothing is being written there."


class FolderSource:
    def __init__(self, data: Data, address: str, state: State) -> None:
        self._data = data
        self._address = address
        self._state = state
        self._root = Path(address).expanduser()
        self._layout = Layout(OnDisk(self._root))

    def fingerprint(self) -> SourceIdentity:
        files = self._layout.candidates()
        facts = [file.fact for file in files if file.fact]
        known = dict(zip(facts, digests(facts, self._state.digests), strict=True))
        holds: list[tuple[str | int, ...]] = [("folder",), *(("class", name) for name in self.classes())]
        for file in files:
            digest = known[file.fact] if file.fact else UNREADABLE
            holds.append((file.name, file.fact.size if file.fact else 0, digest))
        summary: dict[str, str | int] = {
            "address": f"folder:{self._address}",
            "files": len(files),
            "bytes": sum(fact.size for fact in facts),
        }
        return identify(self._data, holds, summary)

    def classes(self) -> list[str]:
        return self._layout.classes()

    def total(self) -> int | None:
        return len(self._layout.candidates())

    def examples(self) -> Iterator[RawExample]:
        from trainer.data.images import MAX_BYTES, TOO_LARGE  # which loads Pillow: nothing is decoded before

        for file in self._layout.candidates():
            payload, problem = b"", ""
            if file.fact is None:
                problem = "not a file that can be read"
            elif file.fact.size > MAX_BYTES:
                problem = TOO_LARGE
            else:
                try:
                    payload = Path(file.fact.path).read_bytes()
                except FileNotFoundError:
                    raise DataError(
                        f"The source changed while it was read: {file.name} in {self._root} has gone.", CHANGED
                    ) from None
                except OSError as error:
                    problem = f"cannot be read: {error.strerror}"
            yield RawExample(file.name, file.label, file.split, payload, problem)


class OnDisk:
    """A way of looking into a folder of this machine."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self._root = root

    def folders(self, at: str) -> dict[str, str]:
        folder = self._root / at
        try:
            with os.scandir(folder) as entries:
                names = [e.name for e in entries if not e.name.startswith(".") and e.is_dir()]
        except FileNotFoundError:
            raise DataError(f"There is no folder {folder}.", self._around()) from None
        except NotADirectoryError:
            raise DataError(f"{folder} is a file, not a folder.", RULE) from None
        except OSError as error:
            raise _unreadable(folder, error) from None
        return {name: f"{at}/{name}" if at else name for name in names}

    def files(self, at: str) -> Iterator[tuple[str, FileFact | None]]:
        return self._below(at, frozenset())

    def _below(self, at: str, above: frozenset[tuple[int, int]]) -> Iterator[tuple[str, FileFact | None]]:
        """A link back to a folder above is not followed."""
        folder = self._root / at
        try:
            stat = folder.stat()
            if (stat.st_dev, stat.st_ino) in above:
                return
            above |= {(stat.st_dev, stat.st_ino)}
            with os.scandir(folder) as scan:
                entries = sorted((e for e in scan if not e.name.startswith(".")), key=lambda e: e.name)
        except OSError as error:
            raise _unreadable(folder, error) from None
        for entry in entries:
            name = f"{at}/{entry.name}"
            if entry.is_dir():
                yield from self._below(name, above)
            else:
                yield name, _fact(entry)

    def _around(self) -> str:
        """What is there, for a path that leads nowhere."""
        at = self._root.absolute()
        while not at.is_dir():
            at = at.parent
        try:
            there = sorted(p.name for p in at.iterdir() if p.is_dir() and not p.name.startswith("."))[:10]
        except OSError:
            there = []
        found = f"{at} is there and holds {', '.join(there)}." if there else f"{at} is there, with no folders in it."
        return f"Mend the path: that of --data, or data.source in the recipe. {found}"


def _unreadable(folder: Path, error: OSError) -> DataError:
    return DataError(
        f"The folder {folder} cannot be read: {error.strerror}.", "Give read permission to it and its contents."
    )


def _fact(entry: os.DirEntry[str]) -> FileFact | None:
    try:
        if not entry.is_file():  # a dangling link, or a pipe that would block whoever opens it
            return None
        return FileFact.of(entry.path)
    except OSError:
        return None
