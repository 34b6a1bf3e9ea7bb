"""`[train.schedule]`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from trainer.sections.base import NonNegative, Section, Share


class Constant(Section):
    """The peak throughout, after a linear warm-up."""

    name: Literal["constant"]
    warmup_epochs: NonNegative = 0.0
    """Epochs of linear rise before it."""


class InverseTime(Section):
    """`learning_rate / (1 + decay · step)`, the `decay` argument of Keras' older optimisers."""

    name: Literal["inverse_time"]
    decay: PositiveFloat | None = None
    """Left out: learning rate divided by the number of epochs."""


class Step(Section):
    """Multiplied by `factor` after every `every_epochs` epochs."""

    name: Literal["step"]
    factor: Annotated[float, Field(gt=0.0, le=1.0)]
    """What the rate is multiplied by."""
    every_epochs: PositiveInt
    """After how many epochs each time."""
    warmup_epochs: NonNegative = 0.0
    """Epochs of linear rise before it."""


class Exponential(Section):
    """Multiplied by `factor` over every `every_epochs` epochs, a little at each step."""

    name: Literal["exponential"]
    factor: Annotated[float, Field(gt=0.0, le=1.0)]
    """What the rate is multiplied by."""
    every_epochs: PositiveFloat = 1.0
    """Over how many epochs."""
    warmup_epochs: NonNegative = 0.0
    """Epochs of linear rise before it."""


class Cosine(Section):
    """Half a cosine from the peak down, after a linear warm-up."""

    name: Literal["cosine"]
    warmup_epochs: NonNegative = 0.0
    """Epochs of linear rise before it."""
    final_fraction: Share = 0.0
    """Share of the peak that is left at the end."""


class OneCycle(Section):
    """Linear rise to the learning rate over `rise` of the steps, then linear fall to `final_fraction` of it."""

    name: Literal["one_cycle"]
    rise: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.25
    """Share of the steps that go up."""
    initial_fraction: Share = 0.1
    """Share of the peak at the start."""
    final_fraction: Share = 0.01
    """Share of the peak at the end."""


Schedule = Annotated[
    Constant | InverseTime | Step | Exponential | Cosine | OneCycle,
    Field(discriminator="name"),
]
