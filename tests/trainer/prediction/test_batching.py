"""Which pictures are asked together."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from trainer.prediction import batching
from trainer.prediction.batching import HELD_BATCHES, batches
from trainer.prediction.reading import Picture


def pictures(*sizes: tuple[int, int] | None) -> list[Picture]:
    return [
        Picture(number, "x", None if size is None else np.zeros((*size, 3), np.uint8))
        for number, size in enumerate(sizes)
    ]


def numbers(found: Iterator[list[Picture]]) -> list[list[int]]:
    return [[picture.number for picture in batch] for batch in found]


def test_pictures_of_one_size_share_a_batch() -> None:
    """Height and width exchanged are another size; what has no pixels goes by itself."""
    wide, high = (8, 9), (9, 8)
    assert numbers(batches(pictures(wide, high, wide, None, high, wide, high), 3)) == [[3], [0, 2, 5], [1, 4, 6]]
    assert numbers(batches(pictures(wide, wide, wide), 2)) == [[0, 1], [2]]


def test_large_pictures_share_a_batch_with_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is too large for any batch goes alone."""
    monkeypatch.setattr(batching, "BATCH_PIXELS", 200)
    assert [len(batch) for batch in batches(pictures(*[(10, 10)] * 5), 32)] == [2, 2, 1]
    assert [len(batch) for batch in batches(pictures(*[(30, 30)] * 2), 32)] == [1, 1]


@pytest.mark.parametrize("bound", ["count", "pixels"])
def test_what_is_held_is_bounded(bound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of pictures that all have sizes of their own, those that have waited longest are asked."""
    taken = 0
    if bound == "pixels":
        monkeypatch.setattr(batching, "HELD_PIXELS", 20 * 8 * 300)

    def endless() -> Iterator[Picture]:
        nonlocal taken
        for number in itertools.count():
            taken += 1
            yield Picture(number, "x", np.zeros((8, 8 + number, 3), np.uint8))

    found: Any = batches(endless(), 2)
    given = [next(found) for _ in range(30)]
    assert [batch[0].number for batch in given] == list(range(30))
    assert taken - 30 <= HELD_BATCHES * 2 + 1
