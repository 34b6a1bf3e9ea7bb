"""The state folder as the sweep sees it: what belongs to which run, what is in use, how large it is."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from trainer import record
from trainer.state import State, reported

ABANDONED_SECONDS = 7 * 24 * 3600.0
"""A run that has not come to its end is given up once nothing of it has changed for so long."""
SETTLING_SECONDS = 3600.0
"""A run that was decided still writes its card."""
_ASIDE = ".deleted-"


@dataclass(frozen=True)
class RunRecord:
    """What one run left in the state folder."""

    run_key: str
    folder: Path
    model: str | None
    """None where the record does not say."""
    fingerprint: str | None
    version: str | None
    mlflow_run_id: str | None
    under_way: bool

    @classmethod
    def read(cls, folder: Path, checkpoints: Path) -> RunRecord:
        checked = record.find(folder, record.Checked)
        registered = record.find(folder, record.Registered)
        trained = record.find(folder, record.Trained)
        decided = record.find(folder, record.Promoted) is not None
        age = time.time() - max(newest(folder), newest(checkpoints))
        return cls(
            run_key=folder.name,
            folder=folder,
            model=_model(checked),
            fingerprint=checked.fingerprint if checked else None,
            version=registered.version if registered else None,
            mlflow_run_id=trained.mlflow_run_id if trained else None,
            under_way=age < (SETTLING_SECONDS if decided else ABANDONED_SECONDS) or locked(folder / "train.lock"),
        )


def records(state: State, but: Collection[str] = ()) -> list[RunRecord]:
    """Of all run keys but these."""
    found = (folder for folder in _folders(state, "runs") if folder.name not in but)
    return [RunRecord.read(folder, state.checkpoints(folder.name)) for folder in found]


def lone_checkpoints(state: State) -> Iterator[Path]:
    """Given up, and without a run record."""
    for folder in _folders(state, "checkpoints"):
        if not state.run(folder.name).is_dir() and time.time() - newest(folder) > ABANDONED_SECONDS:
            yield folder


def prepared(state: State) -> Iterator[tuple[Path, str]]:
    """The folders of prepared data and of failed preparations that are not new or in use, with their fingerprints."""
    for folder in _folders(state, "data"):
        if is_left(state, folder):
            yield folder, _fingerprint(folder)


def is_left(state: State, folder: Path) -> bool:
    """Whether a folder of prepared data is there, and neither new nor in use."""
    lock = folder.parent / f".{_fingerprint(folder)}.lock"
    return inside(state, folder) and time.time() - newest(folder) > ABANDONED_SECONDS and not locked(lock)


def in_tuning(state: State) -> set[str]:
    """The fingerprints that studies which were lately at work train on."""
    studies = [f for f in _folders(state, "tuning") if time.time() - newest(f) < ABANDONED_SECONDS]
    if not studies:
        return set()
    from trainer.tuning.study import Study

    found = set()
    for folder in studies:
        with suppress(KeyError):  # one that was killed before it had begun: it has named no data yet
            found.add(Study(folder).fingerprint)
    return found


def size(path: Path) -> int:
    """Bytes of all files in it."""
    return sum(one.st_size for folder, _, names in os.walk(path) for name in names for one in _status(folder, name))


def newest(path: Path) -> float:
    """When anything in it was last changed, in seconds since 1970; 0 where it is not there."""
    if not path.is_dir():
        return 0.0
    names = (Path(at, name) for at, folders, files in os.walk(path) for name in (*folders, *files))
    found = (path, *(one for one in names if one.suffix != ".lock"))
    return max((status.st_mtime for one in found for status in _status(one)), default=0.0)


def remove(state: State, path: Path) -> None:
    """Take a folder out of the state folder: at once out of sight, then from the disk.

    Errors: StateError.
    """
    if not inside(state, path):
        return
    with reported(path):
        aside = Path(tempfile.mkdtemp(dir=path.parent, prefix=_ASIDE))
        path.rename(aside / path.name)
        shutil.rmtree(aside)


def clear_away(state: State) -> None:
    """Finish removals that were killed between the two halves of `remove`."""
    places = (*(state.root / kind for kind in ("runs", "checkpoints", "data")), state.artifacts)
    for parent in (*places, state.artifacts / "models"):
        for aside in parent.glob(f"{_ASIDE}*"):
            if inside(state, aside) and time.time() - newest(aside) > SETTLING_SECONDS:
                shutil.rmtree(aside, ignore_errors=True)


def inside(state: State, folder: Path) -> bool:
    """Whether a folder is there, and really in the state folder: what is behind a link belongs to somebody else."""
    return folder.is_dir() and not folder.is_symlink() and folder.resolve().is_relative_to(state.root.resolve())


def locked(path: Path) -> bool:
    """Whether a process holds this lock file."""
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    lock.release()
    return False


def _status(*path: str | Path) -> Iterator[os.stat_result]:
    """One, or none where a run at work has taken the file away meanwhile."""
    with suppress(FileNotFoundError):
        yield Path(*path).lstat()


def _fingerprint(folder: Path) -> str:
    return folder.name.removesuffix(".failed")


def _folders(state: State, kind: str) -> list[Path]:
    parent = state.root / kind
    with reported(parent):
        found = sorted(parent.iterdir()) if parent.is_dir() else []
        return [one for one in found if not one.name.startswith(".") and inside(state, one)]


def _model(checked: record.Checked | None) -> str | None:
    try:
        return str(json.loads(checked.recipe)["registry"]["name"]) if checked else None
    except (ValueError, KeyError, TypeError):
        return None
