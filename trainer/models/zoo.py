"""The table of networks: every row names its paper, its options and the function that builds it.

Free of TensorFlow and Keras until `build` is called, so that a recipe can be checked anywhere. Adding a network is
adding a row; the tests are parameterised over the rows.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from trainer.errors import RecipeError, nearest
from trainer.sections.model import ModuleWidths
from trainer.weights import published

if TYPE_CHECKING:
    import keras

    from trainer.config import Model

Scaling = Literal["unit", "symmetric"]
"""How pixels are scaled before they enter: x / 255, or x / 127.5 - 1."""
SMALL_STEM_IMAGES = range(32, 97)
"""Pixels the small stem takes."""
SMALL_STEM_IMAGE_SIZE = 32
"""Pixels the small stem gets unless the recipe says otherwise."""
WIDEST = 8.0


@dataclass(frozen=True)
class Paper:
    """Where a network was published. `arxiv` is None for the two that come from tutorials."""

    title: str
    year: int
    arxiv: str | None
    where: str
    """The section, table or figure that defines the network."""

    def __str__(self) -> str:
        address = f", arXiv:{self.arxiv}" if self.arxiv else ""
        return f"{self.title} ({self.year}){address}, {self.where}"


@dataclass(frozen=True)
class Options:
    """A recipe's `[model]` section with nothing left open. What a row lacks has its neutral value here."""

    variant: str
    image_size: int
    scaling: Scaling
    stem: Literal["paper", "small"] = "paper"
    width: float = 1.0
    auxiliary: bool = False
    dropout: float = 0.0
    residual_scale: float | None = None
    """None: the scales of the released networks, one per type of block."""
    bn_momentum: float = 0.99
    bn_gamma: bool = False
    lrn: bool = False
    module: ModuleWidths | None = None
    fused: bool = False
    """Batch normalisation trains through TensorFlow's fused operation: for training only."""


@dataclass(frozen=True)
class Variant:
    """One row."""

    name: str
    note: str
    """Which of the graphs in circulation this is, in a sentence."""
    paper: Paper
    builder: str
    """`module:function`, called with `Options` and the number of classes."""
    image_size: int
    """Pixels a side the paper's stem gets unless the recipe says otherwise."""
    smallest_image: int
    """Pixels a side below which the paper's stem leaves nothing to classify."""
    scaling: Scaling
    options: frozenset[str] = frozenset()
    """Which of the recipe's options it has, beside `width` and `image_size`, which all have."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Where its defaults differ from those of `Options`."""

    @property
    def has_small_stem(self) -> bool:
        return "stem" in self.options

    @property
    def weights(self) -> tuple[published.Weights, ...]:
        """The published weights that load into it."""
        return published.WEIGHTS.get(self.name, ())

    def default(self, option: str) -> Any:
        """What an option is when the recipe leaves it out."""
        return self.defaults.get(option, _NEUTRAL[option])


OPTIONAL = ("stem", "auxiliary", "dropout", "residual_scale", "bn_momentum", "bn_gamma", "lrn", "module")
"""Options that only some rows have."""
_NEUTRAL: dict[str, Any] = {name: Options.__dataclass_fields__[name].default for name in OPTIONAL}

_GOING_DEEPER = ("Going deeper with convolutions", 2014, "1409.4842")
_BATCH_NORM = (
    "Batch normalization: accelerating deep network training by reducing internal covariate shift",
    2015,
    "1502.03167",
)
_RETHINKING = ("Rethinking the Inception architecture for computer vision", 2015, "1512.00567")
_RANDOM_LABELS = ("Understanding deep learning requires rethinking generalization", 2016, "1611.03530")
_RESIDUAL = ("Inception-v4, Inception-ResNet and the impact of residual connections on learning", 2016, "1602.07261")

_NORMALISED = frozenset({"stem", "dropout", "bn_momentum", "bn_gamma"})

VARIANTS: dict[str, Variant] = {
    row.name: row
    for row in (
        Variant(
            name="inception_module",
            note="The CIFAR-10 tutorial's net: one module of 1×1→3×3, 1×1→5×5 and pool→1×1, then a flat classifier.",
            paper=Paper(*_GOING_DEEPER, "the module of figure 2(b) without its plain 1×1 branch"),
            builder="trainer.models.tutorials:inception_module",
            image_size=32,
            smallest_image=8,
            scaling="unit",
            options=frozenset({"dropout", "module"}),
            defaults={"module": ModuleWidths()},
        ),
        Variant(
            name="convnet",
            note="The cats-and-dogs baseline: four 3×3 convolutions with pools, Dense 512, one unit for 2 classes.",
            paper=Paper("Deep learning with Python (F. Chollet)", 2017, None, "listings 5.5 and 5.13"),
            builder="trainer.models.tutorials:convnet",
            image_size=150,
            smallest_image=46,
            scaling="unit",
            options=frozenset({"dropout"}),
            defaults={"dropout": 0.5},
        ),
        Variant(
            name="googlenet",
            note="The paper's 5×5 branches, biases, no batch normalisation, two auxiliary classifiers; LRN on request.",
            paper=Paper(*_GOING_DEEPER, "table 1"),
            builder="trainer.models.googlenet:googlenet",
            image_size=224,
            smallest_image=32,
            scaling="unit",
            options=frozenset({"stem", "auxiliary", "dropout", "lrn"}),
            defaults={"auxiliary": True, "dropout": 0.4},
        ),
        Variant(
            name="inception_v2",
            note="BN-Inception with TF-slim's widths (576, 576, 1024) and separable first convolution.",
            paper=Paper(*_BATCH_NORM, "figure 5"),
            builder="trainer.models.inception_v2:inception_v2",
            image_size=224,
            smallest_image=32,
            scaling="symmetric",
            options=_NORMALISED,
            # Section 4.2.1 removes dropout.
        ),
        Variant(
            name="inception_v3",
            note="The network its authors released, with the auxiliary classifier on the last 17×17 grid.",
            paper=Paper(*_RETHINKING, "section 6 and figures 5 to 8"),
            builder="trainer.models.inception_v3:inception_v3",
            image_size=299,
            smallest_image=75,
            scaling="symmetric",
            options=_NORMALISED | {"auxiliary"},
            # Trained with the auxiliary classifier (section 4 calls it a regulariser).
            defaults={"auxiliary": True, "dropout": 0.2},
        ),
        Variant(
            name="inception_small",
            note="The network for CIFAR-10 of that paper's experiments: modules of a 1×1 beside a 3×3, nothing else.",
            paper=Paper(*_RANDOM_LABELS, "figure 3"),
            builder="trainer.models.inception_small:inception_small",
            image_size=28,
            smallest_image=8,
            scaling="symmetric",
            options=_NORMALISED,
        ),
        Variant(
            name="inception_v4",
            note="The paper's network; an auxiliary classifier as TF-slim adds it, on request.",
            paper=Paper(*_RESIDUAL, "figure 9"),
            builder="trainer.models.inception_v4:inception_v4",
            image_size=299,
            smallest_image=75,
            scaling="symmetric",
            options=_NORMALISED | {"auxiliary"},
            defaults={"dropout": 0.2},
        ),
        Variant(
            name="inception_resnet_v1",
            note="The paper's network of 5, 10 and 5 residual blocks; an auxiliary classifier by analogy, on request.",
            paper=Paper(*_RESIDUAL, "figure 15 with figures 10 to 14"),
            builder="trainer.models.inception_v4:inception_resnet_v1",
            image_size=299,
            smallest_image=75,
            scaling="symmetric",
            options=_NORMALISED | {"auxiliary", "residual_scale"},
            defaults={"dropout": 0.2},
        ),
        Variant(
            name="inception_resnet_v2",
            note="The network its authors released: v3's stem, 10, 20 and 10 residual blocks, a 1×1 before the head.",
            paper=Paper(*_RESIDUAL, "figure 15 with figures 16 to 19"),
            builder="trainer.models.inception_v4:inception_resnet_v2",
            image_size=299,
            smallest_image=75,
            scaling="symmetric",
            options=_NORMALISED | {"auxiliary", "residual_scale"},
            defaults={"dropout": 0.2},
        ),
    )
}


def variant(name: str) -> Variant:
    """The row of that name. Errors: RecipeError."""
    try:
        return VARIANTS[name]
    except KeyError:
        raise RecipeError(f"There is no variant {name!r}.", nearest(name, VARIANTS)) from None


def check(model: Model) -> None:
    """See that a recipe's `[model]` section asks for a network that exists.

    Errors: ValueError (what pydantic's validators raise), a sentence that names the key, the value and the remedy.
    """
    row = VARIANTS.get(model.variant)
    if row is None:
        raise ValueError(f"variant {model.variant!r} is unknown. {nearest(model.variant, VARIANTS)}")
    for option in OPTIONAL:
        asked = getattr(model, option)
        if option not in row.options and asked is not None and asked != _NEUTRAL[option]:
            raise ValueError(f"{row.name} has no option {option!r}, received {asked!r}. {_options_of(row)}")
    if model.width > WIDEST:
        raise ValueError(f"width {model.width} is out of range. It multiplies every channel count: at most {WIDEST:g}.")
    if model.residual_scale is not None and model.residual_scale > 1:
        raise ValueError(
            f"residual_scale {model.residual_scale} would let the branches drown the trunk. "
            "The paper's range is 0.1 to 0.3; at most 1."
        )
    published.check(model)
    size = model.image_size
    if size is None:
        return
    if model.stem == "small" and size not in SMALL_STEM_IMAGES:
        low, high = SMALL_STEM_IMAGES[0], SMALL_STEM_IMAGES[-1]
        raise ValueError(
            f"image_size {size} does not suit stem = 'small', which takes {low} to {high} pixels. "
            "Images of any size are resized to image_size, so choose one in that range or stem = 'paper'."
        )
    if model.stem == "paper" and size < row.smallest_image:
        instead = " or stem = 'small', which takes 32 to 96" if row.has_small_stem else ""
        raise ValueError(
            f"image_size {size} is too small for {row.name}, which needs at least {row.smallest_image} pixels. "
            f"Images of any size are resized to image_size, so choose a larger one{instead}."
        )


def resolve(model: Model) -> Options:
    """The section with every option filled in from the row's defaults. Errors: RecipeError (unknown variant)."""
    row = variant(model.variant)
    image_size = SMALL_STEM_IMAGE_SIZE if model.stem == "small" else row.image_size
    chosen = {name: getattr(model, name) for name in OPTIONAL if name != "stem"}
    return Options(
        variant=row.name,
        image_size=model.image_size or image_size,
        scaling=row.scaling,
        stem=model.stem,
        width=model.width,
        **{name: row.default(name) if value is None else value for name, value in chosen.items()},
    )


def build(model: Model, classes: int, *, fused: bool = False) -> keras.Model:
    """The network, untrained.

    Input: float images (batch, image_size, image_size, 3), already scaled as the row's `scaling` says. Output: a dict
    of float32 logits (batch, classes): "main" and, where auxiliary classifiers are asked for, "aux_1", "aux_2".

    Args:
        model: a recipe's `[model]` section.
        classes: at least 2.
        fused: batch normalisation is `normalisation.FusedBatchNormalization`, which trains faster on TensorFlow. The
            variables are the same; without it the network holds stock layers only, and loads without this project.

    Errors: RecipeError (unknown variant); ValueError (fewer than two classes).
    """
    if classes < 2:
        raise ValueError(f"A classifier needs at least 2 classes, received {classes}.")
    module, _, function = variant(model.variant).builder.partition(":")
    builder = getattr(importlib.import_module(module), function)
    network: keras.Model = builder(replace(resolve(model), fused=fused), classes)
    return network


def outline(model: Model, classes: int) -> keras.Model:
    """The network of `build` with no values in its variables: for names, shapes and counts, in half the time."""
    import keras

    def without_values() -> keras.Model:
        with keras.StatelessScope(initialize_variables=False):
            return build(model, classes)

    # What has no value yet is on a list of the thread's own, and Keras would give it one at the next occasion.
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(without_values).result()


def _options_of(row: Variant) -> str:
    return f"Its options: {', '.join(['width', *sorted(row.options)])}."
