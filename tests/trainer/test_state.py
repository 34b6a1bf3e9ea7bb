"""The state folder: whole files or none, and refusals of the operating system that say what to do."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainer.errors import StateError
from trainer.state import State, reported, storage_error, write_atomically

WRITE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from trainer import state
os.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
state.write_atomically(Path(sys.argv[1]), "new" * 100_000)
"""

FILL_UP = """
import resource, sys
from pathlib import Path
from trainer.errors import StateError
from trainer.state import write_atomically
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    write_atomically(Path(sys.argv[1]), b"x" * 20_000)
except StateError as error:
    print(type(error.__cause__).__name__, error.message, error.remedy, sep="\\n")
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def unwritable() -> Path | None:
    """A place where even the super-user may make no folder, if this system has one."""
    for place in (Path("/sys/inception"), Path("/proc/sys/inception")):
        try:
            place.mkdir()
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                return place
        else:
            place.rmdir()
    return None


def test_opening_makes_the_folder_and_leaves_nothing_in_it(tmp_path: Path) -> None:
    """With the folders above it; a second time changes nothing; the address is absolute."""
    for _ in range(2):
        state = State.open(tmp_path / "a" / "b")
        assert state.root == tmp_path / "a" / "b"
        assert names(state.root) == []


def test_libraries_keep_to_the_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their caches go there, where they would go to the home folder; a place the user chose stays chosen."""
    monkeypatch.delenv("KERAS_HOME")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path / "mine"))
    cache = State.open(tmp_path / "state").root / "cache"
    assert os.environ["KERAS_HOME"] == str(cache / "keras")
    assert os.environ["XDG_CACHE_HOME"] == str(cache / "xdg")
    assert os.environ["MPLCONFIGDIR"] == str(tmp_path / "mine")
    assert names(cache) == ["keras", "xdg"]


def test_the_address_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a step which changes its working folder still finds it."""
    monkeypatch.chdir(tmp_path)
    assert State.open("here").root == tmp_path / "here"


def test_everything_lies_below_the_root(state: State) -> None:
    """Deleting the folder forgets everything."""
    places = [
        *(state.data("f"), state.failed_data("f"), state.checkpoints("k"), state.run("k"), state.tick("t")),
        *(state.ledger("m"), state.logs, state.tfds, state.digests, state.artifacts, state.mlflow_database),
        state.pipeline_root,
    ]
    assert len(set(places)) == len(places)
    assert all(state.root in place.parents for place in places)


# ------------------------------------------------------------------ whole or not at all


@pytest.mark.parametrize("content", ["text ü\r\n", b"\x00bytes\xff", "", b""])
def test_a_written_file_holds_what_was_written(tmp_path: Path, content: str | bytes) -> None:
    """Byte for byte, in folders made for it, readable by others, with nothing beside it; again replaces it."""
    path = tmp_path / "a" / "b" / "file.json"
    for _ in range(2):
        write_atomically(path, content)
        assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
        assert path.stat().st_mode & 0o777 == 0o644
        assert names(path.parent) == ["file.json"]


@pytest.mark.parametrize("old", ["old", None])
def test_a_kill_before_the_rename_leaves_the_old_file(
    tmp_path: Path, run_python: Callable[..., Any], old: str | None
) -> None:
    """Or none where there was none; the next write is not disturbed by what the killed one left."""
    path = tmp_path / "folder" / "file"
    path.parent.mkdir()
    if old:
        path.write_text(old)
    done = run_python(WRITE_AND_DIE, str(path))
    assert done.returncode == -signal.SIGKILL
    assert (path.read_text() if path.exists() else None) == old
    [left] = [name for name in names(path.parent) if name != "file"]
    assert left.startswith(".file.")
    write_atomically(path, "next")
    assert path.read_text() == "next"


def test_no_space_is_an_error_with_a_remedy(tmp_path: Path, run_python: Callable[..., Any]) -> None:
    """A write that the system stops half-way leaves the old file and nothing beside it."""
    path = tmp_path / "folder" / "file"
    write_atomically(path, "old")
    done = run_python(FILL_UP, str(path))
    cause, message, remedy = done.stdout.splitlines()
    assert cause == "OSError"
    assert message.startswith("No space is left to write ")
    assert str(path.parent) in message
    assert "Free some space" in remedy
    assert "--state DIR" in remedy
    assert path.read_text() == "old"
    assert names(path.parent) == ["file"]


def test_a_full_device_is_no_space() -> None:
    """`/dev/full` refuses every byte as a full disk does."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(StateError, match="No space is left to write /dev/full"), reported(Path("/dev/full")):
        Path("/dev/full").write_bytes(b"x")


def test_an_interrupted_write_leaves_nothing_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C between writing and renaming: the old file stays, the new one goes."""

    def interrupt(*paths: Path) -> None:
        raise KeyboardInterrupt

    write_atomically(tmp_path / "file", "old")
    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file", "new")
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "old"


# ------------------------------------------------------------------ places that will not do


@pytest.mark.parametrize("below", ["file", "file/state", "file/a/b"])
def test_a_file_is_no_state_folder(tmp_path: Path, below: str) -> None:
    """Nor can a folder lie below it; the message names it, the remedy names the option."""
    (tmp_path / "file").write_text("I was here first.")
    with pytest.raises(StateError, match="is not a folder that can hold the state") as caught:
        State.open(tmp_path / below)
    assert str(tmp_path / "file") in caught.value.message
    assert "Move that file away, or choose a folder with --state DIR." in caught.value.remedy
    assert (tmp_path / "file").read_text() == "I was here first."


def test_a_place_that_may_not_be_written_is_an_error() -> None:
    """The folder cannot be made."""
    place = unwritable()
    if place is None:
        pytest.skip("this system lets us write everywhere")
    with pytest.raises(StateError, match=f"{place} may not be written: ") as caught:
        State.open(place)
    assert caught.value.remedy == "Give write permission, or choose a folder with --state DIR."
    with pytest.raises(StateError, match="may not be written"):
        write_atomically(place / "file", "x")


@pytest.mark.skipif(os.geteuid() == 0, reason="the super-user may write into any folder")
def test_a_folder_without_write_permission_is_an_error(tmp_path: Path) -> None:
    """The folder is there and cannot be written."""
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StateError, match="may not be written"):
            State.open(tmp_path)
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    ("number", "says", "remedy"),
    [
        (errno.ENOSPC, "No space is left to write /x", "Free some space"),
        (errno.EDQUOT, "No space is left to write /x", "Free some space"),
        (errno.EFBIG, "No space is left to write /x", "Free some space"),
        (errno.EACCES, "/x may not be written", "Give write permission"),
        (errno.EROFS, "/x may not be written", "Give write permission"),
        (errno.ENOTDIR, "/x is not a folder", "Move that file away"),
        (errno.EIO, "/x cannot be used: Input/output error", "Choose another folder"),
    ],
)
def test_each_refusal_has_the_remedy_that_fits(number: int, says: str, remedy: str) -> None:
    """The path is the one the system named, else the one that was asked for."""
    named = storage_error(OSError(number, os.strerror(number), "/x"), "/asked")
    asked = storage_error(OSError(number, os.strerror(number)), "/x")
    for error in (named, asked):
        assert error.message.startswith(says)
        assert error.remedy.startswith(remedy)
        assert "--state DIR" in error.remedy
