"""`[train]` and `[transfer]`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from trainer.sections.augment import Augment
from trainer.sections.base import Fraction, NonNegative, Section, Share
from trainer.sections.optimizers import Optimizer
from trainer.sections.schedules import Constant, Schedule


class Ema(Section):
    """Exponential moving average of the weights and of the statistics of batch normalisation (Polyak averaging)."""

    decay: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.999
    """Share of the average that each optimiser step keeps; less in the first steps."""
    every: PositiveInt = 1
    """The average moves after this many steps, by as much as they would have moved it together."""


class EarlyStopping(Section):
    """Stop a training that no longer gets better; the weights of its best epoch are kept.

    With `[transfer]` the epochs of the second phase are judged: the first one only prepares it.
    """

    patience: PositiveInt
    """Epochs without a better figure before it stops."""
    metric: Literal["validation_loss", "validation_accuracy"] = "validation_loss"
    """Which figure."""
    min_delta: NonNegative = 0.0
    """By how much it must be better to count."""


class Divergence(Section):
    """What counts as a training that diverged (a loss that is not a number always does), and what is done."""

    loss_factor: Annotated[float, Field(gt=1.0)] = 10.0
    """A loss this many times that of guessing is an explosion."""
    restarts: Annotated[int, Field(ge=0)] = 0
    """How often the training may go back to its last good checkpoint, at a lower rate, before it fails."""
    rate_factor: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    """What the learning rate is multiplied by at each restart."""


class Train(Section):
    """How the network is trained."""

    epochs: PositiveInt
    """Passes over the training split."""
    batch_size: PositiveInt
    """Images per optimiser step; what is left over at an epoch's end is left out of it."""
    micro_batch_size: PositiveInt | None = None
    """Images that go through the network at once; the gradients of a batch are added up. Saves memory."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Of initial weights, order, augmentation and dropout."""
    optimizer: Optimizer
    """How the weights are moved."""
    schedule: Schedule = Constant(name="constant")
    """The learning rate over the training."""
    augment: Augment = Augment()
    """Random changes of the training images."""
    label_smoothing: Fraction = 0.0
    """Share of every target spread evenly over all classes."""
    auxiliary_weight: Share = 0.3
    """Weight of each auxiliary classifier's loss beside the main one's 1."""
    l2: Annotated[float, Field(ge=0.0)] = 0.0
    """Half the squared norm of every kernel, times this, is added to the loss."""
    clip_norm: PositiveFloat | None = None
    """Gradients are scaled down to this global norm."""
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = "auto"
    """`auto` asks the processor: bfloat16 where it is fast, else float32."""
    compilation: Literal["auto", "graph", "xla"] = "auto"
    """How a step is compiled. `auto`: TensorFlow's graphs on a processor; on a GPU what a few measured steps say."""
    ema: Ema | None = None
    """The registered weights are a moving average of the trained ones."""
    class_weights: Literal["none", "balanced"] | dict[str, PositiveFloat] = "none"
    """Factor on the loss of each class's images: `balanced` makes up for rare classes, or a table of class names."""
    sampling: Literal["shuffle", "balanced"] = "shuffle"
    """`shuffle`: every image once an epoch. `balanced`: every class equally often, so rare images return more often."""
    early_stopping: EarlyStopping | None = None
    """Stop when the validation split says so, and register the best epoch's weights."""
    divergence: Divergence = Divergence()
    """What is done about a loss that explodes."""
    members: Annotated[int, Field(ge=1, le=32)] = 1
    """Networks trained one after the other, with seeds `seed`, `seed` + 1, …, and registered as one model that averages
    their probabilities; the GoogLeNet paper used seven (arXiv:1409.4842, section 7)."""
    scratch_every: PositiveInt | None = None
    """With `model.init = "champion"`: every run of this number begins with random weights all the same."""

    @model_validator(mode="after")
    def _micro_batches_fill_the_batch(self) -> Self:
        if self.micro_batch_size is not None and self.batch_size % self.micro_batch_size:
            raise ValueError(
                f"micro_batch_size {self.micro_batch_size} does not divide batch_size {self.batch_size}. "
                "Choose a divisor of it."
            )
        return self


class Transfer(Section):
    """Transfer learning: first the new classifier alone on a frozen body, then the body too, at a lower rate."""

    head_epochs: PositiveInt
    """Epochs of `train.epochs` in which only the classifiers are trained."""
    unfreeze_from: str | None = None
    """First stage that moves in the epochs after (`inception variants NAME --layers` names them); left out: all."""
    rate_factor: Annotated[float, Field(gt=0.0, le=1.0)] = 0.1
    """What the learning rate of the second phase is multiplied by."""
