"""The recipe: what an operator writes in `configs/*.toml`, as frozen models that hold every default.

`load` reads a file, `parse` reads text (TOML, or the canonical JSON that travels as a pipeline parameter). Both take
overrides in the form of `--set key=value`. An unknown key or an impossible value is a `RecipeError` that names the
key, what was received and the nearest valid one. No default lives anywhere else in the project.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError, model_validator

from trainer.config_errors import explain
from trainer.errors import RecipeError, has_credentials, nearest
from trainer.sections import (
    AdamW,
    Augment,
    Color,
    Constant,
    Cosine,
    Crop,
    Crops,
    Data,
    Divergence,
    EarlyStopping,
    Ema,
    Erase,
    Evaluate,
    Exponential,
    Gate,
    InverseTime,
    Model,
    ModuleWidths,
    OneCycle,
    Optimizer,
    RandAugment,
    Registry,
    Resources,
    RmsProp,
    Schedule,
    Section,
    Sgd,
    Step,
    Train,
    Transfer,
    Views,
)

__all__ = [
    "AdamW",
    "Augment",
    "Color",
    "Constant",
    "Cosine",
    "Crop",
    "Crops",
    "Data",
    "Divergence",
    "EarlyStopping",
    "Ema",
    "Erase",
    "Evaluate",
    "Exponential",
    "Gate",
    "InverseTime",
    "Model",
    "ModuleWidths",
    "OneCycle",
    "Optimizer",
    "RandAugment",
    "Recipe",
    "Registry",
    "Resources",
    "RmsProp",
    "Schedule",
    "Section",
    "Sgd",
    "Step",
    "Train",
    "Transfer",
    "Views",
    "canonical_json",
    "load",
    "model",
    "overrides_from",
    "parse",
    "sha256_text",
]


MOST_CHARACTERS = 1_000_000
"""Of a recipe: one with ten thousand class weights has a third of that."""
_LONG_KEY = re.compile(r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){64}""")
"""tomllib keeps every beginning of a dotted key: one of 400 kB takes 160 GB."""


class Recipe(Section):
    data: Data
    model: Model
    train: Train
    transfer: Transfer | None = None
    evaluate: Evaluate = Evaluate()
    gate: Gate
    registry: Registry
    resources: Resources = Resources()

    @model_validator(mode="after")
    def _no_credentials(self) -> Self:
        if has_credentials(self.model_dump_json()):
            raise ValueError(
                "an address has a user or a password in it, and everybody may read recipes, runs and their cards. "
                "Give them to the process that reads there, by its environment."
            )
        return self

    @model_validator(mode="after")
    def _both_phases_have_epochs(self) -> Self:
        if self.transfer is not None and self.transfer.head_epochs >= self.train.epochs:
            raise ValueError(
                f"transfer.head_epochs {self.transfer.head_epochs} leaves none of the {self.train.epochs} train.epochs "
                "for the second phase. Lower it, or raise train.epochs."
            )
        return self

    @model_validator(mode="after")
    def _only_a_warm_start_can_be_left_out(self) -> Self:
        if self.train.scratch_every is not None and self.model.init != "champion":
            raise ValueError(
                f"train.scratch_every {self.train.scratch_every} says which runs do without model.init = 'champion', "
                f"but model.init is {self.model.init!r}. Set it, or leave train.scratch_every out."
            )
        return self

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
    values = _values(text, name)
    for override in overrides:
        _apply(values, override)
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise RecipeError(*explain(error, Recipe, name)) from None


def _values(text: str, name: str) -> dict[str, Any]:
    """Errors: RecipeError. A recipe may come from a form, so what would take all of the memory to read is refused."""
    as_json = text.lstrip().startswith("{")
    if len(text) > MOST_CHARACTERS:
        raise RecipeError(f"{name} has {len(text):,} characters, more than {MOST_CHARACTERS:,}.", "Make it shorter.")
    if not as_json and _LONG_KEY.search(text):
        raise RecipeError(f"{name} has a key of more than 64 parts.", "Keys are section.key, no longer.")
    try:
        values: dict[str, Any] = json.loads(text) if as_json else tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: no TOML, no JSON, a number of thousands of digits
        raise RecipeError(f"{name} is not valid TOML: {error}.", "Mend the line and run again.") from None
    return values


def _apply(values: dict[str, Any], override: str) -> None:
    key, equals, raw = override.partition("=")
    path = key.strip().split(".")
    value = _toml_value(raw.strip())
    if not equals or not all(path) or (len(path) == 1 and not isinstance(value, dict)):
        raise RecipeError(f"Received the override {override!r}.", "Write it as section.key=value: train.epochs=3.")
    at: Any = values
    for part in path[:-1]:
        at = at.setdefault(part, {})
        if not isinstance(at, dict):
            raise RecipeError(f"Received the override {override!r}, but {part!r} is a value, not a section.")
    at[path[-1]] = value


def _toml_value(raw: str) -> Any:
    try:
        return tomllib.loads(f"value = {raw}")["value"]
    except (ValueError, RecursionError):
        return raw


def model(variant: str, options: Sequence[str] = ()) -> Model:
    """A `[model]` section by itself: `model("googlenet", ["stem=small"])`.

    Args:
        variant: a name from `inception variants`.
        options: `key=value` strings, the value as in `parse`; the key may have `model.` before it.

    Errors: RecipeError.
    """
    values: dict[str, Any] = {"model": {}}
    for option in options:
        if "=" not in option:
            raise RecipeError(f"Received the option {option!r}.", "Write it as key=value: stem=small.")
        _apply(values, option if option.startswith("model.") else f"model.{option}")
    if "variant" in values["model"]:
        raise RecipeError(f"Received the options {', '.join(options)}.", f"The network is {variant} already.")
    values["model"]["variant"] = variant
    try:
        return _ModelAlone.model_validate(values).model
    except ValidationError as error:
        message, _ = explain(error, _ModelAlone, variant)
        raise RecipeError(message, f"`inception variants {variant}` lists the options it has.") from None


class _ModelAlone(Section):
    model: Model


def overrides_from(form: Mapping[str, Any]) -> list[str]:
    """Overrides from a form's fields, blank ones left out: `{"train.epochs": 3, "model.variant": ""}`."""
    return [f"{key}={json.dumps(value)}" for key, value in form.items() if value not in ("", None)]
