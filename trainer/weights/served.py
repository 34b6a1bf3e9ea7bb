"""A network begins with the weights inside a model in service: the champion's (`champion.py`), or an export's
(`exported.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.models import archive

if TYPE_CHECKING:
    import keras

HEAD = "head.logits/"
AUXILIARY = "aux_"

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
    """Weights to begin with, or why there are none."""

    classes: Sequence[str]
    """Of the data."""
    reason: str | None = None
    source: str = ""
    whose: str = "the champion"
    """In words."""
    version: str = ""
    """Where it is a registered one."""
    sha256: str = ""
    """Of the file."""
    known: Sequence[str] = ()
    """Its classes."""
    members: Sequence[Weights] = ()
    """Of its network, or of each of its networks."""

    def fill(self, network: keras.Model, member: int = 1) -> Begun:
        """Set the network's variables: all that are held, or none.

        Args:
            network: of the zoo, built from the recipe that asked for this.
            member: which network of an ensemble, from 1. It begins with the held network of that number.
        """
        reason = self.reason
        if reason is None and member > len(self.members):
            reason = f"{self.whose} ({self.source}) has no network {member}, but {len(self.members)} in all"
        if reason is None:
            reason = self._unlike(network, self.members[member - 1])
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
        words = f"{self.whose}'s weights ({self.source}, sha256 {self.sha256[:16]}…)"
        if list(self.known) != list(self.classes):
            words += (
                f"; the classes differ: {len(carried)} of {len(self.classes)} are known to {self.whose}'s classifier"
            )
        if any(variable.path.startswith(AUXILIARY) for variable in network.weights):
            words += f"; auxiliary classifiers fresh: {self.whose} has none"
        tags = {"init": self.source, "init_sha256": self.sha256}
        if self.version:
            tags["init_version"] = self.version
        return Begun(self.source, words, tags)

    def _unlike(self, network: keras.Model, held: Weights) -> str | None:
        """Why weights are not those of the network, auxiliary classifiers aside and whatever the classes are."""
        shapes = {v.path: tuple(v.shape) for v in network.weights if not v.path.startswith(AUXILIARY)}
        for path in sorted(shapes.keys() | held.keys()):
            if path not in shapes or path not in held:
                return f"only {self.whose if path in held else 'this network'} has a variable {path}"
            ours, theirs = shapes[path], held[path].shape
            if path.startswith(HEAD):
                ours, theirs = ours[:-1], theirs[:-1]
            if ours != theirs:
                return f"{path} has the shape {_times(theirs)} in {self.whose} and {_times(ours)} in this network"
        return None


def read(path: Path, variant: str) -> list[Weights]:
    """The weights of every network of that variant in a model's `.keras` file.

    Errors: OSError, ValueError (it is no model of ours, or damaged).
    """
    served = archive.load(path)
    return [{v.path: v.numpy() for v in network.weights} for network in _networks(served, variant)]


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
