"""Datasets in the form of TensorFlow Datasets: `tfds:<name>[/<config>][:<version>]`.

With `data.data_dir`, the prepared dataset that lies there, be it in an object store; without, TFDS downloads into the
state folder when the examples are asked for. Either way the fingerprint imports no TensorFlow: what lies prepared is
known by its files, what is to be downloaded by its version, which TFDS never changes.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from trainer import events
from trainer.config import Data
from trainer.data.digests import FileFact, digests
from trainer.data.sources.base import RawExample, SourceIdentity, identify
from trainer.data.sources.tfds_address import INFO, Address, find
from trainer.data.sources.tfds_stored import StoredDataset
from trainer.data.splits import OFFICIAL_NAMES
from trainer.errors import DataError, nearest
from trainer.state import State, reported, storage_error

READ_FIRST = ("test", "validation", "train")
FEATURES, OWN = "features.json", "tensorflow_datasets."
CLASS_KEYS = {"pythonClassName", "python_class_name", "type"}
FETCHED = 16
"""Encoded images taken from TensorFlow at a time: each call costs as much as decoding a small one."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS)


class TfdsSource:
    def __init__(self, data: Data, address: str, state: State) -> None:
        self._data = data
        self._given = Address.parse(address)
        self._state = state

    def fingerprint(self) -> SourceIdentity:
        if self._data.data_dir is None:
            address = _to_download(self._given)
            return identify(self._data, [address.facts], {"address": str(address)})
        if "://" in self._data.data_dir:
            found = StoredDataset(self._given, self._data.data_dir)
            return identify(self._data, found.holds(), found.summary())
        address, folder = find(self._given, Path(self._data.data_dir).expanduser())
        # The JSON files describe the dataset in words that change with TFDS itself.
        with reported(folder):
            paths = sorted(path for path in folder.iterdir() if path.suffix != ".json" and path.name[0] != ".")
            files = [FileFact.of(path) for path in paths]
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
        return sum(int(self._builder.info.splits[name].num_examples) for _, name in self._splits)

    def examples(self) -> Iterator[RawExample]:
        import tensorflow as tf
        import tensorflow_datasets as tfds

        image, label = self._keys
        skip = tfds.decode.PartialDecoding({image: True, label: True}, decoders={image: tfds.decode.SkipDecoding()})
        # One file after the other: the order repeats, and nothing is kept in memory.
        config = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
        for split, name in self._splits:
            try:
                batches = self._builder.as_dataset(name, shuffle_files=False, decoders=skip, read_config=config)
                index = 0
                for batch in batches.batch(FETCHED).as_numpy_iterator():
                    for payload, number in zip(batch[image], batch[label], strict=True):
                        yield RawExample(f"{name}[{index}]", int(number), split, payload)
                        index += 1
            except tf.errors.OpError as error:
                raise DataError(
                    f"The {name} split of {self._given} cannot be read to its end: {error.message.splitlines()[0]}.",
                    "Its files are damaged or incomplete: prepare the dataset again.",
                ) from error

    @cached_property
    def _builder(self) -> Any:
        """A builder whose dataset is prepared. Errors: DataError, StateError."""
        try:
            import tensorflow_datasets  # noqa: F401
        except ImportError:
            raise DataError(
                "Reading this source needs TensorFlow Datasets, which is not installed here.",
                "Install the training requirements: pip install 'inception-retrain[train]'.",
            ) from None
        if self._data.data_dir is None:
            return _downloaded(_to_download(self._given), self._state.tfds)
        if "://" in self._data.data_dir:
            return _prepared(StoredDataset(self._given, self._data.data_dir).fetched(self._state))
        _, folder = find(self._given, Path(self._data.data_dir).expanduser())
        return _prepared(folder)

    @cached_property
    def _keys(self) -> tuple[str, str]:
        """Names of the features that hold image and label. Errors: DataError."""
        import numpy as np
        import tensorflow_datasets as tfds

        info = self._builder.info
        keys: tuple[Any, ...] = info.supervised_keys or ()
        features = [info.features[key] for key in keys if isinstance(key, str)]
        if [type(feature) for feature in features] != [tfds.features.Image, tfds.features.ClassLabel]:
            raise DataError(
                f"{self._given} is not made for image classification: its features are {', '.join(info.features)}, "
                f"supervised by {keys or 'none'}.",
                "Choose a dataset that has one image and one class label per example.",
            )
        pixels = np.dtype(features[0].np_dtype).name
        if pixels != "uint8":
            raise DataError(f"The pixels of {self._given} are {pixels}.", "Choose a dataset with uint8 images.")
        image, label = keys
        return str(image), str(label)

    @cached_property
    def _splits(self) -> list[tuple[str, str]]:
        """(our name, its name) of the splits that are used. Errors: DataError."""
        names = list(self._builder.info.splits)
        known = {OFFICIAL_NAMES[name]: name for name in names if name in OFFICIAL_NAMES}
        if "train" not in known:
            raise DataError(
                f"{self._given} has no train split: it has {', '.join(names) or 'none'}.", "Choose another dataset."
            )
        return [(split, known[split]) for split in READ_FIRST if split in known]


def _to_download(given: Address) -> Address:
    """The address with its version, of a dataset that TFDS knows how to get. Errors: DataError."""
    try:
        import tensorflow_datasets as tfds
    except ImportError:
        if given.version:
            return given
        raise DataError(
            f"The newest version of {given} is not known here, where TensorFlow Datasets is not installed.",
            f"Say which: data.source = '{given}:<version>'.",
        ) from None
    try:
        code = tfds.builder_cls(given.name)
    except tfds.core.DatasetNotFoundError:
        known = tfds.list_builders(with_community_datasets=False)
        raise DataError(f"TensorFlow Datasets has no dataset {given.name!r}.", nearest(given.name, known)) from None
    configs = code.builder_configs
    if given.config is not None and given.config not in configs:
        raise DataError(f"The dataset {given.name} has no config {given.config!r}.", nearest(given.config, configs))
    config = configs.get(given.config) if given.config else next(iter(configs.values()), None)
    newest = (config and config.version) or code.VERSION
    return Address(given.name, given.config, given.version or str(newest))


def _downloaded(address: Address, root: Path) -> Any:
    """The builder of a dataset below `root`, downloaded where it is not there. Errors: DataError, StateError."""
    import tensorflow_datasets as tfds

    try:
        code = tfds.builder_cls(address.name)
        builder = code(data_dir=str(root), config=address.config, version=address.version)
        if not (Path(builder.data_dir) / INFO).is_file():
            events.note(f"downloading {address} into {root}")
            builder.download_and_prepare(download_dir=str(root / "downloads"))
    except Exception as error:  # whatever the dataset's own code and its servers come up with
        if isinstance(error, OSError) and error.errno in FULL:
            raise storage_error(error, root) from error
        raise DataError(
            f"{address} could not be downloaded: {type(error).__name__}: {error}.",
            "See to the network and run again, or prepare it elsewhere (tfds build) and set data.data_dir.",
        ) from error
    return builder


def _prepared(folder: Path) -> Any:
    """A builder of the dataset that lies prepared in `folder`; it downloads nothing. Errors: DataError."""
    import tensorflow_datasets as tfds

    try:
        _expect_own_features(folder)
        return tfds.builder_from_directory(str(folder))
    except Exception as error:  # what its parsers raise on what they find
        raise DataError(
            f"{folder} holds no dataset that TensorFlow Datasets can read: {error}.",
            "Prepare it again (tfds build), or set data.data_dir to another place.",
        ) from error


def _expect_own_features(folder: Path) -> None:
    """TFDS imports whatever module a dataset names as that of its features: its own are enough for images.

    Errors: ValueError, OSError.
    """
    path = folder / FEATURES
    left: list[Any] = [json.loads(path.read_bytes())] if path.exists() else []
    while left:
        value = left.pop()
        if isinstance(value, dict):
            for key in CLASS_KEYS & value.keys():
                if isinstance(value[key], str) and not value[key].startswith(OWN):
                    raise ValueError(f"its features are of {value[key][:200]!r}, which are not TFDS' own")
            left += value.values()
        elif isinstance(value, list):
            left += value
        elif isinstance(value, str) and value.startswith("{"):  # a feature's own settings, as text
            left.append(json.loads(value))
