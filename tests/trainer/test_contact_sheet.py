"""The contact sheet: the bits that a training would see, drawn."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trainer.config import Recipe
from trainer.contact_sheet import CAPTION, CELL, COLUMNS, GAP, ROWS, contact_sheet
from trainer.data.feed import Feed
from trainer.data.prepared import PreparedDataset, open_prepared


@pytest.fixture(scope="module")
def dataset(digits: Any) -> PreparedDataset:
    return open_prepared(digits.source.data(digits.fingerprint))


def drawn(recipe: Recipe, dataset: PreparedDataset) -> np.ndarray:
    """The picture's pixels (H, W, 3)."""
    with Image.open(io.BytesIO(contact_sheet(recipe, dataset))) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


def cell(sheet: np.ndarray, row: int, column: int) -> np.ndarray:
    """What is in one place of the sheet, an image of 8×8 whose pixels are drawn 16 times as large."""
    top, left = CAPTION + GAP + row * (CELL + CAPTION), GAP + column * (CELL + GAP)
    found = sheet[top : top + CELL, left : left + CELL]
    return found[8::16, 8::16]


def rows_of(sheet: np.ndarray) -> int:
    return (len(sheet) - CAPTION - GAP) // (CELL + CAPTION)


def test_a_row_is_an_image_and_what_the_first_epochs_make_of_it(digits: Any, dataset: PreparedDataset) -> None:
    """Every cell is, to the bit, the image or a picture from the stream of a training; rows are of other classes."""
    recipe = digits.recipe("train.batch_size=8")
    sheet, split = drawn(recipe, dataset), dataset.split("train")
    assert rows_of(sheet) == ROWS
    feed = Feed(split, recipe.train, 32)
    steps = (COLUMNS - 1) * feed.steps_per_epoch
    shown = {picture.tobytes() for images, _ in feed.batches(0, steps).as_numpy_iterator() for picture in images}
    originals = {split.image(index).tobytes(): int(label) for index, label in enumerate(split.labels)}
    labels = [originals[cell(sheet, row, 0).tobytes()] for row in range(ROWS)]
    assert labels == sorted(set(labels))
    for row in range(ROWS):
        seen = [cell(sheet, row, column).tobytes() for column in range(1, COLUMNS)]
        assert all(picture in shown for picture in seen)
        assert len(set(seen)) > 1


def test_mixed_batches_are_shown_where_the_recipe_mixes(digits: Any, dataset: PreparedDataset) -> None:
    """One row for each kind, of the first batches of that kind; balanced sampling repeats images within an epoch."""
    recipe = digits.recipe("train.batch_size=8", "train.augment.cutmix=1.0", 'train.sampling="balanced"')
    sheet = drawn(recipe, dataset)
    assert rows_of(sheet) == ROWS + 1
    [(images, _)] = Feed(dataset.split("train"), recipe.train, 32).batches(0, 1).as_numpy_iterator()
    for column in range(COLUMNS):
        assert np.array_equal(cell(sheet, ROWS, column), images[column])
    both = digits.recipe("train.batch_size=8", "train.augment.cutmix=1.0", "train.augment.mixup=0.2")
    assert rows_of(drawn(both, dataset)) == ROWS + 2
