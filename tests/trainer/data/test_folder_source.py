"""The `folder:` source: layouts, identity, and what is wrong with a folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from trainer.config import Data
from trainer.data.sources import RawExample, Source, open_source
from trainer.errors import DataError
from trainer.state import State

Images = Callable[..., Path]


def source(folder: Path | str, state: State, **options: float) -> Source:
    return open_source(Data.model_validate({"source": f"folder:{folder}", **options}), state)


def read(folder: Path, state: State) -> list[RawExample]:
    return list(source(folder, state).examples())


def test_a_folder_per_class(images: Images, state: State) -> None:
    """Classes are the sorted folder names; files come sorted, below one another too, whatever their suffix."""
    folder = images("dog/2.png", "dog/1.jpg", "cat/deep/er/3.png", "cat/notes.txt", "Zebra/z", ".git/x", "cat/.hidden")
    (folder / "README.md").write_text("not in a class folder")
    of_it = source(folder, state)
    assert of_it.classes() == ["Zebra", "cat", "dog"]
    assert of_it.total() == 5
    found = [(e.path, e.label, e.split) for e in of_it.examples()]
    assert found == [
        ("Zebra/z", 0, None),
        ("cat/deep/er/3.png", 1, None),
        ("cat/notes.txt", 1, None),
        ("dog/1.jpg", 2, None),
        ("dog/2.png", 2, None),
    ]
    assert all(e.payload == (folder / e.path).read_bytes() for e in of_it.examples())


@pytest.mark.parametrize("validation", ["validation", "val", "valid", "Validation"])
def test_split_folders_are_official_splits(validation: str, images: Images, state: State) -> None:
    """Split folders go by their usual names, and test examples come first, then validation, then train."""
    folder = images("train/a/1", "train/b/2", f"{validation}/a/3", f"{validation}/b/4", "test/a/5", "test/b/6")
    assert [e.split for e in read(folder, state)] == ["test"] * 2 + ["validation"] * 2 + ["train"] * 2
    assert source(folder, state).classes() == ["a", "b"]


def test_a_class_may_be_called_like_a_split(images: Images, state: State) -> None:
    """Pictures of trains, in a folder of that name beside those of cars, are a class."""
    assert source(images("train/1.png", "car/2.png"), state).classes() == ["car", "train"]


def test_links_are_followed_but_not_in_circles(images: Images, state: State) -> None:
    """A class may be a link to elsewhere; a link back to a folder above ends there."""
    folder = images("a/1.png", "b/2.png")
    elsewhere = images("3.png", root="elsewhere", first_seed=9)
    (folder / "c").symlink_to(elsewhere, target_is_directory=True)
    (folder / "a" / "loop").symlink_to(folder / "a", target_is_directory=True)
    (elsewhere / "back").symlink_to(folder, target_is_directory=True)
    paths = [e.path for e in read(folder, state)]
    assert len(paths) == len(set(paths))
    assert {"a/1.png", "b/2.png", "c/3.png"} <= set(paths)
    assert not any("loop" in path for path in paths)


def test_what_is_no_file_is_a_candidate_with_a_problem(images: Images, state: State) -> None:
    """A dangling link and a pipe are listed and never opened."""
    folder = images("a/1.png", "b/2.png")
    (folder / "a" / "dangling.png").symlink_to(folder / "nowhere.png")
    os.mkfifo(folder / "b" / "pipe.png")
    problems = {e.path: e.problem for e in read(folder, state) if e.problem}
    assert set(problems) == {"a/dangling.png", "b/pipe.png"}
    assert source(folder, state).fingerprint().summary["files"] == 4


def test_names_need_not_be_utf8(images: Images, state: State) -> None:
    """A file name in some old encoding is escaped, and its file is read."""
    folder = images("a/1.png", "b/2.png")
    name = os.fsencode(folder / "a") + b"/caf\xe9.png"
    shutil.copy(folder / "b" / "2.png", name)
    example = read(folder, state)[1]
    assert example.path == "a/caf\\xe9.png"
    assert example.payload == (folder / "b" / "2.png").read_bytes()
    source(folder, state).fingerprint()


# ---------------------------------------------------------------------- identity


def test_the_digest_says_what_is_held_not_where(images: Images, state: State) -> None:
    """A moved or copied folder, with new times of change, has the same digest."""
    folder = images("a/1.png", "b/2.png")
    before = source(folder, state).fingerprint()
    copy = folder.parent / "moved" / "here"
    shutil.copytree(folder, copy)
    os.utime(copy / "a" / "1.png", (0, 0))
    after = source(copy, state).fingerprint()
    assert after.digest == before.digest
    assert before.summary["files"] == 2
    assert before.summary["bytes"] == sum(p.stat().st_size for p in folder.rglob("*.png"))


CHANGES: dict[str, Callable[[Path], object]] = {
    "a new image": lambda folder: shutil.copy(folder / "a/1.png", folder / "a/2.png"),
    "one image less": lambda folder: (folder / "a/3.png").unlink(),
    "another name": lambda folder: (folder / "a/1.png").rename(folder / "a/0.png"),
    "another class": lambda folder: (folder / "a/3.png").rename(folder / "b/3.png"),
    "a class renamed": lambda folder: (folder / "a").rename(folder / "c"),
    "other content of equal size": lambda folder: (folder / "a/1.png").write_bytes(
        bytes(reversed((folder / "a/1.png").read_bytes()))
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_of_content_changes_the_digest(change: str, images: Images, state: State) -> None:
    """Images added, removed, renamed, moved or altered, and classes renamed, make another digest; undone, the old."""
    folder = images("a/1.png", "a/3.png", "b/2.png")
    shutil.copytree(folder, folder.parent / "before")
    digest = source(folder, state).fingerprint().digest
    assert source(folder, state).fingerprint().digest == digest
    CHANGES[change](folder)
    assert source(folder, state).fingerprint().digest != digest
    assert source(folder.parent / "before", state).fingerprint().digest == digest


@pytest.mark.parametrize("setting", [{"validation_fraction": 0.3}, {"test_fraction": 0.3}, {"limit": 5}])
def test_another_way_of_dividing_is_another_digest(setting: dict[str, float], images: Images, state: State) -> None:
    """Recipes that would make different prepared datasets of one source do not share one."""
    folder = images("a/1.png", "b/2.png")
    assert source(folder, state, **setting).fingerprint().digest != source(folder, state).fingerprint().digest
    tolerant = source(folder, state, max_rejected_share=0.5).fingerprint().digest
    assert tolerant == source(folder, state).fingerprint().digest


# ---------------------------------------------------------------------- what is wrong


def empty_class(images: Images) -> Path:
    folder = images("a/1.png", "b/2.png")
    (folder / "c").mkdir()
    return folder


def a_file(images: Images) -> Path:
    return images("a/1.png", "b/2.png") / "a" / "1.png"


WRONG: dict[str, tuple[Callable[[Images], Path], str, str]] = {
    "missing": (lambda images: images("a/1.png").parent / "imagse", "There is no folder", "images"),
    "a file": (a_file, "is a file", "<class>"),
    "no class folders": (lambda images: images("1.png", "2.png"), "no class folders", "<class>"),
    "empty class": (empty_class, "c is empty", "remove the folder"),
    "no train": (lambda images: images("test/a/1", "test/b/2"), "no train folder", "train"),
    "class in some splits only": (
        lambda images: images("train/a/1", "train/b/2", "test/a/3"),
        "The split test .* no folder for the class b",
        "same class folders",
    ),
    "class among splits": (
        lambda images: images("train/a/1", "test/a/3", "birds/1"),
        r"split folders \(test, train\) and beside them birds",
        "<class>",
    ),
    "split twice": (
        lambda images: images("train/a/1", "val/a/3", "validation/a/1"),
        "more than one folder for the validation",
        "<class>",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_folder_that_cannot_be_used_says_why_and_what_to_do(wrong: str, images: Images, state: State) -> None:
    """Each wrong layout is found by the fingerprint already, before any training is asked for."""
    make, message, remedy = WRONG[wrong]
    with pytest.raises(DataError, match=message) as caught:
        source(make(images), state).fingerprint()
    assert remedy in caught.value.remedy


def test_a_file_that_vanishes_while_it_is_read_is_named(images: Images, state: State) -> None:
    """A source somebody is tidying up ends the run with the file that has gone."""
    folder = images("a/1.png", "b/2.png")
    examples = source(folder, state).examples()
    next(examples)
    (folder / "b" / "2.png").unlink()
    with pytest.raises(DataError, match=r"changed while it was read: b/2\.png"):
        next(examples)
