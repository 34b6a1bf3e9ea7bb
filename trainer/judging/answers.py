"""What a model says of the examples of a split, each at its own size."""

from __future__ import annotations

import os
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainer.errors import EvaluationError
from trainer.events import progress
from trainer.judging.predictions import Predictions
from trainer.judging.registered_model import BATCH_PIXELS, RegisteredModel

if TYPE_CHECKING:
    from trainer.data.prepared import Split

_SPOKEN_EVERY = 0.3
"""Seconds between progress events."""


def answers(
    model: RegisteredModel, split: Split, batch_size: int, who: str, indices: NDArray[np.intp] | None = None
) -> NDArray[np.float32]:
    """Probabilities (n, classes of the model), in the order of the examples.

    Args:
        model: asked, batch by batch.
        split: gives the images.
        batch_size: images at once, fewer where the model looks at several views of each.
        who: `challenger`, `champion`, … in progress and errors.
        indices: of the examples, rising; None: all.

    Errors: EvaluationError (a probability that is no number).
    """
    asked = np.arange(len(split)) if indices is None else indices
    given = np.zeros((len(asked), len(model.classes)), np.float32)
    done, spoken = 0, time.monotonic()
    for places, images in _read_ahead(split, asked, max(1, batch_size // model.views_at_once)):
        answer = model.answer(images)
        if not np.isfinite(answer).all():
            raise EvaluationError(
                f"The {who} ({model.uri}) answered with a probability that is no number.",
                "Train again; train.clip_norm or a lower learning rate keeps the weights finite.",
            )
        given[places] = answer
        done += len(places)
        if time.monotonic() - spoken > _SPOKEN_EVERY or done == len(asked):
            spoken = time.monotonic()
            progress("evaluate", done, len(asked), f"images, {who}")
    return given


def predict(model: RegisteredModel, split: Split, batch_size: int, who: str) -> Predictions:
    """Of every example, by a model whose classes are the split's, in whatever order. Errors: EvaluationError."""
    columns = [model.classes.index(name) for name in split.classes]
    probabilities = answers(model, split, batch_size, who)[:, columns]
    return Predictions(list(split.identities), np.asarray(split.labels, np.int32), probabilities)


def _read_ahead(
    split: Split, asked: NDArray[np.intp], batch_size: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.uint8]]]:
    """Places in `asked` with their images, some batches decoded while the model is at an earlier one."""
    threads = os.cpu_count() or 1
    waiting: deque[tuple[NDArray[np.intp], Future[NDArray[np.uint8]]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for places in _same_shape_batches(split, asked, batch_size):
            waiting.append((places, pool.submit(_images, split, asked[places])))
            if len(waiting) > threads:
                first, images = waiting.popleft()
                yield first, images.result()
        while waiting:
            first, images = waiting.popleft()
            yield first, images.result()


def _images(split: Split, indices: NDArray[np.intp]) -> NDArray[np.uint8]:
    return np.stack([split.image(int(index)) for index in indices])


def _same_shape_batches(split: Split, asked: NDArray[np.intp], batch_size: int) -> Iterator[NDArray[np.intp]]:
    """Places in `asked`, each once; images of different sizes cannot share a batch."""
    heights, widths = split.table["height"].to_numpy(), split.table["width"].to_numpy()
    if split.shape is not None:
        groups: list[Any] = [np.arange(len(asked))]
    else:
        by_shape: dict[tuple[int, int], list[int]] = defaultdict(list)
        for place, index in enumerate(asked):
            by_shape[int(heights[index]), int(widths[index])].append(place)
        groups = [np.array(group) for group in by_shape.values()]
    for group in groups:
        pixels = int(heights[asked[group[0]]]) * int(widths[asked[group[0]]]) if len(group) else 1
        at_once = max(1, min(batch_size, BATCH_PIXELS // pixels))
        for start in range(0, len(group), at_once):
            yield group[start : start + at_once]
