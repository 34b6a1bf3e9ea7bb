"""A folder with one sub-folder per class, either directly or below split folders (`train`, `validation`, `test`).

Every file below a class folder is a candidate, whatever its name; what turns out to be no image is listed as
rejected. Names that begin with a dot are passed over. The folder may grow between runs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainer.config import Data
from trainer.data.digests import UNREADABLE, FileFact, digests
from trainer.data.sources.base import RawExample, SourceIdentity, identify
from trainer.data.splits import OFFICIAL_NAMES
from trainer.errors import DataError
from trainer.state import State

LAYOUT = "Lay the images out as <folder>/<class>/<image>, or <folder>/train/<class>/<image> beside validation and test."
CHANGED = "Run again when nothing is being written there."
READ_FIRST = ("test", "validation", "train", None)


@dataclass(frozen=True, slots=True)
class Candidate:
    name: str
    """Relative to the source's folder, with forward slashes."""
    label: int
    split: str | None
    fact: FileFact | None
    """None: nothing that can be read (a dangling link, a pipe)."""


class FolderSource:
    def __init__(self, data: Data, address: str, state: State) -> None:
        if "://" in address:
            raise DataError(
                f"folder:{address} is not a local folder.", "Copy or mount it, and write folder:<path of that folder>."
            )
        self._data = data
        self._address = address
        self._state = state
        self._root = Path(address).expanduser()

    def fingerprint(self) -> SourceIdentity:
        files = self._candidates()
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
        return sorted({_text(name) for folders in self._layout().values() for name in folders})

    def total(self) -> int | None:
        return len(self._candidates())

    def examples(self) -> Iterator[RawExample]:
        for file in self._candidates():
            payload, problem = b"", ""
            if file.fact is None:
                problem = "not a file that can be read"
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

    def _layout(self) -> dict[str | None, dict[str, str]]:
        """Class folders (name to path) per split; the only key is None where there are no split folders."""
        folders = self._folders(self._root)
        below = {name: self._folders(Path(path)) for name, path in folders.items() if name.lower() in OFFICIAL_NAMES}
        # A folder called "train" that holds files and no folders is a class: pictures of trains.
        splits = {name: classes for name, classes in below.items() if classes}
        if not splits:
            if not folders:
                raise DataError(f"The folder {self._root} has no class folders.", LAYOUT)
            return {None: folders}
        if others := sorted(folders.keys() - splits.keys()):
            raise DataError(
                f"The folder {self._root} has split folders ({', '.join(sorted(splits))}) and beside them "
                f"{', '.join(others)}, which holds no classes of a split.",
                LAYOUT,
            )
        layout: dict[str | None, dict[str, str]] = {}
        for name, classes in splits.items():
            split = OFFICIAL_NAMES[name.lower()]
            if split in layout:
                raise DataError(f"The folder {self._root} has more than one folder for the {split} split.", LAYOUT)
            layout[split] = classes
        self._check_same_classes(layout)
        return layout

    def _check_same_classes(self, layout: dict[str | None, dict[str, str]]) -> None:
        if "train" not in layout:
            raise DataError(f"The folder {self._root} has {', '.join(map(str, layout))} but no train folder.", LAYOUT)
        every = {name for classes in layout.values() for name in classes}
        for split, classes in layout.items():
            if missing := sorted(every - classes.keys()):
                raise DataError(
                    f"The split {split} of {self._root} has no folder for the class {', '.join(missing)}, "
                    "which another split has.",
                    "Every split needs the same class folders: add the folder with its images, or rename the odd one.",
                )

    def _folders(self, folder: Path) -> dict[str, str]:
        """Sub-folders by name. Errors: DataError."""
        try:
            with os.scandir(folder) as entries:
                return {e.name: e.path for e in entries if not e.name.startswith(".") and e.is_dir()}
        except FileNotFoundError:
            raise DataError(f"There is no folder {folder}.", self._around()) from None
        except NotADirectoryError:
            raise DataError(f"{folder} is a file, not a folder.", LAYOUT) from None
        except OSError as error:
            raise DataError(
                f"The folder {folder} cannot be read: {error.strerror}.", "Give read permission to it and its contents."
            ) from None

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

    def _candidates(self) -> list[Candidate]:
        layout = self._layout()
        labels = {name: label for label, name in enumerate(self.classes())}
        found: list[Candidate] = []
        for split in READ_FIRST:
            for name, path in sorted(layout.get(split, {}).items()):
                files = [
                    Candidate(_text(Path(file).relative_to(self._root).as_posix()), labels[_text(name)], split, fact)
                    for file, fact in self._files(path, frozenset())
                ]
                if not files:
                    raise DataError(
                        f"The class folder {path} is empty.", "Put images of the class into it, or remove the folder."
                    )
                found += files
        return found

    def _files(self, folder: str, above: frozenset[tuple[int, int]]) -> Iterator[tuple[str, FileFact | None]]:
        """Files below a folder, sorted; a link back to a folder above is not followed."""
        try:
            stat = Path(folder).stat()
            if (stat.st_dev, stat.st_ino) in above:
                return
            above |= {(stat.st_dev, stat.st_ino)}
            with os.scandir(folder) as scan:
                entries = sorted((e for e in scan if not e.name.startswith(".")), key=lambda e: e.name)
        except OSError as error:
            raise DataError(
                f"The folder {folder} cannot be read: {error.strerror}.", "Give read permission to it and its contents."
            ) from None
        for entry in entries:
            if entry.is_dir():
                yield from self._files(entry.path, above)
            else:
                yield entry.path, _fact(entry)


def _text(name: str) -> str:
    """A file name as text that any document can hold; names need not be UTF-8."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _fact(entry: os.DirEntry[str]) -> FileFact | None:
    try:
        if not entry.is_file():  # a dangling link, or a pipe that would block whoever opens it
            return None
        return FileFact.of(entry.path)
    except OSError:
        return None
