"""Where a weights file comes from: the disk, a bucket, or its publisher; and what it is, by its checksum."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from trainer.errors import WeightsError
from trainer.state import reported
from trainer.weights import bucket
from trainer.weights.published import Download, Weights


@dataclass(frozen=True)
class Obtained:
    path: Path
    """Of the file; of a checkpoint in several files the prefix."""
    source: str
    sha256: str


def obtain(weights: Weights, address: str, with_classifier: bool, cache: Path) -> Obtained:
    """Have the file here, and know it.

    Args:
        weights: what is wanted.
        address: a path, an address in an object store, one of `weights.names`, or empty for the published file.
        with_classifier: of the published file: whole, or without its classifier.
        cache: folder for what is downloaded.

    Errors: WeightsError (missing, out of reach, damaged), StateError (the cache).
    """
    with reported(cache):
        cache.mkdir(parents=True, exist_ok=True)
    # Two trainings that begin with the same weights download them once.
    with FileLock(cache / "weights.lock"):
        download = weights.names.get(address) or (None if address else _published(weights, with_classifier))
        if download is not None:
            path = _downloaded(download, weights, cache)
            source = download.address
        elif "://" in address:
            path, source = bucket.fetch(address, cache / "weights"), address
        else:
            path, source = Path(address).expanduser().absolute(), address
    files = files_of(path)
    if not files:
        raise WeightsError(f"There are no weights at {address!r}.", f"Give the path of {weights.what}.")
    with reported(path):
        _expect_published(path, weights)
        return Obtained(path, source, checksum(files, "sha256"))


def files_of(path: Path) -> list[Path]:
    """The file itself, or the files of the checkpoint whose prefix it is; none where there is nothing."""
    if path.is_file():
        return [path]
    index = path.with_name(f"{path.name}.index")
    return [index, *sorted(path.parent.glob(f"{path.name}.data-*"))] if index.is_file() else []


def checksum(files: Sequence[Path], algorithm: str) -> str:
    """Hexadecimal, over the files one after the other. Errors: OSError."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    for path in files:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _published(weights: Weights, with_classifier: bool) -> Download | None:
    return weights.whole if with_classifier else weights.headless


def _downloaded(download: Download, weights: Weights, cache: Path) -> Path:
    """By Keras' own function, into the folder where keras.applications looks too."""
    import keras

    folder = cache / "keras"
    final = folder / "models" / download.name
    if download.md5 is None and final.is_file():
        return final
    with reported(folder):
        folder.mkdir(parents=True, exist_ok=True)  # else Keras goes elsewhere
    # With a checksum Keras sees by itself whether a file is whole; without one only a whole file is given its name.
    unproven = download.md5 is None
    try:
        path = keras.utils.get_file(
            f"{download.name}.part" if unproven else download.name,
            download.address,
            cache_dir=str(folder),
            cache_subdir="models",
            file_hash=download.md5,
            force_download=unproven,
        )
    except Exception as error:  # Keras raises a bare Exception where the address does not answer
        kind = "keras" if weights.kind == "imagenet" else weights.kind
        checked = f" (md5 {download.md5})" if download.md5 else ""
        raise WeightsError(
            f"{weights.what} cannot be downloaded: {error}",
            f"Without the internet: fetch {download.address}{checked} elsewhere "
            f'and write init = "{kind}:<path or gs:// address of the file>".',
        ) from None
    os.replace(path, final)
    return final


def _expect_published(path: Path, weights: Weights) -> None:
    """A file by a published name is the published file."""
    for download in (weights.whole, weights.headless):
        if download is None or download.md5 is None or path.name != download.name:
            continue
        found = checksum([path], "md5")
        if found != download.md5:
            raise WeightsError(
                f"{path} is damaged, or not what its name says: its md5 is {found}, the published one {download.md5}.",
                f"Fetch it again from {download.address}; give other weights of the network another name.",
            )
