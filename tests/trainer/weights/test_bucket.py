"""Weights in a bucket, fetched by Google's own client from a server of the storage API's form."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from trainer.errors import WeightsError
from trainer.storage import place
from trainer.weights import bucket
from trainer.weights.obtaining import obtain
from trainer.weights.published import find

CONTENT = b"of a network" * 500


def test_an_object_is_fetched_once(storage: Any, tmp_path: Path) -> None:
    """As long as the bucket holds the same content."""
    storage.put("w/a.h5", CONTENT)
    first = bucket.fetch("gs://b/w/a.h5", tmp_path)
    assert first.name == "a.h5"
    assert first.read_bytes() == CONTENT
    assert bucket.fetch("gs://b/w/a.h5", tmp_path) == first
    assert storage.count("download") == 1


def test_a_new_content_is_fetched_again(storage: Any, tmp_path: Path) -> None:
    """What is in the bucket now is what the training begins with."""
    storage.put("a.h5", CONTENT)
    bucket.fetch("gs://b/a.h5", tmp_path)
    storage.put("a.h5", CONTENT[::-1])
    assert bucket.fetch("gs://b/a.h5", tmp_path).read_bytes() == CONTENT[::-1]


def test_a_damaged_copy_is_fetched_again(storage: Any, tmp_path: Path) -> None:
    """Its checksum was remembered beside it."""
    storage.put("a.h5", CONTENT)
    path = bucket.fetch("gs://b/a.h5", tmp_path)
    path.write_bytes(CONTENT[:-1])
    assert bucket.fetch("gs://b/a.h5", tmp_path).read_bytes() == CONTENT
    assert storage.count("download") == 2


def test_a_prefix_brings_the_files_of_a_checkpoint(storage: Any, tmp_path: Path) -> None:
    """Its index and its data; not its graph, nor another checkpoint whose name begins alike."""
    parts = ("m.ckpt.index", "m.ckpt.data-00000-of-00001")
    for name in (*parts, "m.ckpt.meta", "m.ckpt-2.index"):
        storage.put(f"w/{name}", CONTENT + name.encode())
    obtained = obtain(find("inception_v3", "slim"), "gs://b/w/m.ckpt", True, tmp_path)
    assert [name for asked, name in storage.asked if asked == "download"] == sorted(f"w/{name}" for name in parts)
    assert obtained.path.name == "m.ckpt"
    assert obtained.source == "gs://b/w/m.ckpt"
    whole = b"".join(CONTENT + name.encode() for name in parts)
    assert obtained.sha256 == hashlib.sha256(whole).hexdigest()


def test_no_part_of_a_checkpoint_leads_out_of_the_cache(storage: Any, tmp_path: Path) -> None:
    """Whoever may write objects may not write other files."""
    storage.put("w/m.ckpt.index", CONTENT)
    storage.put("w/m.ckpt.data-0/../../../evil", CONTENT)
    bucket.fetch("gs://b/w/m.ckpt", tmp_path / "cache")
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
    assert list(tmp_path.rglob("evil")) == []


def test_the_same_name_elsewhere_is_another_file(storage: Any, tmp_path: Path) -> None:
    """Copies of two objects do not overwrite each other."""
    for folder in "xy":
        storage.put(f"{folder}/a.h5", folder.encode())
    copies = [bucket.fetch(f"gs://b/{folder}/a.h5", tmp_path) for folder in "xy"]
    assert [copy.read_bytes() for copy in copies] == [b"x", b"y"]


def test_a_download_that_arrives_damaged_is_refused(storage: Any, tmp_path: Path) -> None:
    """Checksums are compared, and it is asked for again; nothing is left under the file's name."""
    storage.put("a.h5", CONTENT)
    storage.fault("download", "corrupt", times=9)
    with pytest.raises(WeightsError, match=r"gs://b/a.h5 cannot be used: Checksum mismatch"):
        bucket.fetch("gs://b/a.h5", tmp_path)
    assert not list(tmp_path.rglob("a.h5"))


def test_another_store_will_do(tmp_path: Path) -> None:
    """Whatever fsspec knows; a store whose package is missing says which."""
    there = place(f"memory://{tmp_path.name}/w")
    there.write("a.h5", CONTENT)
    assert bucket.fetch(f"{there.address}/a.h5", tmp_path).read_bytes() == CONTENT
    there.write("a.h5", CONTENT[::-1])
    assert bucket.fetch(f"{there.address}/a.h5", tmp_path).read_bytes() == CONTENT[::-1]
    with pytest.raises(WeightsError, match="there is no store 's33'"):
        bucket.fetch("s33://b/a.h5", tmp_path)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("gs://b/none.h5", "nothing at gs://b/none.h5"),
        ("gs://other/a.h5", "gs://other/a.h5 cannot be used: 404"),
        ("gs://b", "Received the address 'gs://b'"),
        ("gs://b/folder/", "Received the address 'gs://b/folder/'"),
    ],
)
def test_an_address_that_leads_nowhere_is_refused(storage: Any, tmp_path: Path, address: str, words: str) -> None:
    """With the address."""
    storage.put("a.h5", CONTENT)
    with pytest.raises(WeightsError, match=words):
        bucket.fetch(address, tmp_path)
