"""The recipe: what an operator writes in `configs/*.toml`, as frozen models that hold every default.

`load` reads a file, `parse` reads text (TOML, or the canonical JSON that travels as a pipeline parameter). Both take
overrides in the form of `--set key=value`. An unknown key or an impossible value is a `RecipeError` that names the
key, what was received and the nearest valid one. No default lives anywhere else in the project.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError, model_validator

from trainer.config_errors import explain
from trainer.errors import RecipeError, nearest

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]

SOURCE_KINDS = ("digits", "tfds", "folder")


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


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
    image_size: PositiveInt | None = None
    stem: Literal["paper", "small"] = "paper"
    """`small` is for images of 32 to 96 pixels; it is in none of the papers."""
    width: PositiveFloat = 1.0
    """Multiplies every channel count but the classes."""
    auxiliary: bool | None = None
    """Auxiliary classifiers during training; the exported model never has them."""
    dropout: Fraction | None = None
    residual_scale: PositiveFloat | None = None
    bn_momentum: Fraction | None = None
    bn_gamma: bool | None = None
    lrn: bool | None = None

    @model_validator(mode="after")
    def _variant_has_these_options(self) -> Self:
        from trainer.models import zoo

        zoo.check(self)
        return self


class Sgd(Section):
    name: Literal["sgd"]
    learning_rate: PositiveFloat = 0.01
    momentum: Fraction = 0.0
    nesterov: bool = False


class RmsProp(Section):
    name: Literal["rmsprop"]
    learning_rate: PositiveFloat = 0.001
    rho: Fraction = 0.9
    momentum: Fraction = 0.0
    epsilon: PositiveFloat = 1e-7


class AdamW(Section):
    name: Literal["adamw"]
    learning_rate: PositiveFloat = 0.001
    beta_1: Fraction = 0.9
    beta_2: Fraction = 0.999
    epsilon: PositiveFloat = 1e-7
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    """Decoupled; biases and normalisation parameters are spared."""


Optimizer = Annotated[Sgd | RmsProp | AdamW, Field(discriminator="name")]


class Constant(Section):
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
    every_epochs: PositiveInt


class Cosine(Section):
    name: Literal["cosine"]
    warmup_epochs: Annotated[float, Field(ge=0.0)] = 0.0
    final_fraction: Share = 0.0


class OneCycle(Section):
    """Linear rise to the learning rate over `rise` of the steps, then linear fall to `final_fraction` of it."""

    name: Literal["one_cycle"]
    rise: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.25
    initial_fraction: Share = 0.1
    final_fraction: Share = 0.01


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
    epochs: PositiveInt
    batch_size: PositiveInt
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    optimizer: Optimizer
    schedule: Schedule = Constant(name="constant")
    augment: Augment = Augment()
    label_smoothing: Fraction = 0.0
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


class Evaluate(Section):
    batch_size: PositiveInt = 64
    mistakes: Annotated[int, Field(ge=0, le=100)] = 24
    """How many of the worst mistakes the run card shows as pictures."""


class Gate(Section):
    policy: Literal["paired", "threshold"] = "paired"
    """`threshold` leaves the significance test out: for data too small for it to say anything."""
    threshold: Share
    """Accuracy below which nothing is promoted."""
    min_improvement: Share = 0.0
    """By how much the challenger must beat the champion's accuracy."""
    alpha: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.05
    """Level of the exact McNemar test on the paired predictions."""


class Registry(Section):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=100)]
    """The registered model: `models:/<name>@champion`."""


class Resources(Section):
    """What a run may use. Never part of a run's identity."""

    workers: PositiveInt | None = None
    """Threads that decode images; left out: one per processor."""


class Recipe(Section):
    data: Data
    model: Model
    train: Train
    evaluate: Evaluate = Evaluate()
    gate: Gate
    registry: Registry
    resources: Resources = Resources()

    def canonical(self) -> str:
        """The recipe as JSON with sorted keys and no spaces: equal recipes give equal text."""
        return canonical_json(self.model_dump(mode="json"))

    def digest(self) -> str:
        """Identity of what the recipe asks for; `[resources]` is left out of it."""
        return sha256_text(canonical_json(self.model_dump(mode="json", exclude={"resources"})))


def canonical_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sha256_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def load(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe file. Errors: RecipeError (missing, unreadable, not TOML, invalid)."""
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        beside = [str(p) for p in sorted(Path("configs").glob("*.toml")) if p.name != "schedules.toml"]
        raise RecipeError(f"There is no recipe at {str(path)!r}.", nearest(str(path), beside)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"The recipe {str(path)!r} cannot be read: {error}.", "Give the path of a readable TOML file."
        ) from None
    return parse(text, overrides, name=str(path))


def parse(text: str, overrides: Sequence[str] = (), name: str = "recipe") -> Recipe:
    """Read a recipe from TOML text or canonical JSON.

    Args:
        text: the recipe.
        overrides: `section.key=value` strings, the value as TOML (`3`, `0.1`, `"text"`) or bare text.
        name: what error messages call the text.

    Errors: RecipeError.
    """
    try:
        values = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except (json.JSONDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{name} is not valid TOML: {error}.", "Mend the line and run again.") from None
    for override in overrides:
        _apply(values, override)
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise RecipeError(*explain(error, Recipe, name)) from None


def _apply(values: dict[str, Any], override: str) -> None:
    key, equals, raw = override.partition("=")
    path = key.strip().split(".")
    if not equals or len(path) < 2 or not all(path):
        raise RecipeError(f"Received the override {override!r}.", "Write it as section.key=value: train.epochs=3.")
    at: Any = values
    for part in path[:-1]:
        at = at.setdefault(part, {})
        if not isinstance(at, dict):
            raise RecipeError(f"Received the override {override!r}, but {part!r} is a value, not a section.")
    at[path[-1]] = _toml_value(raw.strip())


def _toml_value(raw: str) -> Any:
    try:
        return tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        return raw


def overrides_from(form: Mapping[str, Any]) -> list[str]:
    """Overrides from a form's fields, blank ones left out: `{"train.epochs": 3, "model.variant": ""}`."""
    return [f"{key}={json.dumps(value)}" for key, value in form.items() if value not in ("", None)]
