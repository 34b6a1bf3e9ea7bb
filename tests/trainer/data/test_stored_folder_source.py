"""The `folder:` source in an object store: the same rules as on a disk, an identity without a download."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainer.config import Data
from trainer.data.sources import Source, open_source
from trainer.errors import DataError, StoreError
from trainer.prepare import prepare
from trainer.state import State
from trainer.storage import place

Images = Callable[..., Path]
NAMES = (
    "train/dog/2.png",
    "train/dog/1.jpg",
    "train/cat/deep/er/3.png",
    "train/cat/deep.png",
    "test/dog/5",
    "test/cat/6",
)


def source(address: Path | str, state: State, **options: Any) -> Source:
    return open_source(Data.model_validate({"source": f"folder:{address}", **options}), state)


def copied(folder: Path, address: str) -> str:
    there = place(address)
    for path in folder.rglob("*"):
        if path.is_file():
            there.put(path.relative_to(folder).as_posix(), path)
    return address


@pytest.fixture(params=["gs://b/images", "memory://{}/images"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param.startswith("gs"):
        request.getfixturevalue("storage")
    return str(request.param.format(tmp_path.name))


def test_a_store_is_read_as_a_disk_is(images: Images, state: State, address: str) -> None:
    """The same classes, splits, names, order and bytes; what is hidden is passed over."""
    folder = images(*NAMES, ".git/x", "train/cat/.hidden")
    there = source(copied(folder, address), state)
    here = source(folder, state)
    assert there.classes() == here.classes() == ["cat", "dog"]
    assert there.total() == here.total() == 6
    assert list(there.examples()) == list(here.examples())
    assert there.fingerprint().summary == {
        **here.fingerprint().summary,
        "address": f"folder:{address}",
    }


def test_the_identity_costs_one_list(images: Images, state: State, storage: Any) -> None:
    """Nothing is fetched, and the store's own checksums are in it: any change changes it."""
    copied(images(*NAMES), "gs://b/images")
    before = len(storage.asked)
    identity = source("gs://b/images", state).fingerprint()
    assert [operation for operation, _ in storage.asked[before:]] == ["list"]
    copied(images(*NAMES), "gs://b/other")
    assert source("gs://b/other", state).fingerprint().digest == identity.digest
    of_it = source("gs://b/images", state)
    assert of_it.fingerprint().digest == identity.digest
    storage.put("images/train/dog/2.png", b"x" * len(storage.objects["b", "images/train/dog/2.png"].content))
    changed = of_it.fingerprint().digest
    assert changed != identity.digest
    del storage.objects["b", "images/train/dog/2.png"]
    assert of_it.fingerprint().digest not in (changed, identity.digest)


@pytest.mark.slow
def test_images_come_through_faults(images: Images, state: State, storage: Any) -> None:
    """Several at once, in their order, each tried again where the connection was lost."""
    folder = images(*(f"{name}/{number}" for name in "ab" for number in range(30)))
    copied(folder, "gs://b/images")
    for action in (429, 503, "drop", "truncate", "corrupt"):
        storage.fault("download", action, times=2)
    assert list(source("gs://b/images", state).examples()) == list(source(folder, state).examples())


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ((), "There is nothing at gs://b/images"),
        (("README",), "The folder gs://b/images has no class folders"),
        (("a/1", "b/"), "The class folder gs://b/images/b is empty"),
        (("train/a/1", "test/b/1"), "has no folder for the class"),
        (("train/a/1", "misc/b/1", "train/b/1", "test/a/1", "test/b/1"), "has split folders"),
    ],
)
def test_what_is_wrong_is_said_with_the_address(names: tuple[str, ...], says: str, state: State, storage: Any) -> None:
    """In the words for a folder."""
    for name in names:
        storage.put(f"images/{name}", b"")
    with pytest.raises(DataError, match=says):
        source("gs://b/images", state).fingerprint()


def test_what_vanishes_while_it_is_read_is_named(images: Images, state: State, storage: Any) -> None:
    """A store somebody is tidying up ends the run with the object that has gone."""
    copied(images("a/1.png", "b/2.png"), "gs://b/images")
    of_it = source("gs://b/images", state)
    of_it.fingerprint()
    del storage.objects["b", "images/b/2.png"]
    with pytest.raises(DataError, match=r"changed while it was read: b/2\.png in gs://b/images has gone"):
        list(of_it.examples())


def test_a_store_out_of_reach_says_so(state: State, storage: Any) -> None:
    """Whatever the address is missing."""
    with pytest.raises(StoreError, match="bucket does not exist"):
        source("gs://other/images", state).fingerprint()
    storage.fault("list", 403)
    with pytest.raises(StoreError, match="403"):
        source("gs://b/images", state).fingerprint()
    with pytest.raises(DataError, match="there is no store 'ss3'"):
        source("ss3://b/images", state)


def test_an_image_that_is_too_large_is_not_fetched(
    images: Images, state: State, storage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its size is in the list."""
    monkeypatch.setattr("trainer.data.images.MAX_BYTES", 1000)
    copied(images("a/1.png", "b/2.png"), "gs://b/images")
    storage.put("images/b/bomb.png", b"x" * 1001)
    found = {example.path: example for example in source("gs://b/images", state).examples()}
    assert found["b/bomb.png"].problem
    assert storage.count("download", "bomb.png") == 0


def test_a_dataset_is_prepared_from_a_store(images: Images, state: State, address: str) -> None:
    """By the verb, like any other."""
    folder = images(*(f"{split}/{name}/{n}" for split in ("train", "val", "test") for name in "ab" for n in range(4)))
    data = Data(source=f"folder:{copied(folder, address)}")
    prepared = prepare(data, open_source(data, state).fingerprint().digest, state)
    assert prepared.counts == {"train": [4, 4], "validation": [4, 4], "test": [4, 4]}


def test_a_name_with_two_slashes_is_refused(state: State, storage: Any) -> None:
    """On a disk there is no folder without a name: one would pass for a class of its own."""
    for name in ("cat/1.png", "dog/1.png", "/owl/1.png"):
        storage.put(f"images/{name}", b"x")
    with pytest.raises(DataError, match="has two slashes"):
        source("gs://b/images", state).fingerprint()
