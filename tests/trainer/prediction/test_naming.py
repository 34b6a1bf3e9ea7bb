"""Which pictures words name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainer.errors import DataError
from trainer.prediction.naming import FEW, find
from trainer.storage import place

FILES = ("a.png", "sub/b.JPG", "sub/deep/ü c.webp", "sub/[1].png", ".hidden/x.png", "sub/.y.png", "readme.txt", "IMG_1")


@pytest.fixture(params=["disk", "bucket", "memory"])
def somewhere(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder, or a prefix in a bucket or another object store, with FILES; ends in a slash."""
    if request.param == "memory":
        there = place(f"memory://{tmp_path.name}")
        for name in (*(f"some/{name}" for name in FILES), "something/else.png"):
            there.write(name, b"")
        return f"{there.address}/some/"
    if request.param == "bucket":
        storage: Any = request.getfixturevalue("storage")
        storage.page = 3
        for name in FILES:
            storage.put(f"some/{name}", b"")
        storage.put("something/else.png", b"")
        storage.put("some/", b"")  # what the console makes for an empty folder
        return "gs://b/some/"
    for name in FILES:
        path = tmp_path / "some" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return f"{tmp_path}/some/"


@pytest.mark.parametrize(
    ("word", "named"),
    [
        ("a.png", ["a.png"]),
        ("IMG_1", ["IMG_1"]),
        ("sub/[1].png", ["sub/[1].png"]),
        ("*.png", ["a.png"]),
        ("sub/*", ["sub/[1].png", "sub/b.JPG"]),
        ("**/*.webp", ["sub/deep/ü c.webp"]),
        ("sub/**/*.webp", ["sub/deep/ü c.webp"]),
        ("?.png", ["a.png"]),
        ("sub/[a-c].*", ["sub/b.JPG"]),
        ("[!b].png", ["a.png"]),
    ],
)
def test_a_file_or_a_pattern_names_pictures(word: str, named: list[str], somewhere: str) -> None:
    """A star stops at a slash, two do not; a file itself may be called anything; a bucket hides no names."""
    hidden = ["sub/.y.png"] if word == "sub/*" and "://" in somewhere else []
    assert list(find([somewhere + word]).addresses) == [somewhere + name for name in [*hidden, *named]]


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_folder_names_all_pictures_below_it(slash: str, somewhere: str) -> None:
    """Sorted; what is not called like a picture is counted."""
    found = find([somewhere.rstrip("/") + slash])
    names = [address.removeprefix(somewhere) for address in found.addresses]
    hidden = [".hidden/x.png", "sub/.y.png"] if "://" in somewhere else []
    assert names == sorted(["a.png", "sub/[1].png", "sub/b.JPG", "sub/deep/ü c.webp", *hidden])
    assert found.passed_over == 2
    assert not found.ordered


def test_words_keep_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And their form: what is named from here is told from here."""
    for name in ("b.png", "a.png", "folder/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert list(find(["b.png", "folder", "./a.png"]).addresses) == ["b.png", "folder/c.png", "./a.png"]


def test_a_whole_bucket_can_be_named(storage: Any) -> None:
    """With and without a slash."""
    storage.put("x.png", b"")
    assert list(find(["gs://b"]).addresses) == list(find(["gs://b/"]).addresses) == ["gs://b/x.png"]


@pytest.mark.parametrize(("files", "ordered"), [(1, True), (FEW, True), (FEW + 1, False)])
def test_few_files_are_an_order(files: int, ordered: bool, tmp_path: Path) -> None:
    """More of them come from a shell's pattern."""
    paths = [tmp_path / f"{number}.png" for number in range(files)]
    for path in paths:
        path.touch()
    assert find([str(path) for path in paths]).ordered is ordered


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("nowhere.png", "There is no file or folder .*nowhere.png"),
        ("empty", "There is nothing in .*empty"),
        ("texts", "None of the 1 files in .*texts is called like a picture"),
        ("*.gif", "Nothing matches .*gif"),
        ("texts/*", "None of the 1 files that match .* is called like a picture"),
    ],
)
def test_what_names_nothing_is_an_error(word: str, says: str, tmp_path: Path) -> None:
    """It says whether there is nothing at all or nothing of the kind."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").touch()
    with pytest.raises(DataError, match=says) as caught:
        find([str(tmp_path / word)])
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("gs://b/none/", "There is nothing in gs://b/none/"),
        ("gs://b/*.png", "Nothing matches"),
        ("gs://other/x/", "gs://other/x/ cannot be used: .*bucket"),
        ("gs://", "Received the address"),
        ("gs://b*/x.png", "Received the address"),
        ("gs://b/[z-a].png", "Received the pattern"),
        ("s33://b/x.png", "there is no store 's33'"),
    ],
)
def test_what_names_nothing_in_a_bucket_is_an_error(word: str, says: str, storage: Any) -> None:
    """So is a bucket that is not there."""
    with pytest.raises(DataError, match=says) as caught:
        find([word])
    assert caught.value.remedy
