"""One folder of the state, here and in the store: what differs is fetched, what was changed here is sent.

A file counts as changed here when its size or time is another than when it was last the same as there. What was changed
there since is taken; what was changed here only, or never sent, stays and is sent. What was removed on one side goes on
the other: there at once where this process saw it go, here at the next look.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from trainer.errors import StoreError
from trainer.record import NAMES, Prepared
from trainer.sharing.memory import Known, Memory
from trainer.state import State, reported
from trainer.storage import Place, Stored, transfers
from trainer.storage.stored import crc32c

Wanted = Callable[[str], bool]
"""Says of a file, by its name in the folder, whether it is to be fetched."""

_DOCUMENTS = [f"{name}.json" for name in NAMES.values()]
"""In the order in which they are written."""
_PREPARED = f"{NAMES[Prepared]}.json"
_LOOKS = 3


def everything(name: str) -> bool:
    """All but what is only ever added to, and read by people."""
    return not name.startswith("tensorboard/")


def documents(name: str) -> bool:
    return name in _DOCUMENTS


def named(*names: str) -> Wanted:
    return lambda name: name in names


class Mirror:
    """A folder of the state.

    Args:
        state: the state folder.
        place: the store.
        folder: within the state folder; it need not be there.

    Errors: StateError where it leads out of the state folder. Run keys are read from tags that others may write.
    """

    def __init__(self, state: State, place: Place, folder: Path, memory: Memory) -> None:
        inside = folder.relative_to(state.root) if folder.is_relative_to(state.root) else folder
        self.name = inside.as_posix()
        transfers.expect_inside(self.name, str(state.root))
        self._root = state.root
        self._place = place
        self._folder = folder
        self._memory = memory
        self._had: set[str] = set()
        """Names of the files that were here at the last look."""

    def fetch(self, wanted: Wanted = everything) -> None:
        """Bring what is wanted here up to date. Errors: StateError."""
        for _ in range(_LOOKS):
            try:
                self._fetch(wanted)
            except FileNotFoundError:  # somebody has written anew what was just listed
                continue
            return
        raise StoreError(f"{self._place.address}/{self.name} changes faster than it can be read.", "Run again.")

    def push(self) -> None:
        """Send what was changed here: documents after all others. Errors: StateError."""
        here, known = self._here(), self._memory.below(self.name)
        changed = [name for name, status in here.items() if name not in known or not known[name].is_still(status)]
        self._send([name for name in changed if not documents(name)], here)
        for name in sorted(filter(documents, changed), key=_DOCUMENTS.index):
            self._send([name], here)
        gone = sorted(self._had - here.keys())
        transfers.together(lambda name: self._place.remove(f"{self.name}/{name}"), gone)
        self._memory.note(self.name, {}, gone)
        self._had = set(here)

    def _fetch(self, wanted: Wanted) -> None:
        prefix = f"{self.name}/"
        there = {held.name.removeprefix(prefix): held for held in self._place.stored(prefix)}
        there = {name: held for name, held in there.items() if self._is_shared(name) and wanted(name)}
        here, known = self._here(), self._memory.below(self.name)
        taken, equal = [], {}
        for name, held in there.items():
            known_, status = known.get(name), here.get(name)
            if status is not None and known_ is not None and known_.mark == held.mark:
                continue  # changed here only, or not at all
            unchanged = status is not None and known_ is not None and known_.is_still(status)
            if status is not None and not unchanged and self._is_equal(name, held):
                equal[name] = Known(status.st_size, status.st_mtime_ns, held.mark)
            else:
                taken.append(held)
        transfers.fetch(self._place, taken, self._root)
        for name, status in here.items():
            if wanted(name) and name not in there and name in known and known[name].is_still(status):
                with reported(self._folder / name):
                    (self._folder / name).unlink(missing_ok=True)
        now = self._here()
        got = {held.name.removeprefix(prefix): held.mark for held in taken}
        marks = {name: Known(now[name].st_size, now[name].st_mtime_ns, got[name]) for name in got if name in now}
        self._memory.note(self.name, equal | marks, here.keys() - now.keys())
        self._had = set(now)

    def _send(self, names: list[str], here: dict[str, os.stat_result]) -> None:
        sent = transfers.send(self._place, {f"{self.name}/{name}": self._folder / name for name in names})
        marks = (held.mark for held in sent)
        known = {
            name: Known(here[name].st_size, here[name].st_mtime_ns, mark)
            for name, mark in zip(names, marks, strict=True)
        }
        self._memory.note(self.name, known)

    def _here(self) -> dict[str, os.stat_result]:
        """The files of the folder that are shared, by name."""
        found = {}
        with reported(self._folder):
            for at, _, files in os.walk(self._folder):
                for file in files:
                    path = Path(at, file)
                    name = path.relative_to(self._folder).as_posix()
                    if self._is_shared(name):
                        with suppress(FileNotFoundError):  # another process has removed it meanwhile
                            found[name] = path.stat()
        return found

    def _is_shared(self, name: str) -> bool:
        """Not what is one machine's own; of a prepared dataset only its document, the rest has a way of its own."""
        kind, *inside = f"{self.name}/{name}".split("/")
        if any(not part or part.startswith(".") for part in inside) or name.endswith(".lock"):
            return False
        return kind != "data" or inside[0].endswith(".failed") or inside[1:] == [_PREPARED]

    def _is_equal(self, name: str, held: Stored) -> bool:
        path = self._folder / name
        with reported(path):
            return held.crc32c is not None and path.stat().st_size == held.size and crc32c(path) == held.crc32c


class Mirrors:
    """Those that a process has opened; what it changed in them is sent together, ticks last: they lead to the rest."""

    _ORDER = ("data", "runs", "ticks")

    def __init__(self, state: State, place: Place, memory: Memory) -> None:
        self.place = place
        self._state = state
        self._memory = memory
        self._open: dict[Path, Mirror] = {}
        self._given_up = False

    def of(self, folder: Path) -> Mirror:
        """The one of a folder, opened with the first call."""
        return self._open.setdefault(folder, self.apart(folder))

    def apart(self, folder: Path) -> Mirror:
        """One that nothing is sent from."""
        return Mirror(self._state, self.place, folder, self._memory)

    def push(self) -> None:
        """Send what was changed. Errors: StateError."""
        if self._given_up:
            return
        for mirror in sorted(self._open.values(), key=lambda one: self._ORDER.index(one.name.partition("/")[0])):
            mirror.push()

    def give_up(self) -> None:
        """Send nothing any more: the work is another machine's now."""
        self._given_up = True
