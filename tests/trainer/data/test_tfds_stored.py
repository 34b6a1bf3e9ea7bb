"""A prepared dataset of TFDS in a store, fetched into the cache of a state folder."""

from __future__ import annotations

from typing import Any

from trainer.data.sources.tfds_address import Address
from trainer.data.sources.tfds_stored import StoredDataset
from trainer.state import State


def test_what_a_killed_fetch_left_goes(storage: Any, state: State) -> None:
    """Each leaves as much as the dataset's size."""
    for name in ("dataset_info.json", "tiny-train.tfrecord-00000-of-00001"):
        storage.put(f"tfds/tiny/1.0.0/{name}", b"{}")
    folder = StoredDataset(Address.parse("tiny:1.0.0"), "gs://b/tfds").fetched(state)
    held = state.cache / "tfds" / folder.relative_to(state.cache / "tfds").parts[0]
    (held.parent / f".{held.name}.abc").mkdir()
    held.rename(held.parent / "another")
    assert StoredDataset(Address.parse("tiny:1.0.0"), "gs://b/tfds").fetched(state) == folder
    assert {path.name for path in held.parent.iterdir() if path.is_dir()} == {held.name, "another"}
