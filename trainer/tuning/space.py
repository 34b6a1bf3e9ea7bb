"""The space of a tuning: which recipe values may be tried, and how, as `configs/spaces/*.toml` say it.

    metric = "validation_accuracy"

    [parameters]
    "train.optimizer.learning_rate" = { low = 0.001, high = 0.1, log = true }
    "train.epochs" = { low = 10, high = 40, step = 10 }
    "model.width" = { choices = [0.25, 0.5] }

Every default of a space is here. None of them is part of a run's identity, so none of them is in `trainer/sections/`.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from trainer.config import Section, canonical_json
from trainer.config_errors import explain
from trainer.errors import UsageError, nearest

Metric = Literal["validation_accuracy", "validation_loss"]
Number = int | float
Value = bool | int | float | str | list[Any] | dict[str, Any]

REMEDY = 'Mend the space file; docs/runbook.md says under "To tune a recipe" what may be in it.'


class Parameter(Section):
    """The values of one recipe key: a range (whole numbers where both ends are whole) or choices."""

    low: Number | None = None
    """The smallest value."""
    high: Number | None = None
    """The largest value."""
    step: Number | None = None
    """Distance between the values; left out: 1 for whole numbers, any distance for others."""
    log: bool = False
    """Whether the values are drawn evenly by their logarithm: for rates and other factors."""
    choices: list[Value] | None = None
    """The values themselves, of any kind the recipe takes; a table sets a whole table of the recipe."""

    @model_validator(mode="after")
    def _is_a_range_or_choices(self) -> Self:
        if self.choices is not None:
            if self.model_fields_set != {"choices"}:
                raise ValueError("choices go without low, high, step and log. Keep one or the other.")
            if not self.choices:
                raise ValueError("choices is empty. List the values to try.")
            texts = [canonical_json(choice) for choice in self.choices]
            if twice := [text for text in texts if texts.count(text) > 1]:
                raise ValueError(f"{twice[0]} is twice among the choices. Keep it once.")
            return self
        if self.low is None or self.high is None:
            raise ValueError("needs low and high, or choices.")
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}. Exchange them.")
        if self.log and self.low <= 0:
            raise ValueError(f"log needs a low above 0, received {self.low}.")
        if self.step is not None and self.log:
            raise ValueError("step and log do not go together. Keep one of them.")
        if self.step is not None and self.step <= 0:
            raise ValueError(f"step must be above 0, received {self.step}.")
        if isinstance(self.step, float) and self.whole:
            raise ValueError(f"step {self.step} is not whole, low and high are. Write low as {self.low}.0.")
        return self

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    def samples(self) -> list[Any]:
        """The values that show whether the recipe takes them: both ends, or all choices."""
        return list(self.choices) if self.choices is not None else [self.low, self.high]


class Space(Section):
    """What is tried, and what it is judged by."""

    metric: Metric = "validation_accuracy"
    """What a trial is judged by: accuracy is maximised, loss is minimised."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Of the values that are proposed."""
    startup_trials: Annotated[int, Field(ge=1)] = 5
    """Trials drawn at random before the results guide the search, and before the median is worth comparing with."""
    pruner: Literal["median", "hyperband", "none"] = "median"
    """Who stops hopeless trials: `median` those below the median of the trials before at the same epoch, `hyperband`
    all but the best third at epochs 3, 9, 27, … (Li et al. 2018, arXiv:1603.06560), `none` nobody."""
    warmup_epochs: Annotated[int, Field(ge=0)] = 1
    """No trial is stopped in its first epochs, as many as this."""
    parameters: Annotated[dict[str, Parameter], Field(min_length=1)]
    """Recipe keys, and what they may be."""

    @property
    def maximise(self) -> bool:
        return self.metric == "validation_accuracy"

    def canonical(self) -> str:
        """The space as JSON: equal spaces give equal text."""
        said = {key: parameter.model_dump(exclude_defaults=True) for key, parameter in self.parameters.items()}
        return canonical_json(self.model_dump(mode="json") | {"parameters": said})


def load(path: str | Path) -> Space:
    """Read a space file. Errors: UsageError (missing, unreadable, not TOML, invalid)."""
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        beside = [str(p) for p in sorted(Path("configs/spaces").glob("*.toml"))]
        raise UsageError(f"There is no space at {str(path)!r}.", nearest(str(path), beside)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"The space {str(path)!r} cannot be read: {error}.", "Give the path of a readable TOML file."
        ) from None
    return parse(text, name=str(path))


def parse(text: str, name: str = "space") -> Space:
    """Read a space from TOML text or its canonical JSON. Errors: UsageError."""
    try:
        values: dict[str, Any] = json.loads(text) if text.startswith("{") else tomllib.loads(text)
    except (json.JSONDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{name} is not valid TOML: {error}.", "Mend the line and run again.") from None
    tables = values.get("parameters", {})
    if not isinstance(tables, Mapping) or not tables:
        raise UsageError(
            f"{name} has no parameters, so there is nothing to try.",
            'Add some: [parameters] with lines like "train.optimizer.learning_rate" = { low = 0.001, high = 0.1 }.',
        )
    parameters = {key: _parameter(key, table, name) for key, table in _leaves(tables)}
    try:
        return Space.model_validate(values | {"parameters": parameters})
    except ValidationError as error:
        raise UsageError(explain(error, Space, name)[0], REMEDY) from None


def _leaves(tables: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The parameters by their recipe key, however TOML nests them: `"a.b" = {…}`, `a.b = {…}` or `[parameters.a]`."""
    for part, table in tables.items():
        key = f"{prefix}{part}"
        if isinstance(table, Mapping) and table and all(isinstance(below, Mapping) for below in table.values()):
            yield from _leaves(table, f"{key}.")
        else:
            yield key, table


def _parameter(key: str, table: Any, name: str) -> Parameter:
    if not isinstance(table, Mapping):
        raise UsageError(
            f"{name}: {key}: received {table!r}, which leaves nothing to try.",
            "Write a range, { low = …, high = … }, or { choices = [ … ] }; a fixed value belongs into the recipe.",
        )
    try:
        return Parameter.model_validate(dict(table))
    except ValidationError as error:
        raise UsageError(f"{name}: {_finding(key, error.errors(include_url=False)[0])}", REMEDY) from None


def _finding(key: str, finding: Any) -> str:
    received = finding["input"]
    if finding["type"] == "value_error":
        return f"{key}: {finding['ctx']['error']}"
    at = f"{key}.{finding['loc'][0]}"
    if finding["type"] == "extra_forbidden":
        return f"{at}: unknown key. {nearest(finding['loc'][0], Parameter.model_fields)}"
    if finding["loc"][0] in ("low", "high", "step"):
        return f"{at}: received {received!r}. It must be a finite number."
    return f"{at}: received {received!r}. {finding['msg']}."
