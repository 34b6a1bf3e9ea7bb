"""How training steps are compiled: as TensorFlow's graphs, or by XLA where that is faster.

On a processor XLA halves the speed of these networks, so `auto` takes graphs there. On a GPU it depends on network and
driver: a few steps are measured each way on a state that is put back to the bit, and the answer is kept beside the
state's other caches. It is never silent: a note has both figures.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from trainer import config
from trainer.config import Recipe
from trainer.events import note
from trainer.state import write_atomically
from trainer.training.devices import Devices
from trainer.training.learner import Compilation, Learner

STEPS, TURNS = 5, 3
"""The fastest of so many turns of so many steps counts."""
WORTH = 0.97
"""XLA must take less than this share of the graph's time: its compiling takes minutes for the larger networks."""
REFUSALS = (tf.errors.OpError, NotImplementedError, TypeError, ValueError)
"""What a step raises that XLA cannot compile, or for which it finds no memory."""

Batch = Callable[[], tuple[Any, Any]]
"""Gives a batch of images and labels."""


@dataclass(frozen=True)
class Measured:
    """Seconds that a step takes each way; infinite where XLA cannot compile it."""

    graph: float
    xla: float

    @property
    def faster(self) -> Compilation:
        return "xla" if self.xla < WORTH * self.graph else "graph"

    def __str__(self) -> str:
        xla = f"{self.xla * 1e3:.1f} ms by XLA" if math.isfinite(self.xla) else "XLA cannot compile it"
        return f"a step takes {self.graph * 1e3:.1f} ms as a graph, {xla}"


def settle(
    learner: Learner, recipe: Recipe, kept: Compilation | None, devices: Devices, batch: Batch, cache: Path
) -> Compilation:
    """Compile the learner's step the way it is to be compiled, and say which that is. Its state is left as it was.

    Args:
        learner: not stepped yet, or restored.
        recipe: for `train.compilation`, and for what an answer is remembered by.
        kept: how this training was compiled before it was interrupted: bits differ between the two ways.
        devices: where the learner is.
        batch: to measure with; asked only where something is measured.
        cache: the state's folder of caches.

    Errors: StateError (the answer cannot be written).
    """
    chosen = kept or _chosen(learner, recipe, devices, batch, cache)
    learner.compile(chosen)
    return chosen


def _chosen(learner: Learner, recipe: Recipe, devices: Devices, batch: Batch, cache: Path) -> Compilation:
    asked = recipe.train.compilation
    if asked == "graph" or (asked == "auto" and not devices.is_gpu):
        return "graph"
    if devices.count > 1:
        note(f"compiled as a graph: XLA takes no part in steps that are divided among {devices}")
        return "graph"
    if asked == "xla":
        if math.isfinite(_seconds(learner, "xla", batch, turns=0)):
            return "xla"
        note("compiled as a graph: XLA, which the recipe asks for, cannot compile this network")
        return "graph"
    about = identity(recipe, devices)
    file = place(about, cache)
    measured, when = recall(file), "measured before"
    if measured is None:
        measured, when = measure(learner, batch), "measured now"
        keep(file, measured, about)
    note(f"compiled {'by XLA' if measured.faster == 'xla' else 'as a graph'}: {measured} ({when}, on {devices})")
    return measured.faster


def measure(learner: Learner, batch: Batch) -> Measured:
    """A few steps each way. The learner's state is put back to the bit."""
    return Measured(_seconds(learner, "graph", batch), _seconds(learner, "xla", batch))


def _seconds(learner: Learner, way: Compilation, batch: Batch, turns: int = TURNS) -> float:
    """What a step takes once it is compiled; infinite where XLA refuses it. Without turns it is only compiled."""
    state = learner.state()
    batches = iter(tf.data.Dataset.from_tensors(batch()).repeat())
    learner.compile(way)
    fastest = math.inf if turns else 0.0
    try:
        learner.advance(batches, [0.0])
        learner.score()  # waits for the device
        for _ in range(turns):
            begun = time.perf_counter()
            learner.advance(batches, [0.0] * STEPS)
            learner.score()
            fastest = min(fastest, (time.perf_counter() - begun) / STEPS)
    except REFUSALS:
        if way == "graph":
            raise
        return math.inf
    finally:
        learner.reset()
        learner.restore(state)
    return fastest


def identity(recipe: Recipe, devices: Devices) -> dict[str, Any]:
    """What a measured answer holds for."""
    return {
        "model": recipe.model.model_dump(mode="json", exclude={"init", "test_time"}),
        "batch_size": recipe.train.batch_size,
        "micro_batch_size": recipe.train.micro_batch_size,
        "optimizer": recipe.train.optimizer.name,
        "averaged": recipe.train.ema is not None,
        "transfer": recipe.transfer is not None,
        "precision": keras.config.dtype_policy().name,
        "device": devices.label,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }


def place(about: dict[str, Any], cache: Path) -> Path:
    """The file of an answer."""
    return cache / "compilation" / f"{config.sha256_text(config.canonical_json(about))[:16]}.json"


def keep(file: Path, measured: Measured, about: dict[str, Any]) -> None:
    """Write an answer down. Errors: StateError."""
    xla = measured.xla if math.isfinite(measured.xla) else None
    write_atomically(file, json.dumps({**about, "graph_seconds": measured.graph, "xla_seconds": xla}, indent=1))


def recall(file: Path) -> Measured | None:
    """An answer of an earlier training; None where there is none that can be read."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        xla = found["xla_seconds"]
        return Measured(float(found["graph_seconds"]), math.inf if xla is None else float(xla))
    except (OSError, ValueError, KeyError, TypeError):
        return None
