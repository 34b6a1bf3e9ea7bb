"""The sections of a recipe, as frozen models that hold every default. `trainer.config` puts them together."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from trainer.errors import nearest

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]

SOURCE_KINDS = ("digits", "tfds", "folder")


class Section(BaseModel):
    # Strict: `epochs = true` is not one epoch, and `flip = "no"` does not switch it on or off.
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        use_attribute_docstrings=True,
        strict=True,
        allow_inf_nan=False,
    )


class Data(Section):
    """Where the images come from and how they are divided."""

    source: str
    """`digits`, `tfds:<name>[/<config>][:<version>]` or `folder:<path>`."""
    data_dir: str | None = None
    """Where TFDS finds its prepared data; without it TFDS downloads into the state folder."""
    validation_fraction: Fraction = 0.1
    """Share carved out for validation, by hash of the content, where the source has no validation split."""
    test_fraction: Fraction = 0.2
    """Share carved out for the frozen test split, likewise."""
    max_rejected_share: Share = 0.02
    """More unusable images than this share stop the run."""
    limit: PositiveInt | None = None
    """At most this many examples of each split (those whose identity sorts first): for trials."""

    @model_validator(mode="after")
    def _source_has_a_known_kind(self) -> Self:
        kind, _, rest = self.source.partition(":")
        if kind not in SOURCE_KINDS:
            raise ValueError(
                f"source kind {kind!r} is unknown. {nearest(kind, SOURCE_KINDS)} "
                "Write 'digits', 'tfds:<name>' or 'folder:<path>'."
            )
        if (kind == "digits") == bool(rest):
            raise ValueError(f"{self.source!r} is incomplete. Write 'digits', 'tfds:<name>' or 'folder:<path>'.")
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError(
                f"validation_fraction {self.validation_fraction} and test_fraction {self.test_fraction} leave "
                "nothing to train on. Their sum must stay under 1."
            )
        return self


class Model(Section):
    """Which network. An option that is left out takes the variant's own default (see `inception variants`)."""

    variant: str
    """A name from `inception variants`."""
    init: str | None = None
    """Published weights to begin with: `imagenet`, `keras:<file>`, `timm:<file or name>` or `slim:<checkpoint>`, where
    a file is a path or a `gs://` address; left out: random ones. See docs/weights.md."""
    image_size: PositiveInt | None = None
    """Pixels a side that the network takes; images of other sizes are resized inside the model."""
    stem: Literal["paper", "small"] = "paper"
    """`small` is for images of 32 to 96 pixels; it is in none of the papers."""
    width: PositiveFloat = 1.0
    """Multiplies every channel count but the classes."""
    auxiliary: bool | None = None
    """Auxiliary classifiers during training; the exported model never has them."""
    dropout: Fraction | None = None
    """Share of the features before the classifier that is dropped."""
    residual_scale: PositiveFloat | None = None
    """Factor on every residual branch, instead of the released networks' own."""
    bn_momentum: Fraction | None = None
    """Momentum of batch normalisation's moving averages."""
    bn_gamma: bool | None = None
    """Whether batch normalisation scales its output."""
    lrn: bool | None = None
    """Local response normalisation in the stem."""

    @model_validator(mode="after")
    def _variant_has_these_options(self) -> Self:
        from trainer.models import zoo

        zoo.check(self)
        return self


class Sgd(Section):
    """Stochastic gradient descent."""

    name: Literal["sgd"]
    learning_rate: PositiveFloat = 0.01
    """Peak learning rate."""
    momentum: Fraction = 0.0
    """Share of the last update kept."""
    nesterov: bool = False
    """Whether momentum looks ahead."""


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
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    """Decoupled; biases and normalisation parameters are spared."""


Optimizer = Annotated[Sgd | RmsProp | AdamW, Field(discriminator="name")]


class Constant(Section):
    """The peak throughout."""

    name: Literal["constant"]


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
    warmup_epochs: Annotated[float, Field(ge=0.0)] = 0.0
    """Epochs of linear rise before it."""


class Cosine(Section):
    """Half a cosine from the peak down, after a linear warm-up."""

    name: Literal["cosine"]
    warmup_epochs: Annotated[float, Field(ge=0.0)] = 0.0
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


Schedule = Annotated[Constant | InverseTime | Step | Cosine | OneCycle, Field(discriminator="name")]


class Augment(Section):
    """Random changes of the training images, drawn uniformly; zero or false switches one off."""

    flip: bool = False
    """Left to right, half of the images."""
    rotation: Annotated[float, Field(ge=0.0, le=180.0)] = 0.0
    """Degrees either way."""
    shift: Fraction = 0.0
    """Share of height and width either way."""
    shear: Annotated[float, Field(ge=0.0, lt=90.0)] = 0.0
    """Degrees either way (as Keras' ImageDataGenerator counted them)."""
    zoom: Fraction = 0.0
    """Height and width each scaled by a factor in 1 ± zoom."""
    fill: Literal["nearest", "constant", "reflect"] = "nearest"
    """What comes into the picture from outside it."""


class Train(Section):
    """How the network is trained."""

    epochs: PositiveInt
    """Passes over the training split."""
    batch_size: PositiveInt
    """Images per optimiser step; what is left over at an epoch's end waits for the next."""
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
    checkpoint_minutes: PositiveFloat = 5.0
    """A checkpoint is written after every epoch, and within one after this many minutes."""

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
    """What a run may use. Never part of a run's identity."""

    workers: PositiveInt | None = None
    """Threads that decode images; left out: one per processor."""
