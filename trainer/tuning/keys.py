"""Whether a recipe takes what a space would try: asked of the recipe itself, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any, get_args

from pydantic import BaseModel

from trainer.config import Recipe
from trainer.errors import RecipeError, UsageError, nearest
from trainer.tuning import values
from trainer.tuning.space import REMEDY, Space

TUNABLE = ("model", "train", "transfer")
"""The sections that decide what a training gives. The others say what it is trained on, or what becomes of it."""

UNSEEN = {
    "model.test_time": "Validation looks at every image once, as it is.",
    "train.members": "A trial trains one network, of an ensemble the first.",
    "train.scratch_every": "A trial begins as the recipe says.",
}
"""Keys of those sections that change nothing in a trial."""

TRIED_COMBINATIONS = 100


def check(recipe: Recipe, space: Space, name: str = "space") -> None:
    """See that every key is the recipe's, takes every value by itself, and that some combination can be trained.

    Args:
        recipe: what is tuned.
        space: what is tried.
        name: what error messages call the space.

    A value is by itself in order when the recipe takes it with some choice of another key: `train.optimizer.momentum`
    is, where `train.optimizer.name` may become one that has it.

    Errors: UsageError.
    """
    written = values.as_written(recipe)
    for key, parameter in space.parameters.items():
        if why := _why_not(key):
            raise UsageError(
                f"{name}: {key!r} cannot be tuned. {why}",
                f"Tune values of {', '.join(f'[{section}]' for section in TUNABLE)}.",
            )
        for value in map(values.stored, parameter.samples()):
            finding = _finding(written, space, key, value, {})
            if finding and all(_finding(written, space, key, value, other) for other in _others(space, key)):
                raise UsageError(f"{name}: {finding}", REMEDY)
    if refusal := _some_combination(written, space, {}):
        raise UsageError(f"{name}: no combination of its values can be trained: {refusal.message}", REMEDY)
    for fixed in _choices(space):
        if refusal := _some_combination(written, space, fixed):
            [(key, value)] = fixed.items()
            raise UsageError(f"{name}: no combination with {key} = {value!r} can be trained: {refusal.message}", REMEDY)


def _finding(written: str, space: Space, key: str, value: Any, other: dict[str, Any]) -> str:
    """What the recipe says about the value of this very key; what it says about combinations is not its fault."""
    try:
        values.applied(written, space, {**other, key: value})
    except RecipeError as error:
        lines = [line.strip() for line in error.message.splitlines()]
        if "is a value, not a section" in error.message or any(
            line.startswith(f"{start}: unknown key.") for line in lines for start in _upwards(key)
        ):
            known = _keys(Recipe, "", TUNABLE)
            if key in known:
                table = key.rpartition(".")[0]
                return f"{key!r} is no key of this recipe's {table}. Let the space choose a {table} that has it."
            return f"{key!r} is no recipe key. {nearest(key, known)}"
        return next((line for line in lines if line.startswith((f"{key}:", f"{key}."))), "")
    return ""


def _upwards(key: str) -> Iterator[str]:
    """`a.b.c`, `a.b`, `a`."""
    while key:
        yield key
        key = key.rpartition(".")[0]


def _choices(space: Space) -> Iterator[dict[str, Any]]:
    """Every choice of every key, one at a time."""
    for key, parameter in space.parameters.items():
        for choice in parameter.choices or []:
            yield {key: values.stored(choice)}


def _others(space: Space, key: str) -> Iterator[dict[str, Any]]:
    return (fixed for fixed in _choices(space) if key not in fixed)


def _some_combination(written: str, space: Space, fixed: dict[str, Any]) -> RecipeError | None:
    """None where the recipe takes some combination with the fixed values in it, else what it says to the first."""
    random = Random(space.seed)
    refusal: RecipeError | None = None
    for _ in range(TRIED_COMBINATIONS):
        drawn = {key: values.drawn(parameter, random) for key, parameter in space.parameters.items()}
        try:
            values.applied(written, space, drawn | fixed)
        except RecipeError as error:
            refusal = refusal or error
        else:
            return None
    return refusal


def _why_not(key: str) -> str:
    """Why a key cannot be tuned; empty where it can."""
    section, dot, _ = key.partition(".")
    if section == "data":
        return "All trials are trained on the same images, which are prepared once."
    if section in Recipe.model_fields and section not in TUNABLE:
        return f"[{section}] has no influence on what a training gives."
    if section not in TUNABLE:
        return f"{section!r} is no section of a recipe. {nearest(section, TUNABLE)}"
    if not dot:
        return "It is a whole section."
    return next((why for start, why in UNSEEN.items() if f"{key}.".startswith(f"{start}.")), "")


def _keys(model: type[BaseModel], prefix: str, within: tuple[str, ...] = ()) -> set[str]:
    """Every key of a recipe, in whichever member of a union it is."""
    found = set()
    for name, field in model.model_fields.items():
        if within and name not in within:
            continue
        below = [c for c in (field.annotation, *get_args(field.annotation)) if _is_model(c)]
        if not below:
            found.add(f"{prefix}{name}")
        for member in below:
            found |= _keys(member, f"{prefix}{name}.")
    return found


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
