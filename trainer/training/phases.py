"""The phases of a training: usually one; two with a `[transfer]` section.

Transfer learning trains the new classifier alone on a frozen body first, so that its random gradients do not wash out
what the body knows, then the body from a named stage on, at a lower rate. A frozen layer's batch statistics stand
still too (Keras' rule for `trainable = False`).
"""

from __future__ import annotations

from dataclasses import dataclass

import keras

from trainer.config import Recipe
from trainer.errors import RecipeError, nearest
from trainer.training.schedules import LearningRate, learning_rate

HEAD_STAGES = ("head", "aux_1", "aux_2")


@dataclass(frozen=True)
class Phase:
    """A stretch of steps under one schedule, with one choice of what is trained."""

    name: str
    first_step: int
    last_step: int
    """Not included."""
    rate: LearningRate
    """Of a step counted from the start of the training."""
    frozen: frozenset[str]
    """Stages that do not move."""


def phases(recipe: Recipe, network: keras.Model, steps_per_epoch: int) -> list[Phase]:
    """What the recipe asks for, in order.

    Args:
        recipe: with or without `[transfer]`.
        network: as `zoo.build` made it; its stages are what comes before the first dot of its layers' names.
        steps_per_epoch: optimiser steps in one epoch.

    Errors: RecipeError (`transfer.unfreeze_from` is no stage of the network).
    """
    train, transfer = recipe.train, recipe.transfer
    peak = train.optimizer.learning_rate
    if transfer is None:
        rate = learning_rate(train.schedule, peak, train.epochs, steps_per_epoch)
        return [Phase("training", 0, train.epochs * steps_per_epoch, rate, frozenset())]
    body = [stage for stage in stages(network) if stage not in HEAD_STAGES]
    start = transfer.unfreeze_from or body[0]
    if start not in body:
        raise RecipeError(
            f"transfer.unfreeze_from: {recipe.model.variant} has no stage {start!r}. {nearest(start, body)}",
            f"Its stages: {', '.join(body)}.",
        )
    boundary = transfer.head_epochs * steps_per_epoch
    tuning_epochs = train.epochs - transfer.head_epochs
    head = learning_rate(train.schedule, peak, transfer.head_epochs, steps_per_epoch)
    tuning = learning_rate(train.schedule, peak * transfer.rate_factor, tuning_epochs, steps_per_epoch)
    return [
        Phase("head", 0, boundary, head, frozenset(body)),
        Phase(
            "fine-tuning",
            boundary,
            train.epochs * steps_per_epoch,
            lambda step: tuning(step - boundary),
            frozenset(body[: body.index(start)]),
        ),
    ]


def stages(network: keras.Model) -> list[str]:
    """The stages of a network, in the order of computation."""
    named = [layer.name.partition(".")[0] for layer in network.layers if layer.weights]
    return list(dict.fromkeys(named))


def freeze(network: keras.Model, frozen: frozenset[str]) -> None:
    """Let the layers of these stages stand still, and all others move."""
    for layer in network.layers:
        layer.trainable = layer.name.partition(".")[0] not in frozen
