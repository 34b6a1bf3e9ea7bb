"""The verb behind `inception data --show`: a picture of what the network sees.

It is drawn from the feed that a training would have: the same seed, the same epochs, the same bits.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from trainer.config import Recipe
from trainer.data.augmentation import mixing
from trainer.data.feed import Feed
from trainer.data.images import Pixels
from trainer.data.prepared import PreparedDataset, Split
from trainer.models import zoo

ROWS = 8
COLUMNS = 8
CELL = 128
"""Pixels of a picture's longer side: small images are enlarged to it, large ones made smaller."""
GAP = 8
CAPTION = 20
DOTS_PER_INCH = 96
LOOKED_AT = 64
"""Steps in which a batch of each kind is looked for: each comes with even odds."""


@dataclass(frozen=True)
class Cell:
    pixels: Pixels
    caption: str


def contact_sheet(recipe: Recipe, dataset: PreparedDataset) -> bytes:
    """A PNG: a row for each of a few training images, spread over the classes, with the image as it is and as the first
    epochs show it; below, where images are mixed, some of the first batches with the share of each label.

    Errors: DataError (fewer images than one batch).
    """
    split = dataset.split("train")
    feed = Feed(split, recipe.train, zoo.resolve(recipe.model).image_size, recipe.resources.workers)
    rows = [list(_seen(feed, split, example)) for example in _examples(split)]
    rows += [list(_mixed(feed, split, *found)) for found in _mixing_steps(feed, recipe)]
    high, wide = feed.shape
    title = f"{recipe.data.source}, seed {recipe.train.seed}: batches of {wide}×{high} pixels"
    return _drawn(rows, title)


def _examples(split: Split) -> list[int]:
    """Indices of one example of every class, or of classes evenly spread, or of every class several."""
    found = [np.flatnonzero(split.labels == label) for label in range(len(split.classes))]
    found = [examples for examples in found if len(examples)]
    count = min(ROWS, len(split))
    if len(found) >= count:
        return [int(found[place][0]) for place in np.linspace(0, len(found) - 1, count).round().astype(int)]
    return [int(examples[place]) for place in range(count) for examples in found if place < len(examples)][:count]


def _seen(feed: Feed, split: Split, example: int) -> Iterator[Cell]:
    """An image as it is, then as the epochs that take it show it."""
    yield Cell(split.image(example), split.classes[split.labels[example]])
    shown, epoch = 1, 0
    while shown < COLUMNS:
        examples, turns = feed.epoch(epoch)
        for turn in turns[examples == example][: COLUMNS - shown]:
            [pixels] = feed.changed(epoch, np.array([example]), np.array([turn]))
            yield Cell(pixels, f"epoch {epoch + 1}")
            shown += 1
        epoch += 1


def _mixing_steps(feed: Feed, recipe: Recipe) -> list[tuple[int, mixing.Mixture]]:
    """The first step that blends and the first that pastes, as far as the recipe has them."""
    augment, train = recipe.train.augment, recipe.train
    if not mixing.wanted(augment):
        return []
    first: dict[bool, tuple[int, mixing.Mixture]] = {}
    for step in range(LOOKED_AT):
        mixture = mixing.mixture(augment, train.seed, step, train.batch_size, feed.shape)
        first.setdefault(bool(mixture.boxes.any()), (step, mixture))
    return [first[kind] for kind in sorted(first)]


def _mixed(feed: Feed, split: Split, step: int, mixture: mixing.Mixture) -> Iterator[Cell]:
    [(images, _)] = feed.batches(step, step + 1).as_numpy_iterator()
    names = [split.classes[label] for label in split.labels[feed.indices(step)[1]]]
    for place, pixels in enumerate(images[:COLUMNS]):
        share = mixture.shares[place]
        own, other = names[place], names[mixture.partners[place]]
        yield Cell(pixels, f"{share:.0%} {own} + {1 - share:.0%} {other}")


def _drawn(rows: list[list[Cell]], title: str) -> bytes:
    wide = GAP + COLUMNS * (CELL + GAP)
    high = CAPTION + GAP + len(rows) * (CELL + CAPTION)
    figure = Figure((wide / DOTS_PER_INCH, high / DOTS_PER_INCH), dpi=DOTS_PER_INCH, facecolor="white")
    figure.text(GAP / wide, 1 - (CAPTION - 5) / high, title, fontsize=9, weight="bold", parse_math=False)
    for place, row in enumerate(rows):
        for column, cell in enumerate(row):
            left = GAP + column * (CELL + GAP)
            bottom = high - CAPTION - GAP - place * (CELL + CAPTION) - CELL
            pixels = _fitted(cell.pixels)
            figure.figimage(pixels, left, bottom + CELL - pixels.shape[0], origin="upper")
            words = cell.caption if len(cell.caption) <= 24 else cell.caption[:23] + "…"
            figure.text(left / wide, (bottom - 13) / high, words, fontsize=7, parse_math=False)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _fitted(pixels: Pixels) -> Pixels:
    """The picture at the size of a cell: enlarged without blur, so that its pixels can be seen, or made smaller."""
    high, wide = pixels.shape[:2]
    scale = CELL / max(high, wide)
    way = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    size = max(1, round(wide * scale)), max(1, round(high * scale))
    return np.asarray(Image.fromarray(pixels).resize(size, way))
