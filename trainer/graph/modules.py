"""A built network as its paper's figure shows it: modules, their branches, and the steps on these.

Read off the names and connections of the layers, so it is the graph that is trained and never a drawing of another.
A convolution, its normalisation and its ReLU are one step.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import keras
from keras import layers

from trainer.models import cost

Kind = Literal["convolution", "pooling", "dense", "join", "other"]
Shape: TypeAlias = tuple[int, ...]
"""Of one image: (height, width, channels) or (features,)."""

_BRANCH = re.compile(r"branch(\d+)")
_STEP = re.compile(r"\d+_\w+")
_CHAINS = ("fine", "coarse", "wide")
"""Parts of a stage that follow one another: the two halves of the small stem, the end of an auxiliary classifier."""


@dataclass(frozen=True)
class Step:
    """One box of the figure."""

    label: str
    kind: Kind


@dataclass(frozen=True)
class Split:
    """Branches side by side, joined along the channels."""

    branches: tuple[Flow, ...]


Flow: TypeAlias = tuple["Step | Split", ...]
"""One after the other."""


@dataclass(frozen=True)
class Module:
    """A stage, or several equal ones in a row."""

    stages: tuple[str, ...]
    flow: Flow
    """What comes between the module's input and its output; of a residual module, the branch up to the sum."""
    residual: bool
    """The input is added to what the flow gives."""
    source: str | None
    """The stage it takes its input from; None for the image."""
    input_shape: Shape
    output_shape: Shape
    parameters: int
    multiply_adds: int

    @property
    def title(self) -> str:
        first, last = self.stages[0], self.stages[-1]
        return first if first == last else f"{first} … {last.rpartition('_')[2]}"

    @property
    def auxiliary(self) -> bool:
        return self.stages[0].startswith("aux")


@dataclass(frozen=True)
class Graph:
    """A whole network."""

    name: str
    modules: tuple[Module, ...]
    """In the order of computation; equal neighbours are one."""
    batch_norm: bool
    """Convolutions are followed by batch normalisation; else they have biases."""


def of(network: keras.Model) -> Graph:
    """The graph of a network of `zoo.build`."""
    batch_norm = any(isinstance(layer, layers.BatchNormalization) for layer in network.layers)
    return Graph(network.name, _modules(network), batch_norm)


def _modules(network: keras.Model) -> tuple[Module, ...]:
    stages: dict[str, list[keras.Layer]] = {}
    for layer in network.layers:
        if not isinstance(layer, layers.InputLayer):
            stages.setdefault(_stage(layer), []).append(layer)
    makers = {id(tensor): layer for layer in network.layers for tensor in _tensors(layer.output)}
    costs = {stage.name: stage for stage in cost.of(network).stages}
    found: list[Module] = []
    for stage, members in stages.items():
        entry = _tensors(members[0].input)[0]
        maker = makers[id(entry)]
        module = Module(
            stages=(stage,),
            flow=_flow([(layer.name.split(".")[1:], layer) for layer in members]),
            residual=any(isinstance(layer, layers.Add) for layer in members),
            source=None if isinstance(maker, layers.InputLayer) else _stage(maker),
            input_shape=tuple(entry.shape[1:]),
            output_shape=costs[stage].output_shape,
            parameters=costs[stage].parameters,
            multiply_adds=costs[stage].multiply_adds,
        )
        if found and _repeats(found[-1], module):
            found[-1] = _together(found[-1], module)
        else:
            found.append(module)
    return tuple(found)


def _stage(layer: keras.Layer) -> str:
    return str(layer.name).partition(".")[0]


def _tensors(value: keras.KerasTensor | list[keras.KerasTensor]) -> list[keras.KerasTensor]:
    return value if isinstance(value, list) else [value]


def _repeats(before: Module, module: Module) -> bool:
    return (
        module.source == before.stages[-1]
        and (module.flow, module.residual, module.output_shape) == (before.flow, before.residual, before.output_shape)
        and module.stages[0].rpartition("_")[0] == before.stages[0].rpartition("_")[0]
    )


def _together(before: Module, module: Module) -> Module:
    return replace(
        before,
        stages=before.stages + module.stages,
        parameters=before.parameters + module.parameters,
        multiply_adds=before.multiply_adds + module.multiply_adds,
    )


def _flow(members: Sequence[tuple[list[str], keras.Layer]]) -> Flow:
    """The steps that layers make, each given with what is left of its name.

    Layers come by depth, those of the branches mixed: a branch's are gathered where the first of them stands.
    """
    groups: dict[str, list[tuple[list[str], keras.Layer]]] = {}
    for path, layer in members:
        key = "branches" if _BRANCH.fullmatch(path[0]) else path[0]
        groups.setdefault(key, []).append((path, layer))
    steps: list[Step | Split] = []
    for key, group in groups.items():
        if key == "branches":
            steps.append(_split(group))
        elif key in _CHAINS or key.endswith("_fork"):
            steps += _flow([(path[1:], layer) for path, layer in group])
        elif key == "lrn":
            steps.append(Step("local response norm.", "other"))
        elif step := _step(group[0][1], in_sequence=bool(_STEP.fullmatch(key))):
            steps.append(step)
    return tuple(steps)


def _split(group: Sequence[tuple[list[str], keras.Layer]]) -> Split:
    branches: dict[int, list[tuple[list[str], keras.Layer]]] = {}
    for path, layer in group:
        branches.setdefault(int(path[0].removeprefix("branch")), []).append((path[1:], layer))
    return Split(tuple(_flow(branches[number]) for number in sorted(branches)))


def _step(layer: keras.Layer, in_sequence: bool) -> Step | None:
    """The box of a layer, or of the step that begins with it; None for what no figure shows."""
    match layer:
        case layers.SeparableConv2D():
            return Step(f"{_window(layer, layer.kernel_size)} separable with a bias, {layer.filters}", "convolution")
        case layers.Conv2D():
            linear = "" if in_sequence else " linear"
            return Step(f"{_window(layer, layer.kernel_size)}{linear}, {layer.filters}", "convolution")
        case layers.MaxPooling2D():
            return Step(f"max {_window(layer, layer.pool_size)}", "pooling")
        case layers.AveragePooling2D():
            return Step(f"mean {_window(layer, layer.pool_size)}", "pooling")
        case layers.GlobalAveragePooling2D():
            return Step("mean of the grid", "pooling")
        case layers.Concatenate():
            return Step(f"concat, {layer.output.shape[-1]}", "join")
        case layers.Add():
            return Step("+", "join")
        case layers.Rescaling():
            return Step(f"× {layer.scale:g}", "other")
        case layers.Dense():
            return Step(f"{'logits' if layer.name.endswith('.logits') else 'dense'}, {layer.units}", "dense")
        case layers.Dropout():
            return Step(f"dropout {layer.rate:g}", "other")
        case layers.Flatten() if math.prod(layer.input.shape[1:]) > 2:
            return Step(f"flatten, {math.prod(layer.input.shape[1:])}", "other")
        case layers.ZeroPadding1D():
            return Step("0 beside it, 2", "other")
        case layers.ReLU() if not in_sequence:
            return Step("ReLU", "other")
    return None


def _window(layer: keras.Layer, size: Sequence[int]) -> str:
    """`3×3 / 2 V`: kernel, stride where it is not 1, V for no padding, as in the papers' figures."""
    stride = f" / {layer.strides[0]}" if layer.strides[0] > 1 else ""
    return f"{size[0]}×{size[1]}{stride}{' V' if layer.padding == 'valid' and max(size) > 1 else ''}"
