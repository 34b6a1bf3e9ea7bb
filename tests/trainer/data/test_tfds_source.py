"""The `tfds:` source, on a small dataset that TFDS itself writes here, and on the real CIFAR-10 where it is at hand."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trainer.config import Data
from trainer.data.sources import Source, open_source
from trainer.data.sources.tfds_address import Address
from trainer.errors import DataError
from trainer.state import State
from trainer.storage import place

tfds = pytest.importorskip("tensorflow_datasets")

SHARED = Path(__file__).resolve().parents[3] / ".." / "shared" / "data" / "tfds"
COLOURS = ("red", "green", "blue")


def pixels(index: int) -> Any:
    return np.random.default_rng(index).integers(0, 256, (10, 14, 3), dtype=np.uint8)


class TinyColours(tfds.core.GeneratorBasedBuilder):  # type: ignore[misc]
    """Images whose class is a name."""

    VERSION = tfds.core.Version("1.10.0")

    def _info(self) -> Any:
        features = {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "label": tfds.features.ClassLabel(names=COLOURS),
        }
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features), supervised_keys=("image", "label")
        )

    def _split_generators(self, dl_manager: Any) -> Any:
        return {"train": self._generate_examples(0, 40), "test": self._generate_examples(40, 52)}

    def _generate_examples(self, *args: Any) -> Iterator[tuple[int, dict[str, Any]]]:
        for index in range(*args):
            yield index, {"image": pixels(index), "label": COLOURS[index % 3]}


class TinyTexts(TinyColours):
    """A dataset of another kind."""

    def _info(self) -> Any:
        features = {"text": tfds.features.Text(), "label": tfds.features.ClassLabel(names=COLOURS)}
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features), supervised_keys=("text", "label")
        )

    def _generate_examples(self, *args: Any) -> Iterator[tuple[int, dict[str, Any]]]:
        for index in range(*args):
            yield index, {"text": f"text {index}", "label": COLOURS[index % 3]}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data_dir with a dataset in two versions and one that holds texts."""
    root = tmp_path_factory.mktemp("prepared")
    for builder in (TinyColours, TinyTexts):
        builder(data_dir=str(root)).download_and_prepare()
    earlier = shutil.copytree(root / "tiny_colours" / "1.10.0", root / "tiny_colours" / "1.9.0")
    info = earlier / "dataset_info.json"
    info.write_text(info.read_text().replace("1.10.0", "1.9.0"))
    return root


def source(address: str, state: State, data_dir: Path | None = None) -> Source:
    return open_source(Data(source=f"tfds:{address}", data_dir=str(data_dir) if data_dir else None), state)


def test_encoded_images_come_with_their_labels_and_splits(prepared: Path, state: State) -> None:
    """Test examples first, then train; each payload decodes to exactly the pixels that were put in."""
    of_it = source("tiny_colours", state, prepared)
    assert of_it.classes() == list(COLOURS)
    assert of_it.total() == 52
    examples = list(of_it.examples())
    assert [e.split for e in examples] == ["test"] * 12 + ["train"] * 40
    assert len({e.path for e in examples}) == 52
    read = Counter((e.split, e.label, Image.open(io.BytesIO(e.payload)).tobytes()) for e in examples)
    put = Counter(("train" if i < 40 else "test", i % 3, pixels(i).tobytes()) for i in range(52))
    assert read == put
    assert [e.path for e in of_it.examples()] == [e.path for e in examples]
    assert [e.payload for e in source("tiny_colours", state, prepared).examples()] == [e.payload for e in examples]


@pytest.mark.parametrize(("address", "version"), [("tiny_colours", "1.10.0"), ("tiny_colours:1.9.0", "1.9.0")])
def test_the_newest_version_is_taken_unless_one_is_given(
    address: str, version: str, prepared: Path, state: State
) -> None:
    """1.10 is newer than 1.9, and a pinned version is the one that is read."""
    identity = source(address, state, prepared).fingerprint()
    assert identity.summary["address"] == f"tfds:tiny_colours:{version}"
    assert identity.digest != source("tiny_texts", state, prepared).fingerprint().digest


def test_the_digest_is_of_the_contents_wherever_they_lie(prepared: Path, state: State, tmp_path: Path) -> None:
    """A copy has the same digest; a shard with one changed byte has not; a reworded description changes nothing."""
    before = source("tiny_colours", state, prepared).fingerprint().digest
    shutil.copytree(prepared, tmp_path / "copy")
    version = tmp_path / "copy" / "tiny_colours" / "1.10.0"
    info = version / "dataset_info.json"
    info.write_text(info.read_text().replace('"name"', ' "name"'))
    assert source("tiny_colours", state, tmp_path / "copy").fingerprint().digest == before
    shard = next(version.glob("*train*"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(bytes(content))
    assert source("tiny_colours", state, tmp_path / "copy").fingerprint().digest != before


@pytest.mark.parametrize("address", ["gs://b/tfds", "memory://{}/tfds"])
def test_prepared_data_may_lie_in_a_store(
    address: str, prepared: Path, state: State, tmp_path: Path, storage: Any
) -> None:
    """Known by one list, without a download; fetched once, through faults, and read as from a disk."""
    there = place(address.format(tmp_path.name))
    for path in prepared.rglob("*"):
        if path.is_file():
            there.put(path.relative_to(prepared).as_posix(), path)
    of_it = open_source(Data(source="tfds:tiny_colours", data_dir=there.address), state)
    identity = of_it.fingerprint()
    here = source("tiny_colours", state, prepared)
    assert identity.summary == here.fingerprint().summary
    assert storage.count("download") == 0
    for action in (429, "drop", "truncate", "corrupt"):
        storage.fault("download", action)
    assert list(of_it.examples()) == list(here.examples())
    fetched = storage.count("download")
    again = open_source(Data(source="tfds:tiny_colours:1.10.0", data_dir=there.address), state)
    assert again.fingerprint() == identity
    assert again.total() == 52
    assert storage.count("download") == fetched
    with pytest.raises(DataError, match=r"holds no prepared dataset 'tiny_colour'") as caught:
        open_source(Data(source="tfds:tiny_colour", data_dir=there.address), state).fingerprint()
    assert "tiny_colours" in caught.value.remedy


def test_without_a_data_dir_it_is_made_in_the_state_folder_and_keeps_its_identity(state: State) -> None:
    """The digest before the download is the digest after it; the data lies in the state folder."""
    of_it = source("tiny_colours", state)
    before = of_it.fingerprint()
    assert not state.tfds.exists()
    assert len(list(of_it.examples())) == 52
    assert (state.tfds / "tiny_colours" / "1.10.0" / "dataset_info.json").is_file()
    assert source("tiny_colours", state).fingerprint() == before == of_it.fingerprint()
    assert before.summary["address"] == "tfds:tiny_colours:1.10.0"
    assert source("tiny_colours:1.9.0", state).fingerprint().digest != before.digest


def test_a_failed_download_says_so(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the servers come up with ends as one message with the way out."""

    def unreachable(*_: Any) -> Any:
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr(TinyColours, "_split_generators", unreachable)
    with pytest.raises(DataError, match=r"could not be downloaded: .*Name or service not known") as caught:
        list(source("tiny_colours", state).examples())
    assert "data.data_dir" in caught.value.remedy


WRONG: dict[str, tuple[str, bool, str, str]] = {
    "unknown to TFDS": ("cifar1", False, "no dataset 'cifar1'", "Did you mean 'cifar10'?"),
    "unknown config": ("cifar10_corrupted/fogg_1", False, "no config 'fogg_1'", "Did you mean 'fog_1'?"),
    "not in the data_dir": ("tiny_colors", True, "no prepared dataset 'tiny_colors'", "Did you mean 'tiny_colours'?"),
    "version not there": ("tiny_colours:1.2.3", True, "no version 1.2.3", "1.9.0, 1.10.0"),
    "config not there": ("tiny_colours/big", True, "no config 'big'", ""),
    "texts": ("tiny_texts", True, "not made for image classification: its features are .*text", "one image"),
    "nonsense": ("a b:c", True, "not the address", "tfds:cifar10:3.0.2"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_cannot_be_used_says_what_there_is(wrong: str, prepared: Path, state: State) -> None:
    """An unknown name, config or version, and a dataset of another kind, name the nearest that would do."""
    address, in_data_dir, message, remedy = WRONG[wrong]

    def use() -> None:
        of_it = source(address, state, prepared if in_data_dir else None)
        of_it.fingerprint()
        of_it.classes()

    with pytest.raises(DataError, match=message) as caught:
        use()
    assert remedy in caught.value.remedy


def test_a_data_dir_that_is_not_there_is_an_error(state: State, tmp_path: Path) -> None:
    """A mistyped data_dir never turns into a download."""
    with pytest.raises(DataError, match="is not a folder"):
        source("cifar10", state, tmp_path / "nowhere").fingerprint()


def test_several_configs_need_a_choice(prepared: Path, state: State, tmp_path: Path) -> None:
    """One config is taken as it is; of several, one must be named."""
    for config in ("large", "small"):
        shutil.copytree(prepared / "tiny_colours" / "1.9.0", tmp_path / "d" / "shapes" / config / "1.0.0")
    with pytest.raises(DataError, match="several configs: large, small"):
        source("shapes", state, tmp_path / "d").fingerprint()
    assert source("shapes/small", state, tmp_path / "d").fingerprint().summary["address"] == "tfds:shapes/small:1.0.0"
    shutil.rmtree(tmp_path / "d" / "shapes" / "large")
    assert source("shapes", state, tmp_path / "d").fingerprint().summary["address"] == "tfds:shapes/small:1.0.0"


@pytest.mark.parametrize("spoil", ["cut", "garbage", "no features"])
def test_a_damaged_dataset_is_a_data_error(spoil: str, prepared: Path, state: State, tmp_path: Path) -> None:
    """A truncated shard, a garbled one and a missing description end in one message that says what to do."""
    version = tmp_path / "d" / "tiny_colours" / "1.10.0"
    shutil.copytree(prepared / "tiny_colours" / "1.10.0", version)
    shard = next(version.glob("*train*"))
    content = shard.read_bytes()
    if spoil == "cut":
        shard.write_bytes(content[: len(content) // 2])
    elif spoil == "garbage":
        shard.write_bytes(content[:1000] + b"\0" * 500 + content[1500:])
    else:
        (version / "features.json").unlink()
    with pytest.raises(DataError) as caught:
        list(source("tiny_colours", state, tmp_path / "d").examples())
    assert "repare" in caught.value.remedy


def test_reading_prepared_data_writes_nothing(prepared: Path, tmp_path: Path) -> None:
    """In a process that does not know the dataset's code, nothing is written to home, data_dir or anywhere near."""
    code = (
        "import sys; from trainer.config import Data; from trainer.data.sources import open_source;"
        "from trainer.state import State;"
        "source = open_source(Data(source='tfds:tiny_colours', data_dir=sys.argv[1]), State.open(sys.argv[2]));"
        "source.fingerprint(); print(source.classes(), len(list(source.examples())))"
    )
    home = tmp_path / "home"
    home.mkdir()
    before = {path: path.stat().st_mtime_ns for path in prepared.rglob("*")}
    # Where Keras and matplotlib keep their own settings is the step's business; see trainer.steps.
    other = {"KERAS_HOME": str(tmp_path / "keras"), "MPLCONFIGDIR": str(tmp_path / "matplotlib")}
    run = subprocess.run(
        [sys.executable, "-c", code, str(prepared), str(tmp_path / "state")],
        env={**os.environ, **other, "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == f"{list(COLOURS)} 52"
    assert {path: path.stat().st_mtime_ns for path in prepared.rglob("*")} == before
    assert list(home.rglob("*")) == []
    assert {p.name for p in (tmp_path / "state").rglob("*") if p.is_file()} == {"digests.db"}


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data folder with the real CIFAR-10 is not here")
def test_the_real_cifar10_is_read(state: State) -> None:
    """CIFAR-10 as TFDS stores it: 60,000 images, ten classes, test examples first."""
    of_it = source("cifar10", state, SHARED)
    assert of_it.total() == 60_000
    assert len(of_it.classes()) == 10
    assert of_it.fingerprint().summary["address"] == "tfds:cifar10:3.0.2"
    for example in islice(of_it.examples(), 20):
        assert example.split == "test"
        assert Image.open(io.BytesIO(example.payload)).size == (32, 32)


@pytest.mark.parametrize("text", ["cifar10", "cifar10:3.0.2", "cifar10_corrupted/fog_1", "a/b-c.d:1.2.3"])
def test_an_address_is_read_and_written_alike(text: str) -> None:
    """Name, config and version of an address come back as they were written."""
    assert str(Address.parse(text)) == f"tfds:{text}"
