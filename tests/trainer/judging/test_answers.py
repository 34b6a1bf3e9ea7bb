"""Asking a model about every example: each answer in its place, in batches that memory has room for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from trainer.errors import EvaluationError
from trainer.judging import answers as judged
from trainer.judging.registered_model import RegisteredModel


@dataclass
class Album:
    """A split whose images are of one colour each, their index, and of the sizes that it is given."""

    sizes: list[tuple[int, int]]

    @property
    def shape(self) -> tuple[int, int] | None:
        return self.sizes[0] if len(set(self.sizes)) == 1 else None

    @property
    def table(self) -> pa.Table:
        return pa.table({"height": [h for h, _ in self.sizes], "width": [w for _, w in self.sizes]})

    def __len__(self) -> int:
        return len(self.sizes)

    def image(self, index: int) -> NDArray[np.uint8]:
        return np.full((*self.sizes[index], 3), index, np.uint8)


def model(batches: list[tuple[int, ...]], spoilt: int | None = None) -> RegisteredModel:
    """Says the colour of an image in its first column."""

    def answer(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        batches.append(images.shape)
        colour = images[:, 0, 0, 0].astype(np.float32)
        if spoilt is not None:
            colour[colour == spoilt] = np.nan
        return np.stack([colour, 1 - colour], axis=1)

    return RegisteredModel("models:/m-1", ["a", "b"], answer, views_at_once=1, size_bytes=1, parameters=1)


MIXED = [(2 + index % 3, 5) for index in range(50)]


@pytest.mark.parametrize("sizes", [[(4, 4)] * 50, MIXED, [(index + 1, 3) for index in range(50)]])
@pytest.mark.parametrize("chosen", [None, [0, 3, 4, 11, 49]])
def test_every_answer_is_in_its_place(sizes: list[tuple[int, int]], chosen: list[int] | None) -> None:
    """Whatever sizes the images have, and whichever of them are asked about."""
    split: Any = Album(sizes)
    indices = None if chosen is None else np.array(chosen)
    given = judged.answers(model([]), split, 8, "model", indices)
    assert given[:, 0].tolist() == (list(range(50)) if chosen is None else chosen)


def test_a_batch_has_one_size_and_no_more_pixels_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A single image may be larger than that."""
    monkeypatch.setattr(judged, "BATCH_PIXELS", 40)
    batches: list[tuple[int, ...]] = []
    split: Any = Album([*MIXED, (10, 10)])
    judged.answers(model(batches), split, 8, "model")
    assert max(b * h * w for b, h, w, _ in batches if b > 1) <= 40
    assert (1, 10, 10, 3) in batches
    assert sum(b for b, *_ in batches) == 51


def test_an_answer_that_is_no_number_is_refused() -> None:
    """With the model named."""
    split: Any = Album(MIXED)
    with pytest.raises(EvaluationError, match=r"The challenger \(models:/m-1\) answered"):
        judged.answers(model([], spoilt=17), split, 8, "challenger")
