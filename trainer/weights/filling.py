"""From a file's content into a network's variables: all of them, each once, or none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import keras
import numpy as np

from trainer.errors import WeightsError
from trainer.weights.content import AUXILIARY, HEAD, Array, Content, weighted

WITH_BACKGROUND, WITHOUT = 1001, 1000
AUXILIARY_LOGITS, AUXILIARY_WIDE = f"{AUXILIARY}logits", f"{AUXILIARY}wide"
_NAMED = 3
"""How many surplus variables a message names."""


@dataclass(frozen=True)
class Filled:
    loaded: tuple[str, ...]
    fresh: dict[str, str]
    """Layers left as they were, with the reason."""


def fill(network: keras.Model, content: Content, classes: int, remedy: str) -> Filled:
    """Assign every variable of the network, after all of them have been found to fit.

    Classifiers of other classes than the network's stay as they are; so does the auxiliary classifier where the file
    has none or one for another size of image.

    Errors: WeightsError with `remedy` (a variable missing, superfluous, of another shape, or a scale that matters).
    """
    layers = weighted(network)
    fresh = _fresh(layers, content, classes)
    plan: list[tuple[keras.Variable, Array]] = []
    used: set[str] = set()
    for layer in layers:
        if layer.name in fresh:
            used |= _names(content, layer)
            continue
        if isinstance(layer, keras.layers.BatchNormalization):
            used |= _scale_dealt_with(layer, content, remedy)
        for variable in layer.weights:
            key = f"{layer.name}/{variable.name}"
            name = content.names.get(key, "")
            if variable.name == "gamma" and name not in content.arrays:
                plan.append((variable, np.ones(variable.shape, "float32")))
                continue
            used.add(name)
            plan.append((variable, _array(content, name, key, variable, classes, remedy)))
    surplus = sorted(content.arrays.keys() - used)
    if surplus:
        more = f" and {len(surplus) - _NAMED} more" if len(surplus) > _NAMED else ""
        raise WeightsError(
            f"{content.where} holds {', '.join(surplus[:_NAMED])}{more}, for which {network.name} has no place.", remedy
        )
    for variable, array in plan:
        variable.assign(array)
    return Filled(tuple(layer.name for layer in layers if layer.name not in fresh), fresh)


def _fresh(layers: Iterable[keras.Layer], content: Content, classes: int) -> dict[str, str]:
    """Names of the layers that stay as they are, with the reason."""
    by_name = {layer.name: layer for layer in layers}
    fresh: dict[str, str] = {}
    for logits in (HEAD, AUXILIARY_LOGITS):
        bias = content.arrays.get(content.names.get(f"{logits}/bias", ""))
        if logits not in by_name:
            continue
        if bias is None:
            fresh[logits] = "the file has none"
        elif bias.ndim == 1 and len(bias) != classes and not _has_background(content, len(bias), classes):
            fresh[logits] = f"the file has {len(bias)} classes, the network {classes}"
    auxiliary = [name for name in by_name if name.startswith(AUXILIARY)]
    wide = next((layer for name, layer in by_name.items() if name.startswith(AUXILIARY_WIDE)), None)
    if not any(_names(content, by_name[name]) & content.arrays.keys() for name in auxiliary):
        fresh |= dict.fromkeys(auxiliary, "the file has none")
    elif wide is not None:
        kernel = content.arrays.get(content.names.get(f"{wide.name}/kernel", ""))
        if kernel is not None and kernel.shape[:2] != wide.kernel.shape[:2]:
            fresh |= dict.fromkeys(auxiliary, "the file's is for images of another size")
    return fresh


def _names(content: Content, layer: keras.Layer) -> set[str]:
    """What the file may call the layer's variables, those included that the network does without."""
    return {name for key, name in content.names.items() if key.rpartition("/")[0] == layer.name}


def _scale_dealt_with(layer: keras.layers.BatchNormalization, content: Content, remedy: str) -> set[str]:
    """A scale (gamma) of ones may be dropped from a network that has none; another would change what it computes.

    Multiplied into the kernel it would be right for inference only: in training the batch's own variance divides it
    out again. Returns the name that is thereby used.
    """
    name = content.names.get(f"{layer.name}/gamma", "")
    if layer.scale or name not in content.arrays:
        return set()
    if not np.array_equal(content.arrays[name], np.ones_like(content.arrays[name])):
        raise WeightsError(
            f"{content.where} scales what it normalises ({name} is not 1 throughout), and the network does not.",
            f"Set model.bn_gamma = true. Otherwise: {remedy}",
        )
    return {name}


def _array(content: Content, name: str, key: str, variable: keras.Variable, classes: int, remedy: str) -> Array:
    array = content.arrays.get(name)
    if array is None:
        raise WeightsError(f"{content.where} has no {name or 'variable'}, which {key} is loaded from.", remedy)
    logits = key.rpartition("/")[0] in (HEAD, AUXILIARY_LOGITS)
    if logits and _has_background(content, array.shape[-1], classes):
        array = array[..., 1:]
    if array.shape != tuple(variable.shape):
        raise WeightsError(
            f"{content.where}: {name} has the shape {_times(array.shape)}, but {key} has {_times(variable.shape)}.",
            remedy,
        )
    return array


def _has_background(content: Content, found: int, classes: int) -> bool:
    return content.background and found == WITH_BACKGROUND and classes == WITHOUT


def _times(shape: Iterable[int]) -> str:
    return "×".join(map(str, shape)) or "of a number"
