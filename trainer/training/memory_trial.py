"""Real optimiser steps on growing batches, in a process that ends itself when it takes more memory than it may.

    python -m trainer.training.memory_trial ORDER

ORDER is a JSON object with the fields of `Order`. On standard output comes a line of JSON for every batch that fitted:
images, and the most memory taken so far beyond what the process had before there was a network.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.events import EVENTS_VARIABLE

if TYPE_CHECKING:
    from trainer.training.learner import Learner

TRIAL_SECONDS = 240.0
"""A trial that takes longer is given up."""
_WATCH_SECONDS = 0.02
_OUT_OF_MEMORY = 3
_ENDED_FOR_MEMORY = (_OUT_OF_MEMORY, -signal.SIGKILL, -signal.SIGABRT)
"""By itself; by the kernel; by an allocation in C++ that failed."""


@dataclass(frozen=True)
class Order:
    """What to try."""

    recipe: str
    """Canonical JSON."""
    classes: int
    shape: tuple[int, int]
    """Height and width of the images in a batch."""
    policy: str
    """A Keras dtype policy."""
    images: int
    """The largest batch that goes through the network at once."""
    limit: int
    """Bytes."""


@dataclass(frozen=True)
class Trial:
    """What came of it."""

    peaks: dict[int, int]
    """Bytes that a step took, for every number of images that fitted."""
    refused: bool
    """Whether one did not fit. Otherwise all did, or the trial was given up."""

    @property
    def largest(self) -> int:
        return max(self.peaks, default=0)

    def needed(self, images: int) -> int | None:
        """Bytes for more images than fitted, by the line through the two largest that did; None: too few did."""
        if len(self.peaks) < 2:
            return None
        (fewer, less), (most, more) = sorted(self.peaks.items())[-2:]
        return more + (more - less) * (images - most) // (most - fewer)


def attempt(order: Order, seconds: float = TRIAL_SECONDS) -> Trial:
    """Try it in a process of its own."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    environment.pop(EVENTS_VARIABLE, None)
    command = [sys.executable, "-m", "trainer.training.memory_trial", json.dumps(asdict(order))]
    try:
        done = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=seconds, check=False
        )
        said, refused = done.stdout, done.returncode in _ENDED_FOR_MEMORY
    except subprocess.TimeoutExpired as late:
        said, refused = late.stdout or b"", False
    # What a library prints is no line of ours, and neither is half a line.
    lines = [line for line in said.decode(errors="replace").splitlines() if line.startswith("[") and line.endswith("]")]
    return Trial(dict(map(json.loads, lines)), refused)


def sizes(most: int) -> list[int]:
    """1, 2, 4, … and `most` itself."""
    return [*(1 << power for power in range((most - 1).bit_length())), most]


def _try(order: Order) -> None:
    import keras
    import tensorflow as tf

    from trainer import config
    from trainer.models import classifier
    from trainer.training.learner import Learner

    keras.mixed_precision.set_dtype_policy(order.policy)
    tf.constant(0.0)  # the device has its buffers before the count begins
    before = _taken()
    threading.Thread(target=_end_at, args=[before + order.limit, os.getppid()], daemon=True).start()
    recipe = config.parse(order.recipe)
    train = recipe.train.model_copy(update={"batch_size": order.images, "micro_batch_size": None})
    learner = Learner(classifier.for_training(recipe.model, order.classes, order.shape), train, order.classes)
    for images in sizes(order.images):
        try:
            step(learner, images, order.shape)
        except tf.errors.ResourceExhaustedError:
            sys.exit(_OUT_OF_MEMORY)
        print(json.dumps([images, _peak() - before]), flush=True)


def step(learner: Learner, images: int, shape: tuple[int, int], iterate: Callable[[Any], Any] = iter) -> None:
    """One optimiser step on black images, to its end.

    TensorFlow is not told their number, so that one compiled step serves every number of them.
    """
    import tensorflow as tf

    batches = tf.data.Dataset.from_tensors(images).map(
        lambda count: (tf.zeros([count, *shape, 3], tf.uint8), tf.zeros([count], tf.int32))
    )
    learner.advance(iterate(batches), [0.0])
    learner.score()


def _end_at(limit: int, parent: int) -> None:
    """Watch over this process, and over who waits for it."""
    while os.getppid() == parent and _taken() <= limit:
        time.sleep(_WATCH_SECONDS)
    os._exit(_OUT_OF_MEMORY)


def _taken() -> int:
    """Bytes of memory this process has now."""
    return _status("VmRSS")


def _peak() -> int:
    """The most it ever had. Not `ru_maxrss`: that begins with what the process had that started this one."""
    return _status("VmHWM")


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise ValueError(f"/proc/self/status has no {field}")


if __name__ == "__main__":
    # Where the kernel itself must end a process, it is to be this one.
    Path("/proc/self/oom_score_adj").write_text("1000")
    order = json.loads(sys.argv[1])
    _try(Order(**{**order, "shape": tuple(order["shape"])}))
