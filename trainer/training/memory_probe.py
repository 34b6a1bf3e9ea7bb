"""Whether a training's batch fits into memory, and which does.

Linux gives out memory that it does not have and later kills whoever takes it, so a training on the processor cannot
catch that its batch is too large. Before it starts, an estimate says whether there is any danger; only then is it
tried, in a process of its own (`memory_trial`). A GPU says so itself, and there smaller batches are tried in place
(`exhausted`): no other process could, for this one holds the device's memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from trainer.config import Recipe
from trainer.errors import TrainingError
from trainer.events import note
from trainer.models import cost, zoo
from trainer.training import memory_trial
from trainer.training.free_memory import free_memory
from trainer.training.learner import Learner
from trainer.training.memory_trial import Order, Trial

DANGER = 0.6
"""An estimate below this share of what is free is not worth trying."""
USABLE = 0.9
"""Share of what is free that a step may take: reading ahead, validation and the export need some too."""
_FULLEST = 2
"""What a step holds at its fullest, in activations of a forward pass; 0.9 to 1.8 was measured."""
_COPIES_OF_WEIGHTS = 5
"""Weights, gradients, two slots of an optimiser and an average."""
_COMPILED_STEP = 300 * 10**6
"""Bytes of a compiled step, whatever the batch."""


def guard(
    recipe: Recipe,
    classes: int,
    shape: tuple[int, int],
    policy: str,
    network: keras.Model | None = None,
    free: int | None = None,
) -> None:
    """See to it that the batch fits before a training on the processor starts. Does nothing where a GPU is in use.

    Args:
        recipe: what will be trained.
        classes: of the prepared dataset.
        shape: height and width of the images in a batch.
        policy: the Keras dtype policy in force.
        network: of `zoo.build`, to spare building one.
        free: bytes of memory to go by; None: what there is.

    Errors: TrainingError (too large; it names the largest that fits).
    """
    if tf.config.list_physical_devices("GPU"):
        return
    free = free_memory() if free is None else free
    expected = estimate(network or zoo.build(recipe.model, classes), recipe, shape, policy)
    if expected <= DANGER * free:
        return
    images = _at_once(recipe)
    note(f"a step on {images:,} images may need {_size(expected)}, and {_size(free)} of memory are free: trying it")
    trial = memory_trial.attempt(Order(recipe.canonical(), classes, shape, policy, images, limit=int(USABLE * free)))
    if trial.refused:
        raise _too_large(recipe, trial, free)


def estimate(network: keras.Model, recipe: Recipe, shape: tuple[int, int], policy: str) -> int:
    """Bytes that a training takes beside what its process has already; rather too many than too few."""
    price = cost.of(network)
    activations = _at_once(recipe) * price.activation_bytes // (1 if policy == "float32" else 2)
    # Four batches as bytes, those read ahead among them, and the images under way as float32 four times.
    images = recipe.train.batch_size * shape[0] * shape[1] * 3 * (4 * 1 + 4 * 4)
    weights = _COPIES_OF_WEIGHTS * price.parameters * cost.BYTES_PER_NUMBER
    return _FULLEST * activations + images + weights + _COMPILED_STEP


def exhausted(
    recipe: Recipe, learner: Learner, shape: tuple[int, int], iterate: Callable[[tf.data.Dataset], Any] = iter
) -> TrainingError:
    """The error for a device that ran out of memory in mid training, with the largest batch that fits.

    The learner takes steps on black images to find out, so it is of no use afterwards; its checkpoints are.

    Args:
        iterate: makes the learner's iterators, as `Devices.iterate`.
    """
    images = _at_once(recipe) // 2
    parts = recipe.train.batch_size // _at_once(recipe)
    while images:
        try:
            memory_trial.step(learner, images * parts, shape, iterate)
            break
        except tf.errors.ResourceExhaustedError:
            images //= 2
    return _too_large(recipe, Trial({images: 0} if images else {}, refused=True), None)


def _too_large(recipe: Recipe, trial: Trial, free: int | None) -> TrainingError:
    key, images = _key(recipe), _at_once(recipe)
    needed = trial.needed(images)
    needs = "does not fit into memory" if needed is None else f"needs about {_size(needed)} of memory"
    here = "" if free is None else f", {_size(free)} are free"
    largest = trial.largest
    if not largest:
        return TrainingError(
            f"{key} {images} {needs}{here}, and not even one image fits.",
            "Take a smaller network (model.width, model.image_size, model.variant), or a machine with more memory.",
        )
    batch = recipe.train.batch_size
    part = max(size for size in range(1, largest + 1) if batch % size == 0)
    smaller = f"train.micro_batch_size to {part}"
    if key == "train.batch_size":
        smaller = f"train.batch_size to {largest}, or keep the batch and set {smaller}"
    return TrainingError(f"{key} {images} {needs}{here}; the largest that fits here is {largest}.", f"Set {smaller}.")


def _at_once(recipe: Recipe) -> int:
    """Images that go through the network together."""
    return recipe.train.micro_batch_size or recipe.train.batch_size


def _key(recipe: Recipe) -> str:
    return "train.micro_batch_size" if recipe.train.micro_batch_size else "train.batch_size"


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count < 10e9 else f"{count / 1e9:.0f} GB"
