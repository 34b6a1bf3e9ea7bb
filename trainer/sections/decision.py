"""`[evaluate]`, `[gate]`, `[registry]` and `[resources]`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from trainer.sections.base import Section, Share


class Evaluate(Section):
    """How challenger and champion are scored."""

    batch_size: PositiveInt = 64
    """Images per prediction."""
    mistakes: Annotated[int, Field(ge=0, le=100)] = 24
    """How many of the worst mistakes the run card shows as pictures."""


class Gate(Section):
    """What a challenger must show to become champion."""

    policy: Literal["paired", "threshold"] = "paired"
    """`threshold` leaves the significance test out: for data too small for it to say anything."""
    threshold: Share
    """Accuracy below which nothing is promoted."""
    min_improvement: Share = 0.0
    """By how much the challenger must beat the champion's accuracy."""
    alpha: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.05
    """Level of the exact McNemar test on the paired predictions."""


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
    """Folder or `gs://` address for checkpoints; left out: the state folder."""
    checkpoint_minutes: PositiveFloat = 5.0
    """A checkpoint is written after every epoch, and within one after this many minutes."""
    system_metrics: bool = True
    """Log processor, memory, disk, network and GPU figures to MLflow."""
    tensorboard: bool = False
    """Write TensorBoard event files beside the run record."""
