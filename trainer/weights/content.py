"""What a weights file holds, said in the network's own terms."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

Array = np.ndarray[Any, Any]

HEAD = "head.logits"
AUXILIARY = "aux_1."
_UNIT = re.compile(
    r"(?P<stage>[a-z0-9_]+(?:\.wide)?)(?:\.branch(?P<branch>\d+))?\.(?P<step>\d+)_"
    r"(?:fork\.branch(?P<fork>\d+)\.\d+_)?(?P<kernel>\d+x\d+)"
)


@dataclass(frozen=True)
class Content:
    """A file that was read."""

    where: str
    """What error messages call it."""
    arrays: Mapping[str, Array]
    """By the file's names, axes in Keras' order."""
    names: Mapping[str, str]
    """The file's name for every variable, by `<layer>/<variable>`, whether the file has it or not."""
    background: bool = False
    """1001 classes are ImageNet's 1000 after one for the background."""


@dataclass(frozen=True)
class Unit:
    """A convolution or a classifier's dense layer, with the normalisation that follows it, placed in its module."""

    name: str
    layer: keras.Layer
    norm: keras.Layer | None
    stage: str
    """As the papers' files call it: `inception_3a`, `stem`, `aux_1.wide`."""
    branch: int = 0
    """From 1; 0 outside branches."""
    step: int = 0
    """From 1, pools counted; 0 for what a stage has only one of."""
    fork: int = 0
    """From 1; 0 outside the two sides of a fork."""
    kernel: str = ""

    @property
    def strided(self) -> bool:
        return isinstance(self.layer, keras.layers.Conv2D) and max(self.layer.strides) > 1


def weighted(network: keras.Model) -> list[keras.Layer]:
    """Layers that have weights, in the order of computation."""
    return [layer for layer in network.layers if layer.weights]


def units(network: keras.Model) -> list[Unit]:
    """All of them, in the order of computation."""
    layers = {layer.name: layer for layer in weighted(network)}
    return [
        _unit(name.removesuffix(".conv"), layer, layers.get(f"{name.removesuffix('.conv')}.bn"))
        for name, layer in layers.items()
        if not name.endswith(".bn")
    ]


def _unit(name: str, layer: keras.Layer, norm: keras.Layer | None) -> Unit:
    placed = _UNIT.fullmatch(name)
    if placed is None:
        return Unit(name, layer, norm, stage=name)  # the `up` of a residual block, the logits
    number = {key: int(placed[key] or 0) for key in ("branch", "step", "fork")}
    return Unit(name, layer, norm, stage=placed["stage"], kernel=placed["kernel"], **number)
