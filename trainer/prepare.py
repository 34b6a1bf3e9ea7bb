"""The verb `prepare`: read the source once, check every image, divide, and write the prepared dataset."""

from __future__ import annotations

import os
import shutil
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from PIL import Image

from trainer import events
from trainer.config import Data
from trainer.data.images import BadImage, Pixels, decode, identity
from trainer.data.payloads import RAW_LIMIT, Shape
from trainer.data.prepared import PreparedDataset, find_prepared, open_prepared
from trainer.data.sources import RawExample, Source, open_source
from trainer.data.splits import SPLITS, side
from trainer.data.writing import DatasetWriter
from trainer.errors import DataError
from trainer.record import Prepared, Rejected
from trainer.state import State, reported, write_atomically

LISTED = 100
READ_AHEAD = 8
"""Images under way per thread."""
SPOKEN_EVERY = 0.3
"""Seconds between progress events."""
CHANGED = "Run again when nothing is being written there."


def prepare(data: Data, fingerprint: str, state: State, workers: int | None = None) -> Prepared:
    """Make the prepared dataset of a source, unless it is there.

    Args:
        data: the recipe's `[data]`.
        fingerprint: what the source's `fingerprint` gave; names the dataset's folder.
        state: where the dataset goes.
        workers: threads that decode; None: one per processor.

    Two at once: the second waits and takes what the first has made.

    Errors: DataError (too many unusable images, a class without images, a source that changed meanwhile), StateError.
    """
    started = time.monotonic()
    folder = state.data(fingerprint)
    dataset = find_prepared(folder)
    if dataset is None:
        with reported(folder), _alone(folder):
            dataset = find_prepared(folder)
            if dataset is None:
                _remove_leftovers(folder)
                dataset = _build(data, fingerprint, folder, open_source(data, state), workers or os.cpu_count() or 1)
    manifest = dataset.manifest
    _judge_rejected(manifest.rejected, manifest.candidates, data, folder)
    return Prepared(
        fingerprint=fingerprint,
        path=str(folder),
        classes=manifest.classes,
        counts=manifest.counts,
        identity_digests=manifest.identity_digests,
        rejected=manifest.rejected[:LISTED],
        rejected_total=len(manifest.rejected),
        seconds=time.monotonic() - started,
    )


def _alone(folder: Path) -> FileLock:
    """Held by the one process that prepares this data; the operating system frees it when that process dies."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.parent / f".{folder.name}.lock")
    try:
        lock.acquire(timeout=0)
        lock.release()
    except Timeout:
        events.note("another run prepares the same data: waiting for it")
    return lock


def _remove_leftovers(folder: Path) -> None:
    """What a killed run left beside; nobody else writes there while the lock is held."""
    for left in folder.parent.glob(f".{folder.name}.*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)


def _build(data: Data, fingerprint: str, folder: Path, source: Source, workers: int) -> PreparedDataset:
    before = source.fingerprint()
    if before.digest != fingerprint:
        raise DataError(f"The source {data.source} changed since it was checked.", CHANGED)
    classes = source.classes()
    if len(classes) < 2:
        raise DataError(
            f"The source {data.source} has {len(classes)} class ({', '.join(classes)}).",
            "A classifier needs at least two: add a folder of images for every class.",
        )
    writer = DatasetWriter(folder, data.limit)
    try:
        intake = Intake(data, classes, writer)
        for inspected in _inspected(source.examples(), workers, source.total()):
            intake.take(inspected)
        if source.fingerprint().digest != fingerprint:
            raise DataError(f"The source {data.source} changed while it was read.", CHANGED)
        _judge_rejected(intake.rejected, intake.candidates, data, folder)
        _judge_counts(writer.counts(len(classes)), classes, data)
        writer.finish(fingerprint, before.summary, classes, intake.candidates, intake.rejected)
    finally:
        writer.abandon()
    dataset = open_prepared(folder)
    _summarise(dataset)
    return dataset


@dataclass(frozen=True, slots=True)
class Inspected:
    """A candidate that has been decoded, or the reason why it cannot be."""

    raw: RawExample
    reason: str = ""
    identity: str = ""
    shape: Shape = (0, 0)
    sums: tuple[int, ...] = ()
    """Over the pixels: three channels, then their squares."""
    pixels: Pixels | None = None
    """Kept for small images, which may be stored raw."""


_VALUES = np.arange(256, dtype=np.uint64)


def inspect(raw: RawExample) -> Inspected:
    if raw.problem:
        return Inspected(raw, raw.problem)
    if raw.label < 0:
        return Inspected(raw, "has no label")
    try:
        pixels = decode(raw.payload)
    except BadImage as error:
        return Inspected(raw, str(error))
    shape = pixels.shape[0], pixels.shape[1]
    histogram = np.array(Image.fromarray(pixels).histogram(), dtype=np.uint64).reshape(3, 256)
    sums = (*(histogram @ _VALUES).tolist(), *(histogram @ _VALUES**2).tolist())
    small = shape[0] * shape[1] <= RAW_LIMIT
    return Inspected(raw, "", identity(pixels), shape, sums, pixels if small else None)


def _inspected(examples: Iterable[RawExample], workers: int, total: int | None) -> Iterator[Inspected]:
    """Decode in threads, in order, with no more than a few images under way."""
    under_way: deque[Future[Inspected]] = deque()
    done, spoken = 0, 0.0
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    try:
        for example in examples:
            under_way.append(pool.submit(inspect, example))
            if len(under_way) < READ_AHEAD * workers:
                continue
            yield under_way.popleft().result()
            done += 1
            if time.monotonic() - spoken > SPOKEN_EVERY:
                spoken = time.monotonic()
                events.progress("prepare", done, total, "images")
        while under_way:
            yield under_way.popleft().result()
            done += 1
        events.progress("prepare", done, total, "images")
    finally:
        pool.shutdown(cancel_futures=True)


@dataclass(slots=True)
class Met:
    """Where some content was met first."""

    split: str
    index: int
    label: int
    path: str
    conflicting: bool = False


class Intake:
    """Decides over every candidate: which split, or why not."""

    def __init__(self, data: Data, classes: list[str], writer: DatasetWriter) -> None:
        self._data = data
        self._classes = classes
        self._writer = writer
        self._met: dict[str, Met] = {}
        self._official: set[str] = set()
        self.rejected: list[Rejected] = []
        self.candidates = 0

    def take(self, inspected: Inspected) -> None:
        raw = inspected.raw
        self.candidates += 1
        if raw.split:
            self._official.add(raw.split)
        if inspected.reason:
            self._reject(raw.path, inspected.reason)
            return
        first = self._met.get(inspected.identity)
        if first is not None:
            self._take_again(raw, first)
            return
        # A source gives its test and validation examples first, so what it has is known when train examples come.
        split = side(
            inspected.identity,
            raw.split,
            self._official,
            self._data.validation_fraction,
            self._data.test_fraction,
        )
        index = self._writer.add(
            split,
            inspected.identity,
            raw.label,
            raw.path,
            inspected.shape,
            inspected.sums,
            raw.payload,
            inspected.pixels,
        )
        self._met[inspected.identity] = Met(split, index, raw.label, raw.path)

    def _take_again(self, raw: RawExample, first: Met) -> None:
        """Equal content: once is enough in one class, and in two classes nobody knows which is right."""
        if raw.label == first.label and not first.conflicting:
            self._reject(raw.path, f"duplicate of {first.path}")
            return
        self._reject(raw.path, f"same content as {first.path}, which is in the class {self._classes[first.label]}")
        if not first.conflicting:
            first.conflicting = True
            self._reject(first.path, f"same content as {raw.path}, which is in the class {self._classes[raw.label]}")
            if first.index >= 0:
                self._writer.drop(first.split, first.index)

    def _reject(self, path: str, reason: str) -> None:
        self.rejected.append(Rejected(path=path, reason=reason))


def _judge_rejected(rejected: list[Rejected], candidates: int, data: Data, folder: Path) -> None:
    if not candidates:
        raise DataError(f"The source {data.source} holds no images.", "Point data.source at images.")
    share = len(rejected) / candidates
    if share <= data.max_rejected_share:
        return
    listing = folder.parent / f"{folder.name}.rejected.tsv"
    write_atomically(listing, "".join(f"{one.path}\t{one.reason}\n" for one in rejected))
    first = "\n".join(f"  {one.path}: {one.reason}" for one in rejected[:5])
    raise DataError(
        f"{len(rejected)} of {candidates} images of {data.source} cannot be used: {share:.1%}, and "
        f"data.max_rejected_share is {data.max_rejected_share:.1%}. The first:\n{first}",
        f"All are listed in {listing}. Mend or remove them, or raise data.max_rejected_share.",
    )


def _judge_counts(counts: dict[str, list[int]], classes: list[str], data: Data) -> None:
    fractions = {"validation": data.validation_fraction, "test": data.test_fraction}
    for split in SPLITS:
        if not any(counts[split]):
            fraction = (
                f"data.{split}_fraction is {fractions[split]}" if split in fractions else "the rest was carved out"
            )
            raise DataError(
                f"No image of {data.source} is left for the {split} split ({fraction}).",
                f"Raise data.{split}_fraction." if split in fractions else "Lower data.test_fraction.",
            )
        for name, count in zip(classes, counts[split], strict=True):
            if count:
                continue
            each = ", ".join(f"{counts[s][classes.index(name)]} in {s}" for s in SPLITS)
            remedy = "Add images of it, or remove the class"
            remedy += ", or raise data.limit." if data.limit else f"{_or_raise(split, fractions)}."
            raise DataError(f"The class {name!r} of {data.source} has no image in the {split} split ({each}).", remedy)


def _or_raise(split: str, fractions: dict[str, float]) -> str:
    return f", or raise data.{split}_fraction" if split in fractions else ""


def _summarise(dataset: PreparedDataset) -> None:
    manifest = dataset.manifest
    sizes = ", ".join(f"{sum(manifest.counts[name])} {name}" for name in SPLITS)
    left_out = f", {len(manifest.rejected)} left out" if manifest.rejected else ""
    events.note(f"{len(manifest.classes)} classes: {sizes}{left_out}")
