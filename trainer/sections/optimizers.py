"""`[train.optimizer]`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat

from trainer.sections.base import Fraction, NonNegative, Section


class Sgd(Section):
    """Stochastic gradient descent."""

    name: Literal["sgd"]
    learning_rate: PositiveFloat = 0.01
    """Peak learning rate."""
    momentum: Fraction = 0.0
    """Share of the last update kept."""
    nesterov: bool = False
    """Whether momentum looks ahead."""
    weight_decay: NonNegative = 0.0
    """Decoupled: each step takes off this share of the weights times the learning rate; biases and normalisation
    parameters are spared."""


class RmsProp(Section):
    """RMSProp (Hinton 2012, lecture 6e)."""

    name: Literal["rmsprop"]
    learning_rate: PositiveFloat = 0.001
    """Peak learning rate."""
    rho: Fraction = 0.9
    """Decay of the mean square."""
    momentum: Fraction = 0.0
    """Share of the last update kept."""
    epsilon: PositiveFloat = 1e-7
    """Added under the root; the Inception papers use 1.0."""
    weight_decay: NonNegative = 0.0
    """Decoupled: each step takes off this share of the weights times the learning rate; biases and normalisation
    parameters are spared."""


class AdamW(Section):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101)."""

    name: Literal["adamw"]
    learning_rate: PositiveFloat = 0.001
    """Peak learning rate."""
    beta_1: Fraction = 0.9
    """Decay of the mean."""
    beta_2: Fraction = 0.999
    """Decay of the mean square."""
    epsilon: PositiveFloat = 1e-7
    """Added to the root."""
    weight_decay: NonNegative = 0.0
    """Decoupled: each step takes off this share of the weights times the learning rate; biases and normalisation
    parameters are spared."""


Optimizer = Annotated[Sgd | RmsProp | AdamW, Field(discriminator="name")]
