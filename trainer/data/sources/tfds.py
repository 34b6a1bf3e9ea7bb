"""Datasets in the form of TensorFlow Datasets: `tfds:<name>[/<config>][:<version>]`.

With `data.data_dir`, the prepared dataset that lies there; without, TFDS downloads into the state folder when the
examples are asked for. Finding out what there is reads file names only and needs no TFDS, save for the newest version
of a dataset that is still to be downloaded.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from trainer import events
from trainer.config import Data
from trainer.data.digests import FileFact, digests
from trainer.data.sources.base import RawExample, SourceIdentity, identify
from trainer.data.splits import OFFICIAL_NAMES
from trainer.errors import DataError, InceptionError, nearest
from trainer.state import State, reported, storage_error

INFO = "dataset_info.json"
VERSION = re.compile(r"\d+\.\d+\.\d+")
ADDRESS = re.compile(r"(?P<name>\w+)(/(?P<config>[\w.-]+))?(:(?P<version>\d+\.\d+\.\d+))?")
READ_FIRST = ("test", "validation", "train")
FETCHED = 16
"""Encoded images taken from TensorFlow at a time: each call costs as much as decoding a small one."""


@dataclass(frozen=True, slots=True)
class Address:
    name: str
    config: str | None
    version: str | None

    @classmethod
    def parse(cls, text: str) -> Address:
        """Errors: DataError."""
        match = ADDRESS.fullmatch(text)
        if match is None:
            raise DataError(
                f"tfds:{text} is not the address of a dataset.",
                "Write tfds:<name>[/<config>][:<version>], as in tfds:cifar10 or tfds:cifar10:3.0.2.",
            )
        return cls(match["name"], match["config"], match["version"])

    def __str__(self) -> str:
        config = f"/{self.config}" if self.config else ""
        version = f":{self.version}" if self.version else ""
        return f"tfds:{self.name}{config}{version}"

    @property
    def facts(self) -> tuple[str, ...]:
        return ("tfds", self.name, self.config or "", self.version or "")


class TfdsSource:
    def __init__(self, data: Data, address: str, state: State) -> None:
        self._data = data
        self._given = Address.parse(address)
        self._state = state

    def fingerprint(self) -> SourceIdentity:
        if self._data.data_dir is None:
            address = self._to_download
            return identify(self._data, [address.facts], {"address": str(address)})
        address, folder = self._found
        # The two JSON files say things about the dataset that change with TFDS itself.
        with reported(folder):
            files = [FileFact.of(path) for path in sorted(folder.iterdir()) if _is_content(path)]
        holds: list[tuple[str | int, ...]] = [address.facts]
        for file, digest in zip(files, digests(files, self._state.digests), strict=True):
            holds.append((Path(file.path).name, file.size, digest))
        summary: dict[str, str | int] = {
            "address": str(address),
            "files": len(files),
            "bytes": sum(file.size for file in files),
        }
        return identify(self._data, holds, summary)

    def classes(self) -> list[str]:
        _, label = self._keys
        return list(self._builder.info.features[label].names)

    def total(self) -> int | None:
        return sum(self._builder.info.splits[name].num_examples for _, name in self._splits)

    def examples(self) -> Iterator[RawExample]:
        import tensorflow_datasets as tfds

        image, label = self._keys
        for split, name in self._splits:
            examples = self._builder.as_dataset(
                split=name,
                shuffle_files=False,
                decoders=tfds.decode.PartialDecoding(
                    {image: True, label: True}, decoders={image: tfds.decode.SkipDecoding()}
                ),
                # One file after the other: the order repeats, and nothing is kept in memory.
                read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
            )
            index = 0
            for batch in examples.batch(FETCHED).as_numpy_iterator():
                for payload, number in zip(batch[image], batch[label], strict=True):
                    yield RawExample(f"{name}[{index}]", int(number), split, payload)
                    index += 1

    # ------------------------------------------------------------------ what is there

    @cached_property
    def _found(self) -> tuple[Address, Path]:
        """The full address and the folder of the prepared dataset below `data_dir`. Errors: DataError."""
        given, root = self._given, Path(self._data.data_dir or "").expanduser()
        if not root.is_dir():
            raise DataError(f"data.data_dir {str(root)!r} is not a folder.", "Mend the path of the prepared data.")
        names = [path.name for path in _folders(root) if any(path.rglob(INFO))]
        if given.name not in names:
            raise DataError(f"{root} holds no prepared dataset {given.name!r}.", nearest(given.name, names))
        folder = root / given.name
        configs = [path.name for path in _folders(folder) if _versions(path)]
        if given.config is None and not _versions(folder) and len(configs) == 1:
            given = replace(given, config=configs[0])
        if given.config is not None:
            if given.config not in configs:
                raise DataError(f"{folder} holds no config {given.config!r}.", nearest(given.config, configs))
            folder = folder / given.config
        versions = _versions(folder)
        if not versions:
            raise DataError(f"{folder} holds several configs.", f"Choose one of {', '.join(configs)}: {given}/<config>.")
        version = given.version or versions[-1]
        if version not in versions:
            raise DataError(f"{folder} holds no version {version}.", f"It holds {', '.join(versions)}.")
        return replace(given, version=version), folder / version

    @cached_property
    def _to_download(self) -> Address:
        """The full address of a dataset that TFDS knows how to get. Errors: DataError."""
        given = self._given
        try:
            import tensorflow_datasets as tfds
        except ImportError:
            if given.version:
                return given
            raise DataError(
                f"The newest version of {given} is not known here, where TensorFlow Datasets is not installed.",
                f"Say which: {given}:<version>.",
            ) from None
        try:
            code = tfds.builder_cls(given.name)
        except tfds.core.DatasetNotFoundError:
            known = tfds.list_builders(with_community_datasets=False)
            raise DataError(f"TensorFlow Datasets has no dataset {given.name!r}.", nearest(given.name, known)) from None
        configs = {config.name: config for config in code.BUILDER_CONFIGS}
        name = given.config or next(iter(configs), None)
        if name is not None and name not in configs:
            raise DataError(f"The dataset {given.name} has no config {name!r}.", nearest(name, configs))
        newest = (name and configs[name].version) or code.VERSION
        return Address(given.name, name, given.version or str(newest))

    # ------------------------------------------------------------------ through TFDS

    @cached_property
    def _builder(self) -> Any:
        """A builder whose dataset is prepared and has images with labels. Errors: DataError, StateError."""
        try:
            import tensorflow_datasets  # noqa: F401
        except ImportError:
            raise DataError(
                "Reading this source needs TensorFlow Datasets, which is not installed here.",
                "Install the training requirements: pip install 'inception-retrain[train]'.",
            ) from None
        if self._data.data_dir is None:
            return self._downloaded()
        address, folder = self._found
        return _from_folder(address, folder)

    def _downloaded(self) -> Any:
        import tensorflow_datasets as tfds

        address = self._to_download
        folder = self._state.tfds.joinpath(*address.facts[1:])
        if not (folder / INFO).is_file():
            events.note(f"downloading {address} into {self._state.tfds}")
            try:
                code = tfds.builder_cls(address.name)
                builder = code(data_dir=str(self._state.tfds), config=address.config, version=address.version)
                builder.download_and_prepare(download_dir=str(self._state.tfds / "downloads"))
            except InceptionError:
                raise
            except OSError as error:
                if error.errno is not None and error.filename is not None:
                    raise storage_error(error, self._state.tfds) from error
                raise _no_download(address, error) from error
            except Exception as error:  # whatever the dataset's own code and its servers come up with
                raise _no_download(address, error) from error
        return _from_folder(address, folder)

    @cached_property
    def _keys(self) -> tuple[str, str]:
        """Names of the features that hold image and label. Errors: DataError."""
        import numpy as np
        import tensorflow_datasets as tfds

        info = self._builder.info
        keys = info.supervised_keys
        features = [info.features[key] for key in keys or () if isinstance(key, str)]
        if (
            len(features) != 2
            or type(features[0]) is not tfds.features.Image
            or not isinstance(features[1], tfds.features.ClassLabel)
        ):
            raise DataError(
                f"{self._given} is not made for image classification: its features are {', '.join(info.features)}, "
                f"its supervised keys {keys}.",
                "Choose a dataset with one image and one class label per example.",
            )
        pixels = np.dtype(features[0].np_dtype).name
        if pixels != "uint8":
            raise DataError(f"The pixels of {self._given} are {pixels}.", "Choose a dataset with uint8 images.")
        return keys

    @cached_property
    def _splits(self) -> list[tuple[str, str]]:
        """(ours, theirs) for the splits that are used. Errors: DataError."""
        theirs = list(self._builder.info.splits)
        known = {OFFICIAL_NAMES[name]: name for name in theirs if name in OFFICIAL_NAMES}
        if "train" not in known:
            raise DataError(
                f"{self._given} has no train split: it has {', '.join(theirs) or 'none'}.", "Choose another dataset."
            )
        return [(split, known[split]) for split in READ_FIRST if split in known]


def _from_folder(address: Address, folder: Path) -> Any:
    """A builder of the prepared dataset in a folder; it downloads nothing.

    The dataset's code is asked first, because it may know class names that the folder does not.
    """
    import tensorflow_datasets as tfds

    root = folder.parents[2 if address.config else 1]
    try:
        return tfds.builder_cls(address.name)(data_dir=str(root), config=address.config, version=address.version)
    except (tfds.core.DatasetNotFoundError, AssertionError, ValueError):  # no code for it, or not for this version
        pass
    try:
        return tfds.builder_from_directory(str(folder))
    except Exception as error:  # it parses what it finds, and raises what the parser raises
        raise DataError(
            f"{folder} is not a prepared dataset that TensorFlow Datasets can read: {error}.",
            "Prepare it again with tfds build, or point data.data_dir elsewhere.",
        ) from error


def _no_download(address: Address, error: Exception) -> DataError:
    return DataError(
        f"{address} could not be downloaded: {type(error).__name__}: {error}.",
        "See to the network and run again, or prepare it elsewhere (tfds build) and set data.data_dir to where it is.",
    )


def _folders(folder: Path) -> list[Path]:
    with reported(folder):
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _versions(folder: Path) -> list[str]:
    """Versions of a prepared dataset, oldest first."""
    found = [path.name for path in _folders(folder) if VERSION.fullmatch(path.name) and (path / INFO).is_file()]
    return sorted(found, key=lambda version: tuple(map(int, version.split("."))))


def _is_content(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and path.suffix != ".json" and os.access(path, os.R_OK)
