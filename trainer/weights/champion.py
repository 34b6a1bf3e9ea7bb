"""Warm start: a network begins with the weights of the registered champion, where that is the same network.

`find` reads the champion, once for a training; `fill` hands its weights to each network. Whatever does not fit is no
error: the training then begins with random weights, and says why.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from trainer import tracking
from trainer.config import Model, Recipe
from trainer.errors import RegistryError
from trainer.models import zoo
from trainer.registry import opened_registry
from trainer.registry.protocol import CHAMPION, ModelVersion
from trainer.sections import Section
from trainer.state import State, reported
from trainer.weights import published
from trainer.weights.obtaining import checksum

if TYPE_CHECKING:
    import keras

INIT = published.CHAMPION
HEAD = "head.logits/"
AUXILIARY = "aux_"
FREE = ("dropout", "bn_momentum", "auxiliary", "image_size")
"""Options in which champion and challenger may differ: they change no variable, or one that is seen to differ."""

Weights = Mapping[str, Any]
"""Arrays by the path of the variable they belong to."""


@dataclass(frozen=True)
class Begun:
    """What a network began with."""

    source: str | None
    """The registered version; None where the weights stayed random."""
    words: str
    tags: dict[str, str]
    """For the MLflow run."""

    def __str__(self) -> str:
        return self.words


@dataclass(frozen=True)
class Start:
    """The champion's weights, or why there are none to begin with."""

    classes: Sequence[str]
    """Of the data."""
    reason: str | None = None
    source: str = ""
    version: str = ""
    sha256: str = ""
    """Of the champion's file."""
    known: Sequence[str] = ()
    """The champion's classes."""
    members: Sequence[Weights] = ()
    """Of the champion's network, or of each of its networks."""

    def fill(self, network: keras.Model, member: int = 1) -> Begun:
        """Set the network's variables from the champion's: all that it has, or none.

        Args:
            network: of the zoo, built from the recipe that `find` was given.
            member: which network of an ensemble, from 1. It begins with the champion's network of that number.
        """
        reason = self.reason
        if reason is None and member > len(self.members):
            reason = f"the champion ({self.source}) has no network {member}, but {len(self.members)} in all"
        if reason is None:
            reason = _unlike(network, self.members[member - 1])
        if reason is not None:
            return Begun(None, f"random weights: {reason}", {"init": "random", "init_reason": reason})
        held = self.members[member - 1]
        carried: list[str] = []
        for variable in network.weights:
            if variable.path.startswith(HEAD) and list(self.known) != list(self.classes):
                array, carried = _by_class(variable.numpy(), held[variable.path], self.known, self.classes)
                variable.assign(array)
            elif variable.path in held:
                variable.assign(held[variable.path])
        words = f"the champion's weights ({self.source}, sha256 {self.sha256[:16]}…)"
        if list(self.known) != list(self.classes):
            words += (
                f"; the classes differ: {len(carried)} of {len(self.classes)} are known to the champion's classifier"
            )
        if any(variable.path.startswith(AUXILIARY) for variable in network.weights):
            words += "; auxiliary classifiers fresh: the champion has none"
        tags = {"init": self.source, "init_version": self.version, "init_sha256": self.sha256}
        return Begun(self.source, words, tags)


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
    except (KeyError, ValueError, ValidationError):
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
    import keras
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model as Logged

    path = files / "data" / "model.keras"
    if not path.is_file():
        return None
    try:
        known = (Logged.load(str(files)).metadata or {}).get("classes")
        served = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (MlflowException, OSError, ValueError) as error:
        raise RegistryError(
            f"The champion {source} cannot be loaded: {error}.",
            "See that its artifacts are whole (inception ui), or leave model.init out.",
        ) from error
    if known is None:
        return None
    networks = _networks(served, variant)
    members = [{variable.path: variable.numpy() for variable in network.weights} for network in networks]
    return Start((), sha256=checksum([path], "sha256"), known=known, members=members) if members else None


def _networks(served: keras.Model, variant: str) -> list[keras.Model]:
    """The networks of the zoo inside a model in service, in the members' order."""
    from trainer.models.classifier import member_name

    found: list[keras.Model] = []
    while (member := _inside(served, member_name(len(found) + 1))) is not None:
        network = _inside(member, variant)
        found += [] if network is None else [network]
    single = None if found else _inside(served, variant)
    return found if single is None else [single]


def _inside(model: keras.Model, name: str) -> keras.Model | None:
    """The model of that name among the layers, however deep."""
    import keras

    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found = layer if layer.name == name else _inside(layer, name)
            if found is not None:
                return found
    return None


def _unlike(network: keras.Model, held: Weights) -> str | None:
    """Why weights are not those of the network, auxiliary classifiers aside and whatever the classes are."""
    shapes = {v.path: tuple(v.shape) for v in network.weights if not v.path.startswith(AUXILIARY)}
    for path in sorted(shapes.keys() | held.keys()):
        if path not in shapes or path not in held:
            return f"only {'the champion' if path in held else 'this network'} has a variable {path}"
        ours, theirs = shapes[path], held[path].shape
        if path.startswith(HEAD):
            ours, theirs = ours[:-1], theirs[:-1]
        if ours != theirs:
            return f"{path} has the shape {_times(theirs)} in the champion and {_times(ours)} in this network"
    return None


def _by_class(ours: Any, theirs: Any, known: Sequence[str], classes: Sequence[str]) -> tuple[Any, list[str]]:
    """A classifier's kernel or bias with the columns of known classes put in, and which those are."""
    if theirs.shape[-1] != len(known) or ours.shape[-1] != len(classes):
        return ours, []  # one unit for two classes
    ours = ours.copy()
    carried = [name for name in classes if name in known]
    for name in carried:
        ours[..., classes.index(name)] = theirs[..., known.index(name)]
    return ours, carried


def _times(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))
