"""`[evaluate]`, `[gate]`, `[registry]` and `[resources]`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt

from trainer.errors import nearest
from trainer.sections.base import Section, Share

SLICES = ("class", "folder", "size", "brightness", "height", "width")
"""Columns of the test examples by which a scorecard can be divided."""


def _known_slice(column: str) -> str:
    if column not in SLICES:
        raise ValueError(f"received {column!r}. {nearest(column, SLICES)}")
    return column


Slices = Annotated[tuple[Annotated[str, AfterValidator(_known_slice)], ...], Field(strict=False)]


class Evaluate(Section):
    """How challenger and champion are scored."""

    batch_size: PositiveInt = 64
    """Images per prediction."""
    mistakes: Annotated[int, Field(ge=0, le=100)] = 24
    """How many of the worst mistakes the run card shows as pictures; and, each, of the examples that are newly right
    and newly wrong, up to 24."""
    slices: Slices = ("size", "brightness")
    """Accuracy by these columns of the test examples too: `class`, `folder` (in the source), `size` (the longer side),
    `brightness`, `height`, `width`. A column that has one value for all is left out."""
    resamples: NonNegativeInt = 1000
    """Of the bootstrap that gives every figure its 95 % interval; 0: no intervals."""
    latency: bool = True
    """Measure how long both models take for 1 and for 32 images, in alternation."""
    renamed: dict[str, str] = Field(default={})
    """Classes that were called otherwise when the champion was trained: old name to new name."""


class Gate(Section):
    """What a challenger must show to become champion. A limit that is left out is not asked for.

    A first model has only `threshold` and `max_calibration_error` to meet.
    """

    policy: Literal["paired", "threshold"] = "paired"
    """`threshold` leaves the tests of the gain out (significance and effect): for data too small for them to say
    anything. Any gain then promotes, and no error budget is kept."""
    threshold: Share
    """Accuracy below which nothing is promoted."""
    min_improvement: Share = 0.0
    """By how much the challenger must beat the champion's accuracy on the test examples. Ties keep in any case."""
    min_effect: Annotated[float, Field(ge=0.0, lt=1.0)] | None = None
    """By how much it must be truly better: the whole paired bootstrap interval of the gain must lie above."""
    alpha: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.05
    """Level of the exact McNemar test on the paired predictions, where the error budget leaves that much."""
    budget: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    """Error budget of a test set: the chance that a model which is no better is ever promoted on it. The ledger
    remembers what was spent; test examples that are added bring some of it back."""
    horizon: PositiveInt = 52
    """Each decision on a test set may spend one part in so many of what is left of the budget."""
    confidence: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.95
    """Of the bootstrap interval that `min_effect` is held against."""
    resamples: Annotated[int, Field(ge=100, le=1_000_000)] = 10_000
    """Of that bootstrap."""
    max_class_drop: Share | None = None
    """By how much the recall of any class may fall. A fall that may be chance is named, and blocks nothing: the exact
    McNemar test on the class's examples must reject "no worse", at `alpha` divided by the number of classes."""
    max_calibration_error: Share | None = None
    """Expected calibration error above which nothing is promoted."""
    max_latency_ratio: PositiveFloat | None = None
    """How many times the champion's time per batch, of 1 and of 32 images, the challenger may take."""
    max_size_ratio: PositiveFloat | None = None
    """How many times the champion's size the registered model's files may have."""
    allow_class_changes: bool = False
    """Consent to a challenger that knows other classes than the champion: both are compared on the test examples of
    the classes that both know. Without it such a verdict is undecided."""


class Registry(Section):
    """Where the model goes."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=100)]
    """The registered model: `models:/<name>@champion`."""


class Resources(Section):
    """What a run may use and how it is watched. Never part of a run's identity."""

    workers: PositiveInt | None = None
    """Threads that decode images; left out: one per processor."""
    steps_per_execution: PositiveInt | None = None
    """Optimiser steps that the device is sent off with at once; left out: chosen from the time that a step takes."""
    checkpoints: str | None = None
    """Folder, or address in an object store, for checkpoints; left out: the store that runs share, else the state
    folder."""
    checkpoint_minutes: PositiveFloat = 5.0
    """A checkpoint is written after every epoch, and within one after this many minutes."""
    system_metrics: bool = True
    """Log processor, memory, disk, network and GPU figures to MLflow."""
    tensorboard: bool = False
    """Write TensorBoard event files beside the run record."""
