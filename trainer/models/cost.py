"""What a network costs: parameters, multiply-adds and activation memory, per layer, per stage and in all.

Multiply-adds are those of convolutions and Dense layers for one image; additions of biases, normalisation, pooling
and activation are left out, as the papers do. One multiply-add is two floating-point operations.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import keras
from keras import layers

BYTES_PER_NUMBER = 4
_VIEWS = (layers.InputLayer, layers.Flatten, layers.Reshape, layers.Dropout)
"""Layers that leave no numbers of their own behind (dropout does nothing in a forward pass)."""


@dataclass(frozen=True)
class Row:
    """One layer, or one stage (`name` without its dots)."""

    name: str
    kind: str
    """The layer's class, or "stage"."""
    output_shape: tuple[int, ...]
    """Of one image: (height, width, channels) or (features,). A stage's is that of its last layer."""
    parameters: int
    trainable: int
    multiply_adds: int
    activations: int
    """Numbers in the outputs that training keeps for the way back."""

    @property
    def activation_bytes(self) -> int:
        """Memory of the activations of one image in float32; half of it in a 16-bit precision."""
        return self.activations * BYTES_PER_NUMBER


@dataclass(frozen=True)
class Cost:
    """A network's cost; `layers` is in the order of computation."""

    layers: tuple[Row, ...]

    @cached_property
    def stages(self) -> tuple[Row, ...]:
        """The layers summed by stage: what comes before the first dot of their names."""
        members: dict[str, list[Row]] = {}
        for row in self.layers:
            members.setdefault(row.name.partition(".")[0], []).append(row)
        return tuple(_sum(stage, rows) for stage, rows in members.items())

    @cached_property
    def _total(self) -> Row:
        return _sum("total", self.layers)

    @property
    def parameters(self) -> int:
        return self._total.parameters

    @property
    def trainable(self) -> int:
        return self._total.trainable

    @property
    def non_trainable(self) -> int:
        """Moving statistics of batch normalisation, and whatever is frozen."""
        return self.parameters - self.trainable

    @property
    def multiply_adds(self) -> int:
        return self._total.multiply_adds

    @property
    def activation_bytes(self) -> int:
        return self._total.activation_bytes


@dataclass(frozen=True)
class Bottleneck:
    """A 1×1 convolution that spares the larger one after it: multiply-adds with it and without."""

    name: str
    """Of the larger convolution."""
    kernel: tuple[int, int]
    """Of the larger convolution, height and width."""
    grid: tuple[int, int]
    """Of its output."""
    channels: tuple[int, int, int]
    """What comes in, what the 1×1 leaves of it, what goes out."""
    reduction: int
    """Multiply-adds of the 1×1."""
    convolution: int
    """Multiply-adds of the larger convolution behind it."""
    direct: int
    """Multiply-adds of the larger convolution if it saw all the channels itself."""

    @property
    def saved(self) -> int:
        """Negative where the 1×1 widens rather than narrows."""
        return self.direct - self.reduction - self.convolution


def of(network: keras.Model) -> Cost:
    """The cost of a network of `zoo.build` or `zoo.outline`, auxiliary classifiers included where it has them."""
    return Cost(tuple(_row(layer) for layer in network.layers if not isinstance(layer, layers.InputLayer)))


def bottlenecks(network: keras.Model) -> tuple[Bottleneck, ...]:
    """What each 1×1 reduction saves: every 1×1 convolution directly followed by a larger one in its branch."""
    convolutions = {layer.name: layer for layer in network.layers if isinstance(layer, layers.Conv2D)}
    found = []
    for name, larger in convolutions.items():
        step = re.fullmatch(r"(.+\.branch\d+)\.(\d+)_\d+x\d+\.conv", name)
        if step is None or math.prod(larger.kernel_size) == 1:
            continue
        reduction = convolutions.get(f"{step[1]}.{int(step[2]) - 1}_1x1.conv")
        if reduction is None:
            continue
        multiply_adds = _multiply_adds(larger)
        direct = multiply_adds // _channels_in(larger) * _channels_in(reduction)
        channels = _channels_in(reduction), int(reduction.filters), int(larger.filters)
        grid = tuple(larger.output.shape[1:-1])
        found.append(
            Bottleneck(name, larger.kernel_size, grid, channels, _multiply_adds(reduction), multiply_adds, direct)
        )
    return tuple(found)


def _row(layer: keras.Layer) -> Row:
    shape = tuple(layer.output.shape[1:])
    return Row(
        name=layer.name,
        kind=type(layer).__name__,
        output_shape=shape,
        parameters=_numbers(layer.weights),
        trainable=_numbers(layer.trainable_weights),
        multiply_adds=_multiply_adds(layer),
        activations=0 if isinstance(layer, _VIEWS) else math.prod(shape),
    )


def _sum(name: str, rows: Iterable[Row]) -> Row:
    rows = tuple(rows)
    return Row(
        name=name,
        kind="stage",
        output_shape=rows[-1].output_shape,
        parameters=sum(row.parameters for row in rows),
        trainable=sum(row.trainable for row in rows),
        multiply_adds=sum(row.multiply_adds for row in rows),
        activations=sum(row.activations for row in rows),
    )


def _numbers(weights: Iterable[keras.Variable]) -> int:
    return sum(math.prod(weight.shape) for weight in weights)


def _multiply_adds(layer: keras.Layer) -> int:
    """For one image: every number of the kernel is used once at every position of the output."""
    if isinstance(layer, layers.SeparableConv2D):
        kernels = [layer.depthwise_kernel, layer.pointwise_kernel]
    elif isinstance(layer, layers.Conv2D | layers.Dense):
        kernels = [layer.kernel]
    else:
        return 0
    positions = math.prod(layer.output.shape[1:-1])
    return int(positions * _numbers(kernels))


def _channels_in(layer: layers.Conv2D) -> int:
    return int(layer.kernel.shape[-2])
