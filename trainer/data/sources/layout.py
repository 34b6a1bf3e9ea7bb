"""How a folder of images is laid out, wherever it lies: one sub-folder per class, directly or below split folders.

    <class>/…        or   train/<class>/…   beside   validation/<class>/…   and   test/<class>/…

Every file below a class folder is a candidate, whatever its name. Names that begin with a dot are passed over.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from trainer.data.splits import OFFICIAL_NAMES
from trainer.errors import DataError
from trainer.legible import in_one_line

RULE = "Lay the images out as <folder>/<class>/<image>, or <folder>/train/<class>/<image> beside validation and test."
READ_FIRST = ("test", "validation", "train", None)

F = TypeVar("F")
F_co = TypeVar("F_co", covariant=True)


class Look(Protocol[F_co]):
    """A way of looking into a folder, by paths below it with forward slashes. Errors of its methods: DataError."""

    root: str
    """The folder as its user would write it."""

    def folders(self, at: str) -> dict[str, str]:
        """Sub-folders by name, with their paths; those whose names begin with a dot aside."""
        ...

    def files(self, at: str) -> Iterator[tuple[str, F_co | None]]:
        """All files below, sorted, with what is known of each: None where it cannot be read."""
        ...


@dataclass(frozen=True, slots=True)
class Candidate(Generic[F]):
    name: str
    """Path below the source's folder."""
    label: int
    split: str | None
    fact: F | None
    """None: nothing that can be read (a dangling link, a pipe)."""


class Layout(Generic[F]):
    """The rules, over one way of looking. Errors of all methods: DataError."""

    def __init__(self, look: Look[F]) -> None:
        self._look = look

    def classes(self) -> list[str]:
        return sorted({legible(name) for folders in self._splits().values() for name in folders})

    def candidates(self) -> list[Candidate[F]]:
        """In the order in which they are read: test, validation, train."""
        splits = self._splits()
        labels = {name: label for label, name in enumerate(self.classes())}
        found: list[Candidate[F]] = []
        for split in READ_FIRST:
            for name, path in sorted(splits.get(split, {}).items()):
                files = [
                    Candidate(legible(file), labels[legible(name)], split, fact)
                    for file, fact in self._look.files(path)
                ]
                if not files:
                    raise DataError(
                        f"The class folder {self._look.root}/{path} is empty.",
                        "Put images of the class into it, or remove the folder.",
                    )
                found += files
        return found

    def _splits(self) -> dict[str | None, dict[str, str]]:
        """Class folders (name to path) per split; the only key is None where there are no split folders."""
        root = self._look.root
        folders = self._look.folders("")
        below = {name: self._look.folders(path) for name, path in folders.items() if name.lower() in OFFICIAL_NAMES}
        # A folder called "train" that holds files and no folders is a class: pictures of trains.
        splits = {name: classes for name, classes in below.items() if classes}
        if not splits:
            if not folders:
                raise DataError(f"The folder {root} has no class folders.", RULE)
            return {None: folders}
        if others := sorted(folders.keys() - splits.keys()):
            raise DataError(
                f"The folder {root} has split folders ({', '.join(sorted(splits))}) and beside them "
                f"{', '.join(others)}, which holds no classes of a split.",
                RULE,
            )
        layout: dict[str | None, dict[str, str]] = {}
        for name, classes in splits.items():
            split = OFFICIAL_NAMES[name.lower()]
            if split in layout:
                raise DataError(f"The folder {root} has more than one folder for the {split} split.", RULE)
            layout[split] = classes
        self._check_same_classes(layout)
        return layout

    def _check_same_classes(self, layout: dict[str | None, dict[str, str]]) -> None:
        root = self._look.root
        if "train" not in layout:
            raise DataError(f"The folder {root} has {', '.join(map(str, layout))} but no train folder.", RULE)
        every = {name for classes in layout.values() for name in classes}
        for split, classes in layout.items():
            if missing := sorted(every - classes.keys()):
                raise DataError(
                    f"The split {split} of {root} has no folder for the class {', '.join(missing)}, "
                    "which another split has.",
                    "Every split needs the same class folders: add the folder with its images, or rename the odd one.",
                )


def legible(name: str) -> str:
    """A file name as text that any document can hold and any terminal show; names need not be UTF-8."""
    return in_one_line(os.fsencode(name).decode("utf-8", "backslashreplace"))
