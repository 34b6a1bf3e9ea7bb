"""Prepared datasets in a store: whole or not at all, sent once, the first of two wins."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer import sharing
from trainer.data.prepared import open_prepared
from trainer.errors import StateError, StoreError
from trainer.prepare import prepare
from trainer.sharing import datasets
from trainer.state import State
from trainer.storage import place, transfers

RUINS = ("cut", "changed", "document")


def images(state: State, fingerprint: str) -> Any:
    split = sharing.opened_dataset(state, fingerprint).split("train")
    return split.images(np.arange(len(split)))


def test_a_dataset_is_prepared_once_and_read_anywhere(store: str, pod: Any, digits: Any) -> None:
    """The second machine neither prepares nor, until it reads, fetches; what it reads is equal."""
    one, other = pod(), pod()
    made = prepare(digits.recipe().data, digits.fingerprint, one)
    found = prepare(digits.recipe().data, digits.fingerprint, other)
    assert (found.counts, found.identity_digests) == (made.counts, made.identity_digests)
    assert not (other.data(digits.fingerprint) / "manifest.json").exists()
    assert np.array_equal(images(other, digits.fingerprint), images(one, digits.fingerprint))
    assert [path.name for path in (other.root / "data").iterdir() if path.is_dir()] == [digits.fingerprint]
    assert sharing.has_dataset(other, digits.fingerprint)
    names = sorted(name.split("/", 2)[2].partition("/")[2] or name.split("/", 2)[2] for name in place(store).names())
    assert names == ["dataset.json", "manifest.json"] + [
        f"{split}/{file}" for split in ("test", "train", "validation") for file in ("examples.parquet", "images.npy")
    ]


def test_the_document_comes_last(bucket: Any, pod: Any, digits: Any) -> None:
    """So a sending that is cut leaves nothing that looks whole, and the next sends all anew."""
    one = pod()
    digits.into(one)
    bucket.fault("upload", 403, ending="images.npy")
    with pytest.raises(StoreError):
        sharing.send_dataset(one, digits.fingerprint)
    assert "dataset.json" not in "".join(bucket.names())
    assert sharing.known_manifest(one, digits.fingerprint) is None
    sharing.send_dataset(one, digits.fingerprint)
    uploads = [name.rpartition("/")[2] for operation, name in bucket.asked if operation == "upload"]
    assert uploads[-1] == "dataset.json"
    assert sharing.known_manifest(one, digits.fingerprint) is not None


def test_of_two_that_send_at_once_the_first_wins(bucket: Any, pod: Any, digits: Any) -> None:
    """The other removes what it has sent; both read the same afterwards."""
    pods = [pod(), pod(), pod()]
    for one in pods:
        digits.into(one)
    senders = [threading.Thread(target=sharing.send_dataset, args=(one, digits.fingerprint)) for one in pods]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert len(bucket.names()) == 1 + 1 + 2 * 3
    assert sharing.has_dataset(pods[0], digits.fingerprint)


@pytest.mark.parametrize("ruin", ["gone", *(pytest.param(ruin, marks=pytest.mark.slow) for ruin in RUINS)])
def test_a_dataset_that_lost_a_file_is_prepared_again(ruin: str, bucket: Any, pod: Any, digits: Any) -> None:
    """A bucket may be told to remove what is old: what is no longer whole there counts as absent, and is replaced."""
    one, other = pod(), pod()
    digits.into(one)
    sharing.send_dataset(one, digits.fingerprint)
    [victim] = [name for name in bucket.names() if name.endswith("train/images.npy")]
    [document] = [name for name in bucket.names() if name.endswith("dataset.json")]
    content = bucket.objects["b", victim].content
    if ruin == "gone":
        del bucket.objects["b", victim]
    elif ruin == "cut":
        bucket.put(victim, content[:-1])
    elif ruin == "changed":
        bucket.put(victim, bytes([content[0] ^ 1]) + content[1:])
    else:
        bucket.put(document, b"{}")
    assert not sharing.has_dataset(other, digits.fingerprint)
    with pytest.raises(StateError, match="There is no prepared dataset"):
        sharing.opened_dataset(other, digits.fingerprint)
    prepare(digits.recipe().data, digits.fingerprint, other)
    assert sharing.has_dataset(one, digits.fingerprint)
    assert np.array_equal(images(pod(), digits.fingerprint), images(one, digits.fingerprint))


def test_a_dataset_comes_through_faults(bucket: Any, pod: Any, digits: Any) -> None:
    """429, 503, connections lost in the middle, damage on the way: each costs a retry."""
    one, other = pod(), pod()
    digits.into(one)
    for action in (429, 503, "drop", "lose"):
        bucket.fault("upload", action, times=2)
    sharing.send_dataset(one, digits.fingerprint)
    for action in (429, 503, "drop", "truncate", "corrupt"):
        bucket.fault("download", action, times=2)
    bucket.fault("list", 503)
    assert np.array_equal(images(other, digits.fingerprint), images(one, digits.fingerprint))


def test_a_fetch_that_is_cut_leaves_nothing_that_looks_whole(bucket: Any, pod: Any, digits: Any) -> None:
    """And nothing beside."""
    one, other = pod(), pod()
    digits.into(one)
    sharing.send_dataset(one, digits.fingerprint)
    bucket.fault("download", 403, ending="test/images.npy")
    with pytest.raises(StoreError, match="403"):
        sharing.opened_dataset(other, digits.fingerprint)
    left = [path for path in (other.root / "data").rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert left == []
    assert open_prepared(sharing.opened_dataset(other, digits.fingerprint).path)


def test_what_a_killed_fetch_left_goes(bucket: Any, pod: Any, digits: Any) -> None:
    """A state folder may outlive many of them, and each leaves a dataset's size."""
    one, other = pod(), pod()
    digits.into(one)
    sharing.send_dataset(one, digits.fingerprint)
    (other.root / "data" / f".{digits.fingerprint}.abc" / "data").mkdir(parents=True)
    sharing.opened_dataset(other, digits.fingerprint)
    assert [path.name for path in (other.root / "data").iterdir() if path.is_dir()] == [digits.fingerprint]


def test_a_dataset_of_another_format_is_replaced(bucket: Any, pod: Any, digits: Any) -> None:
    """Its images have the same fingerprint in every version of this project."""
    one, other = pod(), pod()
    digits.into(one)
    manifest = one.data(digits.fingerprint) / "manifest.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.data.prepared.FORMAT", 1)
        whole = manifest.read_text()
        manifest.write_text(whole.replace('"format":2', '"format":1').replace('"format": 2', '"format": 1'))
        sharing.send_dataset(one, digits.fingerprint)
        manifest.write_text(whole)
    assert sharing.known_manifest(other, digits.fingerprint) is None
    sharing.send_dataset(one, digits.fingerprint)
    assert sharing.known_manifest(other, digits.fingerprint) is not None
    sharing.opened_dataset(other, digits.fingerprint)


def test_a_disk_without_room_is_seen_first(bucket: Any, pod: Any, digits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the images is fetched."""
    digits.into(one := pod())
    sharing.send_dataset(one, digits.fingerprint)
    monkeypatch.setattr(transfers, "SPARE_BYTES", 1 << 60)
    before = bucket.count("download", "images.npy")
    with pytest.raises(StateError, match="GB are to be fetched into"):
        sharing.opened_dataset(pod(), digits.fingerprint)
    assert bucket.count("download", "images.npy") == before


def test_damage_in_a_store_without_checksums_is_found(pod: Any, digits: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """The document has the sender's own, whatever the store knows."""
    monkeypatch.setenv("INCEPTION_STORE", f"memory://{tmp_path.name}")
    digits.into(one := pod())
    sharing.send_dataset(one, digits.fingerprint)
    store = place(f"memory://{tmp_path.name}")
    [victim] = [name for name in store.names() if name.endswith("train/images.npy")]
    content = store.read(victim)
    store.write(victim, content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(StoreError, match=r"images\.npy is damaged: it was sent with another checksum") as caught:
        sharing.opened_dataset(pod(), digits.fingerprint)
    assert f"Remove memory://{tmp_path.name}/data/{digits.fingerprint}" in caught.value.remedy


def test_a_dataset_of_the_state_folder_is_not_fetched(bucket: Any, pod: Any, digits: Any) -> None:
    """It is sent, where the store has none yet."""
    digits.into(one := pod())
    prepare(digits.recipe().data, digits.fingerprint, one)
    assert datasets.find(place("gs://b/team"), digits.fingerprint) is not None
    sharing.opened_dataset(one, digits.fingerprint)
    assert bucket.count("download", "images.npy") == 0


@pytest.mark.parametrize(("key", "value"), [("id", "../../../etc"), ("name", "../../x.json"), ("fingerprint", "other")])
def test_a_document_that_leads_elsewhere_is_none(key: str, value: str, bucket: Any, pod: Any, digits: Any) -> None:
    """Names are looked at before anything is fetched."""
    digits.into(one := pod())
    sharing.send_dataset(one, digits.fingerprint)
    [document] = [name for name in bucket.names() if name.endswith("dataset.json")]
    held = json.loads(bucket.objects["b", document].content)
    if key == "name":
        held["files"][0][key] = value
    else:
        held[key] = value
    bucket.put(document, json.dumps(held).encode())
    assert not sharing.has_dataset(pod(), digits.fingerprint)
