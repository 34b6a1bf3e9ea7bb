"""The verb `prepare`: read the source once, check every image, divide, and write the prepared dataset."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from trainer import events, sharing
from trainer.config import Data
from trainer.data.acceptance import judge_classes, judge_counts, judge_rejected
from trainer.data.inspection import inspect_all
from trainer.data.intake import Intake
from trainer.data.prepared import Manifest, PreparedDataset, find_prepared, open_prepared
from trainer.data.sources import open_source
from trainer.data.splits import SPLITS
from trainer.data.writing import DatasetWriter
from trainer.errors import DataError
from trainer.record import Prepared
from trainer.state import State, reported

LISTED = 100
"""Rejected images that the run record shows; the manifest has all."""


def prepare(
    data: Data, fingerprint: str, state: State, workers: int | None = None, for_training: bool = True
) -> Prepared:
    """Make the prepared dataset of a source, unless it is there.

    Args:
        data: the recipe's `[data]`.
        fingerprint: what the source's `fingerprint()` gave; names the dataset's folder.
        state: where the dataset goes.
        workers: threads that decode; None: one per processor.
        for_training: whether it must hold two classes, and images of each in every split. Images that a model is only
            asked about need not.

    Of two at once, the second waits and takes what the first has made. What a killed one left is removed. Where a store
    has the dataset, it is not fetched: `sharing.opened_dataset` does that for whoever reads it.

    Errors: DataError (unusable images, a class without images, a source that changed meanwhile), StateError.
    """
    started = time.monotonic()
    folder = state.data(fingerprint)
    sharing.fetch(state, folder)
    manifest = _found(folder) or sharing.known_manifest(state, fingerprint)
    if manifest is None:
        with reported(folder), _alone(folder):
            manifest = _found(folder)
            if manifest is None:
                _remove_leftovers(folder)
                manifest = _build(data, fingerprint, state, workers or os.cpu_count() or 1, for_training).manifest
    sharing.send_dataset(state, fingerprint)
    # A dataset that is there may have been made under a more generous limit, or to ask a model about.
    judge_rejected(manifest.rejected, manifest.candidates, data, state.failed_data(fingerprint))
    if for_training:
        judge_classes(manifest.classes, data)
        judge_counts(manifest.counts, manifest.classes, data)
    return Prepared(
        fingerprint=fingerprint,
        path=str(folder),
        classes=manifest.classes,
        counts=manifest.counts,
        identity_digests=manifest.identity_digests,
        rejected=manifest.rejected[:LISTED],
        rejected_total=len(manifest.rejected),
        near_duplicates=manifest.near_duplicates,
        near_duplicates_total=manifest.near_duplicates_total,
        seconds=time.monotonic() - started,
    )


def _found(folder: Path) -> Manifest | None:
    dataset = find_prepared(folder)
    return dataset.manifest if dataset is not None else None


def _alone(folder: Path) -> BaseFileLock:
    """Held by the one process that prepares this data; the operating system frees it when that process dies."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.parent / f".{folder.name}.lock")
    try:
        lock.acquire(blocking=False)
        lock.release()
    except Timeout:
        events.note("another run prepares the same images: waiting for it")
    return lock


def _remove_leftovers(folder: Path) -> None:
    """What a killed process left beside; while the lock is held nobody else writes there."""
    for left in folder.parent.glob(f".{folder.name}.*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)


def _build(data: Data, fingerprint: str, state: State, workers: int, for_training: bool) -> PreparedDataset:
    source = open_source(data, state)
    before = source.fingerprint()
    _see_unchanged(before.digest, fingerprint, data, "since it was checked")
    classes = source.classes()
    if for_training:
        judge_classes(classes, data)
    with DatasetWriter(state.data(fingerprint), data.limit) as writer:
        intake = Intake(data, classes, writer)
        for inspected in inspect_all(source.examples(), workers, source.total()):
            intake.take(inspected)
        _see_unchanged(source.fingerprint().digest, fingerprint, data, "while it was read")
        judge_rejected(intake.rejected, intake.candidates, data, state.failed_data(fingerprint))
        counts = writer.counts(len(classes))
        if for_training:
            judge_counts(counts, classes, data)
        elif not any(map(any, counts.values())):
            raise DataError(f"{data.source} holds no image that can be used.", "Put images there.")
        writer.finish(fingerprint, before.summary, classes, intake.candidates, intake.rejected)
    dataset = open_prepared(state.data(fingerprint))
    events.note(_summary(dataset.manifest))
    return dataset


def _see_unchanged(digest: str, fingerprint: str, data: Data, when: str) -> None:
    if digest != fingerprint:
        raise DataError(f"The source {data.source} changed {when}.", "Run again when nothing is being written there.")


def _summary(manifest: Manifest) -> str:
    sizes = ", ".join(f"{sum(manifest.counts[name]):,} {name}" for name in SPLITS)
    left_out = f"; {len(manifest.rejected):,} of {manifest.candidates:,} left out" if manifest.rejected else ""
    pairs = manifest.near_duplicates_total
    alike = f"; look-alikes between train and test: {pairs:,}" if pairs else ""
    return f"{len(manifest.classes)} classes, images: {sizes}{left_out}{alike}"
