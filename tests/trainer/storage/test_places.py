"""What a folder and a bucket have in common, and what only a folder has."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from trainer.errors import StateError
from trainer.storage import Folder, Place, place
from trainer.storage.stored import TooLarge


@pytest.fixture(params=["folder", "bucket", "memory", "file"])
def somewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "bucket":
        request.getfixturevalue("storage")
        return place("gs://b/some/where")
    if request.param == "memory":
        return place(f"memory://{tmp_path.name}/some/where")
    if request.param == "file":
        return place(f"file://{tmp_path}/some/where")
    return place(tmp_path / "some" / "where")


def put(somewhere: Place, name: str, content: bytes) -> None:
    with somewhere.writing(name) as path:
        path.write_bytes(content)


def put_half(somewhere: Place, name: str, error: BaseException) -> None:
    with somewhere.writing(name) as path:
        path.write_bytes(b"half")
        raise error


def test_a_place_holds_what_is_written(somewhere: Place) -> None:
    """By name, sub-folders included; a name that is written again holds the new content."""
    assert list(somewhere.names()) == []
    somewhere.write("a", b"1")
    put(somewhere, "sub/b", b"2")
    somewhere.write("a", b"3")
    put(somewhere, "sub/b", b"4")
    assert sorted(somewhere.names()) == ["a", "sub/b"]
    assert (somewhere.read("a"), somewhere.read("sub/b")) == (b"3", b"4")
    with somewhere.reading("sub/b") as path:
        assert path.read_bytes() == b"4"
    somewhere.remove("a")
    somewhere.remove("a")
    assert list(somewhere.names()) == ["sub/b"]


def test_a_copy_goes_there_and_back(somewhere: Place, tmp_path: Path) -> None:
    """What an upload says of a file, a list says too, and by that it is fetched; its mark changes with its content."""
    (tmp_path / "file").write_bytes(b"one")
    put = somewhere.put("sub/a", tmp_path / "file")
    somewhere.write("other", b"")
    assert [held.name for held in somewhere.stored("sub/")] == ["sub/a"]
    assert [held.name for held in somewhere.stored("su")] == ["sub/a"]
    assert list(somewhere.stored("none/")) == []
    [listed] = somewhere.stored("sub/")
    assert (listed.mark, listed.size) == (put.mark, 3)
    somewhere.get(listed, tmp_path / "back" / "a")
    assert (tmp_path / "back" / "a").read_bytes() == b"one"
    assert [path.name for path in (tmp_path / "back").iterdir()] == ["a"]
    somewhere.write("sub/a", b"two and more")
    [now] = somewhere.stored("sub/")
    assert now.mark != listed.mark
    somewhere.remove("sub/a")
    with pytest.raises(FileNotFoundError, match="there is no "):
        somewhere.get(now, tmp_path / "back" / "a")
    assert (tmp_path / "back" / "a").read_bytes() == b"one"


def test_what_is_too_large_is_not_read(somewhere: Place) -> None:
    """Nobody knows who wrote it, and memory is short."""
    somewhere.write("empty", b"")
    somewhere.write("a", b"12345")
    assert (somewhere.read("empty", 0), somewhere.read("a", 5)) == (b"", b"12345")
    with pytest.raises(TooLarge, match="a is larger than"):
        somewhere.read("a", 4)


def test_what_is_not_there_is_not_found(somewhere: Place) -> None:
    """With the whole address; the place need not be there either."""
    with pytest.raises(FileNotFoundError, match=rf"there is no {somewhere.address}/none"):
        somewhere.read("none")
    with pytest.raises(FileNotFoundError, match=rf"there is no {somewhere.address}/none"), somewhere.reading("none"):
        pytest.fail("there is nothing to read")


@pytest.mark.parametrize(
    ("error", "becomes"),
    [
        (ZeroDivisionError(), ZeroDivisionError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (OSError(errno.ENOSPC, "full"), StateError),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_what_is_not_written_to_its_end_does_not_appear(
    error: BaseException, becomes: type[BaseException], somewhere: Place
) -> None:
    """Neither under its name nor beside it; the content before it stays."""
    somewhere.write("a", b"before")
    with pytest.raises(becomes):
        put_half(somewhere, "a", error)
    assert list(somewhere.names()) == ["a"]
    assert somewhere.read("a") == b"before"


def test_a_folder_goes_with_its_last_file(tmp_path: Path) -> None:
    """Up to the place itself, and not the one it lies in."""
    somewhere = Folder(tmp_path / "outer" / "place")
    somewhere.write("a/b/c", b"")
    somewhere.write("a/d", b"")
    somewhere.remove("a/b/c")
    assert [path.name for path in (tmp_path / "outer" / "place" / "a").iterdir()] == ["d"]
    somewhere.remove("a/d")
    assert list(tmp_path.iterdir()) == [tmp_path / "outer"]
    assert list((tmp_path / "outer").iterdir()) == []


def test_a_folder_that_cannot_be_one_is_an_error(tmp_path: Path) -> None:
    """One that names it."""
    (tmp_path / "file").touch()
    here, somewhere = place(tmp_path / "file"), place(tmp_path / "file" / "x")
    for work in (lambda: somewhere.write("a", b""), lambda: list(somewhere.names()), lambda: list(here.names())):
        with pytest.raises(StateError, match=r"file.* is not a folder"):
            work()
    with pytest.raises(StateError, match="file"), somewhere.writing("a"):
        pytest.fail("there is nowhere to write")


def test_a_folder_is_named_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a relative path and by the home folder too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert place("x").address == str(tmp_path / "x")
    assert place("~/x").address == str(tmp_path / "home" / "x")
