"""Values of a space as Optuna knows them, as overrides of a recipe, and as the recipe itself has them.

Optuna's storage takes numbers, truth values and text as choices; lists and tables go there as canonical JSON.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from random import Random
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from trainer import config
from trainer.config import Recipe, canonical_json
from trainer.tuning.space import Parameter, Space

Params = Mapping[str, Any]
"""Values by recipe key, as Optuna stores them."""


def distributions(space: Space) -> dict[str, BaseDistribution]:
    return {key: _distribution(parameter) for key, parameter in space.parameters.items()}


def _distribution(parameter: Parameter) -> BaseDistribution:
    if parameter.choices is not None:
        return CategoricalDistribution([stored(choice) for choice in parameter.choices])
    assert parameter.low is not None
    assert parameter.high is not None
    if parameter.whole:
        step = 1 if parameter.step is None else int(parameter.step)
        return IntDistribution(int(parameter.low), int(parameter.high), log=parameter.log, step=step)
    return FloatDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)


def drawn(parameter: Parameter, random: Random) -> Any:
    """A value at random, as a study would hold it."""
    distribution = _distribution(parameter)
    match distribution:
        case CategoricalDistribution():
            return random.choice(distribution.choices)
        case IntDistribution():
            return random.randrange(distribution.low, distribution.high + 1, distribution.step)
        case FloatDistribution(log=True):
            return math.exp(random.uniform(math.log(distribution.low), math.log(distribution.high)))
        case FloatDistribution():
            return random.uniform(distribution.low, distribution.high)
        case _:
            raise TypeError(f"{distribution} is none that a space makes.")


def stored(value: Any) -> bool | int | float | str:
    """A value as a study holds it."""
    return value if isinstance(value, bool | int | float | str) else canonical_json(value)


def chosen(space: Space, params: Params) -> dict[str, Any]:
    """The recipe's values for what a study holds; a table before the keys within it, which have the last word."""
    values = {}
    for key in sorted(params):
        choices = space.parameters[key].choices
        values[key] = (
            params[key] if choices is None else next(choice for choice in choices if stored(choice) == params[key])
        )
    return values


def overrides(space: Space, params: Params) -> list[str]:
    """The values as `--set` takes them."""
    return [f"{key}={_toml(value)}" for key, value in chosen(space, params).items()]


def as_written(recipe: Recipe) -> str:
    """What a recipe's author wrote, overrides applied, without the defaults, as JSON.

    A default written out would speak against other values: `beta_1` of one optimiser is unknown to another.
    """
    return canonical_json(recipe.model_dump(mode="json", exclude_unset=True, exclude_none=True))


def applied(written: str, space: Space, params: Params, *more: str) -> Recipe:
    """The recipe with the values in it. Errors: RecipeError, where it does not take them."""
    return config.parse(written, [*overrides(space, params), *more])


def own_values(recipe: Recipe, space: Space) -> dict[str, Any] | None:
    """What the recipe itself says for the space's keys; None where one of them is not in the space."""
    full = json.loads(recipe.canonical())
    written = json.loads(as_written(recipe))
    params = {}
    for key, distribution in distributions(space).items():
        value = _at(full, key)
        choices = space.parameters[key].choices
        if choices is not None:
            # A table may be written with or without its defaults.
            value = next((c for c in choices if c == value or c == _at(written, key)), None)
            if value is None:
                return None
            params[key] = stored(value)
        elif isinstance(value, int | float) and distribution._contains(value):
            params[key] = value
        else:
            return None
    return params


def _at(values: Any, key: str) -> Any:
    for part in key.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values


def _toml(value: Any) -> str:
    """A value as TOML has it on one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(below)}" for key, below in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(below) for below in value) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
