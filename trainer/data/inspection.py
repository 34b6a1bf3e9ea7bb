"""Decodes candidates in threads and measures them, in the order in which the source gives them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import Image

from trainer import events
from trainer.data.images import BadImage, Pixels, decode, identity
from trainer.data.near_duplicates import UNHASHED, perceptual_hash
from trainer.data.payloads import RAW_LIMIT, Shape
from trainer.data.sources import RawExample

READ_AHEAD = 2
"""Batches under way per thread."""
BATCH_IMAGES, BATCH_BYTES = 64, 256 * 1024
"""A batch is full when either is reached: small images many at a time, large ones one by one."""
SPOKEN_EVERY = 0.3
"""Seconds between progress events."""

_VALUES = np.arange(256, dtype=np.uint64)


@dataclass(frozen=True, slots=True)
class Inspected:
    """A candidate that has been decoded, or the reason why it cannot be used."""

    raw: RawExample
    reason: str = ""
    identity: str = ""
    shape: Shape = (0, 0)
    sums: tuple[int, ...] = ()
    """Of the pixels: red, green, blue, then of their squares."""
    hash: int = UNHASHED
    """Perceptual: of images that look alike it differs in few bits."""
    pixels: Pixels | None = None
    """Kept of small images, which may be stored raw."""


def inspect(raw: RawExample) -> Inspected:
    """Decode one candidate and measure it; never raises on account of what the candidate is."""
    if raw.problem:
        return Inspected(raw, raw.problem)
    if raw.label < 0:
        return Inspected(raw, "has no label")
    try:
        pixels = decode(raw.payload)
    except BadImage as error:
        return Inspected(raw, str(error))
    height, width, _ = pixels.shape
    histogram = np.array(Image.fromarray(pixels).histogram(), dtype=np.uint64).reshape(3, 256)
    sums = (*(histogram @ _VALUES).tolist(), *(histogram @ _VALUES**2).tolist())
    kept = pixels if height * width <= RAW_LIMIT else None
    return Inspected(raw, "", identity(pixels), (height, width), sums, perceptual_hash(pixels), kept)


def inspect_all(examples: Iterable[RawExample], workers: int, total: int | None) -> Iterator[Inspected]:
    """Every candidate inspected, in order; memory is bounded by the batches under way."""
    under_way: deque[Future[list[Inspected]]] = deque()
    done, spoken = 0, 0.0
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    try:
        for batch in _batches(examples):
            under_way.append(pool.submit(_inspect_batch, batch))
            if len(under_way) <= READ_AHEAD * workers:
                continue
            inspected = under_way.popleft().result()
            yield from inspected
            done += len(inspected)
            if time.monotonic() - spoken > SPOKEN_EVERY:
                spoken = time.monotonic()
                events.progress("prepare", done, total, "images")
        while under_way:
            inspected = under_way.popleft().result()
            yield from inspected
            done += len(inspected)
        events.progress("prepare", done, total, "images")
    finally:
        pool.shutdown(cancel_futures=True)


def _inspect_batch(batch: list[RawExample]) -> list[Inspected]:
    return [inspect(raw) for raw in batch]


def _batches(examples: Iterable[RawExample]) -> Iterator[list[RawExample]]:
    """Handing an image to a thread costs as much as decoding a small one, hence many at a time."""
    batch: list[RawExample] = []
    size = 0
    for example in examples:
        batch.append(example)
        size += len(example.payload)
        if len(batch) == BATCH_IMAGES or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
