"""Warm start: a network begins with the weights of the registered champion, where that is the same network.

`find` reads the champion, once for a training; `Start.fill` hands its weights to each network. Whatever does not fit is
no error: the training then begins with random weights, and says why.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trainer import tracking
from trainer.config import Model, Recipe
from trainer.errors import RegistryError
from trainer.models import zoo
from trainer.registry import opened_registry
from trainer.registry.protocol import CHAMPION, ModelVersion
from trainer.sections import Section
from trainer.state import State, reported
from trainer.weights import served
from trainer.weights.obtaining import checksum
from trainer.weights.served import Start

FREE = ("dropout", "bn_momentum", "auxiliary", "image_size")
"""Options in which champion and challenger may differ: they change no variable, or one that is seen to differ."""


def find(recipe: Recipe, classes: Sequence[str], state: State) -> Start:
    """Read the champion of the recipe's model from the registry in use.

    Args:
        recipe: the training's; its `train.scratch_every` may say that this run does without.
        classes: of the data.
        state: the state folder.

    Errors: RegistryError (the registry or the champion's files are out of reach), StateError.
    """
    name, registry = recipe.registry.name, opened_registry(state)
    versions = registry.versions(name) if name in registry.names() else []
    number, every = len(versions) + 1, recipe.train.scratch_every
    if every is not None and number % every == 0:
        return Start(classes, f"this is run {number} of {name}, and train.scratch_every is {every}")
    version = registry.alias(name, CHAMPION)
    if version is None:
        return Start(classes, f"{name} has no champion yet")
    champion = registry.get(name, version)
    source = f"models:/{name}/{version}"
    differing = _differing(champion, recipe.model)
    if differing is not None:
        return Start(classes, f"the champion ({source}) {differing}")
    with reported(state.cache):
        state.cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=state.cache, prefix="champion-") as folder:
            files = tracking.download(state, champion.model_uri, Path(folder))
            start = _read(files, recipe.model.variant, source)
    if start is None:
        return Start(classes, f"the champion ({source}) is no model that `inception run` made")
    return replace(start, classes=classes, source=source, version=version)


def _differing(champion: ModelVersion, model: Model) -> str | None:
    """In which of the options that matter the champion's network is another one."""
    try:
        theirs = zoo.resolve(Model.model_validate(json.loads(champion.tags["recipe"])["model"]))
    except (KeyError, TypeError, ValueError, ValidationError):
        return "has no recipe that this version can read"
    ours = zoo.resolve(model)
    if theirs.variant != ours.variant:
        return f"is {theirs.variant}, and this is {ours.variant}"
    mine, others = _table(ours), _table(theirs)
    words = [f"{key} {others[key]}, and this {mine[key]}" for key in mine if mine[key] != others[key]]
    return f"has {'; '.join(words)}" if words else None


def _table(options: zoo.Options) -> dict[str, Any]:
    """The options that matter, tables among them as `module.out_3x3`."""
    values = {key: value for key, value in asdict(options).items() if key not in FREE}
    return tracking.flatten(
        {key: dict(value) if isinstance(value, Section) else value for key, value in values.items()}
    )


def _read(files: Path, variant: str, source: str) -> Start | None:
    """The weights of every network in a logged model; None where it is not laid out as ours are."""
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model as Logged

    path = files / "data" / "model.keras"
    if not path.is_file():
        return None
    try:
        known = (Logged.load(str(files)).metadata or {}).get("classes")
        members, sha256 = served.read(path, variant), checksum([path], "sha256")
    except (MlflowException, OSError, ValueError) as error:
        raise RegistryError(
            f"The champion {source} cannot be loaded: {error}.",
            "See that its artifacts are whole (inception ui), or leave model.init out.",
        ) from error
    return Start((), sha256=sha256, known=known, members=members) if members and known is not None else None
