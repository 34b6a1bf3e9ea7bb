"""Batches of pictures of one size, with a bound on the pixels that are held at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from trainer.judging.registered_model import BATCH_PIXELS
from trainer.prediction.reading import Picture

HELD_PIXELS = 4 * BATCH_PIXELS
HELD_BATCHES = 16
"""So many times a batch's pictures wait for others of their size; then the longest waiting go, however few they are.
A folder of photographs cut to size fills its batches, one of a thousand sizes is asked almost one by one."""


def batches(pictures: Iterable[Picture], size: int) -> Iterator[list[Picture]]:
    """Batches of at most `size` readable pictures of one height and width; those without pixels by themselves."""
    waiting: dict[tuple[int, ...], list[Picture]] = {}  # the longest waiting size first
    for picture in pictures:
        if picture.pixels is None:
            yield [picture]
            continue
        shape = picture.pixels.shape
        group = waiting.setdefault(shape, [])
        group.append(picture)
        if len(group) == size or _pixels(group) + _pixels(group[:1]) > BATCH_PIXELS:
            yield waiting.pop(shape)
        held = waiting.values()
        while sum(map(len, held)) > HELD_BATCHES * size or sum(map(_pixels, held)) > HELD_PIXELS:
            yield waiting.pop(next(iter(waiting)))
    yield from waiting.values()


def _pixels(group: list[Picture]) -> int:
    """Of a group of one size."""
    pixels = group[0].pixels if group else None
    return 0 if pixels is None else len(group) * pixels.shape[0] * pixels.shape[1]
