"""Keras' weights files of keras.applications' networks, in both formats that Keras has had.

The one they are published in (`.h5`) and the one of Keras 3 (`.weights.h5`). Layer names differ from one process to
the next and mean nothing: layers are paired by their order of computation, which is the same in equal graphs, and the
variables of a layer by their order, as Keras itself does.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from trainer.errors import WeightsError
from trainer.weights.content import AUXILIARY, HEAD, Array, Content, weighted

Held = dict[str, Array]
"""The arrays of one layer, by the file's names, in their order."""
_MOST_BYTES = 4_000_000_000
"""Of all arrays; those of the largest network have 224 MB."""
_GROUPS = {"Conv2D": "conv2d", "BatchNormalization": "batch_normalization", "Dense": "dense"}
"""What Keras 3 calls the layers of a class, followed by their number."""


def read(path: Path, network: keras.Model, variant: str) -> Content:
    """Read a weights file. Errors: WeightsError."""
    layers = [layer for layer in weighted(network) if not layer.name.startswith(AUXILIARY)]
    try:
        with h5py.File(path) as file:
            _expect_whole(file)
            if "layer_names" in file.attrs:
                held, surplus = _in_order(file, layers, variant)
            elif "layers" in file:
                held, surplus = _by_class(file["layers"], layers)
            else:
                raise OSError("it holds no layers")
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise WeightsError(
            f"{path} cannot be read as a Keras weights file: {error}.",
            "It may have been cut short: fetch it again. It must hold weights only, as save_weights writes them.",
        ) from None
    arrays = dict(surplus)
    names: dict[str, str] = {}
    for layer, held_by_layer in zip(layers, held, strict=True):
        arrays |= held_by_layer
        parts = zip(_parts(layer, len(held_by_layer)), held_by_layer, strict=False)  # fill finds what is over or short
        names |= {f"{layer.name}/{part}": name for part, name in parts}
    return Content(path.name, arrays, names)


def _expect_whole(file: h5py.File) -> None:
    """HDF5 may say that data lie in another file, any file of this machine, or announce more than there is.

    Errors: ValueError.
    """
    announced = 0

    def look(name: str, link: Any) -> str | None:
        return f"its {name} is a link" if isinstance(link, h5py.SoftLink | h5py.ExternalLink) else None

    def weigh(name: str, thing: h5py.Dataset | h5py.Group) -> str | None:
        nonlocal announced
        if not isinstance(thing, h5py.Dataset):
            return None
        announced += thing.nbytes
        if announced > _MOST_BYTES:
            return f"it announces more than {_MOST_BYTES // 1_000_000_000} GB"
        return f"its {name} lies in another file" if thing.external or thing.is_virtual else None

    wrong = file.visititems_links(look) or file.visititems(weigh)  # what is returned ends the visit
    if wrong:
        raise ValueError(wrong)


def _parts(layer: keras.Layer, count: int) -> Sequence[str]:
    """The names of a layer's variables, in the order in which Keras writes them."""
    if isinstance(layer, keras.layers.BatchNormalization):
        parts = ("gamma", "beta", "moving_mean", "moving_variance")
        return parts if count == len(parts) else parts[1:]
    return ("kernel", "bias")


def _in_order(file: h5py.File, layers: Sequence[keras.Layer], variant: str) -> tuple[list[Held], Held]:
    """The older format: a group for every layer, their order and that of their variables written beside them."""
    held: list[Held] = []
    for layer in map(_text, file.attrs["layer_names"]):
        group = file[layer]
        names = [_text(name) for name in group.attrs["weight_names"]]
        missing = [name for name in names if name not in group]
        if missing:
            raise ValueError(f"it has no {missing[0]} of the layer {layer}")
        arrays = {f"{layer}/{name}": np.asarray(group[name]) for name in names}
        if arrays:
            held.append(arrays)
    headless = [layer for layer in layers if layer.name != HEAD]
    if len(held) not in (len(layers), len(headless)):
        raise ValueError(f"it holds {len(held)} layers with weights, and {variant} has {len(layers)}")
    # The classifier comes last, in the file and in the network.
    return held + [{}] * (len(layers) - len(held)), {}


def _by_class(groups: h5py.Group, layers: Sequence[keras.Layer]) -> tuple[list[Held], Held]:
    """Keras 3's format: groups numbered within each class of layer, the variables numbered within each group."""
    counters = {kind: itertools.count() for kind in _GROUPS}
    held = []
    for layer in layers:
        # What trains as a faster class of its own is registered, and written, as Keras' layer.
        kind = next(kind for kind in _GROUPS if isinstance(layer, getattr(keras.layers, kind)))
        number = next(counters[kind])
        held.append(_numbered(groups, f"{_GROUPS[kind]}_{number}" if number else _GROUPS[kind]))
    known = {name for arrays in held for name in arrays}
    surplus = {name: array for group in groups for name, array in _numbered(groups, group).items() if name not in known}
    return held, surplus


def _numbered(groups: h5py.Group, name: str) -> Held:
    variables = groups.get(f"{name}/vars", {})
    return {f"{name}/{number}": np.asarray(variables[number]) for number in sorted(variables, key=int)}


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
