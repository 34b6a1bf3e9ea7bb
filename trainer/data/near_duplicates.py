"""Images that look alike: a training image that is a test image over again, smaller, recompressed or retouched.

Equal pixels are found by the identity and dropped. What merely looks the same is reported, for people to judge: a model
may know such a test example by heart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainer.data.images import Pixels
from trainer.record import NearDuplicate

Hashes = NDArray[np.uint64]

DISTANCE = 4
"""Bits that may differ. Of the pairs of a CIFAR-10 test and training image, all 110 within 4 bits are of one class and
most are one photograph; of those 8 bits apart a fifth is of two classes already, and 10 bits apart the pairs begin to
be those of chance. Of 200 photographs of cats and dogs that were saved again as a JPEG of half the size, 196 stay
within 4 bits of themselves, and no training photograph comes nearer than 12 to a test photograph."""
LISTED = 100
"""Pairs that are named; all are counted."""
UNHASHED = 0
"""Stands for an image without contours, which would look like every other such image."""

_SIDE, _KEPT = 32, 8
_FLAT = 8
"""Grey levels between the darkest and the brightest place below which an image has no contours to speak of."""
_COSINES = np.cos(np.pi * np.outer(np.arange(_KEPT), 2 * np.arange(_SIDE) + 1) / (2 * _SIDE)).astype(np.float32)
_BITS = np.uint64(1) << np.arange(_KEPT * _KEPT - 1, dtype=np.uint64)
_MIDDLE = (_KEPT * _KEPT - 1) // 2
_CANDIDATES = 4_000_000
"""Pairs looked at in one go: some 200 MB."""


def perceptual_hash(pixels: Pixels) -> int:
    """63 bits: which of the 63 lowest frequencies of a 32×32 grey image's cosine transform (DCT-II) are above their
    median. As in pHash (Zauner 2010, Implementation and Benchmarking of Perceptual Image Hash Functions, section 3.2).
    """
    image = Image.fromarray(pixels)
    if max(image.size) > 2 * _SIDE:
        image = image.resize((_SIDE, _SIDE), Image.Resampling.BOX, reducing_gap=2.0)
    grey = image.convert("L")
    if grey.size != (_SIDE, _SIDE):
        grey = grey.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    values = np.asarray(grey, np.float32)
    if values.max() - values.min() < _FLAT:
        return UNHASHED
    frequencies = (_COSINES @ values @ _COSINES.T).ravel()[1:]  # the first is the brightness
    return int(_BITS[frequencies > np.sort(frequencies)[_MIDDLE]].sum())


@dataclass(frozen=True, eq=False)
class Alike:
    """Pairs of images that look alike, closest first.

    Attributes:
        total: how many there are.
        pairs: (listed, 3): index of the one, index of the other, bits in which they differ.
    """

    total: int
    pairs: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Looks:
    """The images of one split as they are compared: hashes (n,) and paths in the source."""

    hashes: Hashes
    paths: list[str]


def named(train: Looks, test: Looks) -> tuple[int, list[NearDuplicate]]:
    """How many pairs of a training and a test image look alike, and the closest of them."""
    alike = find(train.hashes, test.hashes, LISTED)
    return alike.total, [
        NearDuplicate(train=train.paths[one], test=test.paths[other], distance=distance)
        for one, other, distance in alike.pairs.tolist()
    ]


def find(one: Hashes, other: Hashes, listed: int) -> Alike:
    """All pairs within `DISTANCE`; as many of them as asked for by name.

    Two hashes that differ in 4 bits agree in at least one of five bands of bits, so only pairs that agree in a band
    are looked at: of 1.28 million hashes and 50,000, 58 million pairs instead of 64 thousand million, in two seconds.
    """
    total, best = 0, np.empty((0, 3), np.int64)
    for pairs in _alike(one, other):
        total += len(pairs)
        best = np.concatenate([best, pairs])
        best = best[np.lexsort((best[:, 0], best[:, 1], best[:, 2]))[:listed]]
    return Alike(total, best)


def _alike(one: Hashes, other: Hashes) -> Iterator[NDArray[np.int64]]:
    """Every pair once: in the first band in which it agrees."""
    # Neighbouring frequencies go together, so every band takes bits from everywhere.
    masks = [np.bitwise_or.reduce(_BITS[band :: DISTANCE + 1]) for band in range(DISTANCE + 1)]
    for band, mask in enumerate(masks):
        order = np.argsort(one & mask, kind="stable")
        ordered = (one & mask)[order]
        first = np.searchsorted(ordered, other & mask, side="left")
        counts = np.searchsorted(ordered, other & mask, side="right") - first
        counts[other == UNHASHED] = 0
        for rows in _portions(counts):
            theirs = np.repeat(rows, counts[rows])
            within = np.arange(len(theirs)) - np.repeat(np.cumsum(counts[rows]) - counts[rows], counts[rows])
            ours = order[np.repeat(first[rows], counts[rows]) + within]
            differing = one[ours] ^ other[theirs]
            distance = np.bitwise_count(differing)
            kept = (distance <= DISTANCE) & (one[ours] != UNHASHED)
            for earlier in masks[:band]:
                kept &= (differing & earlier) != 0
            yield np.stack([ours[kept], theirs[kept], distance[kept]], axis=1).astype(np.int64)


def _portions(counts: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Rows whose candidates fit into memory together."""
    portion = np.cumsum(counts) // _CANDIDATES
    rows = np.arange(len(counts))
    for number in np.unique(portion):
        yield rows[portion == number]
