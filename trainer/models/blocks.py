"""The vocabulary all papers' files share: branches as lists of steps, and a `Net` that turns them into named layers.

A module reads as its figure does, one line per branch, bottom to top:

    net.concat("inception_3a", x, [conv(64, 1)], [conv(96, 1), conv(128, 3)], [max_pool(3), conv(32, 1)])

Layers are named `<stage>.branch<i>.<j>_<kernel>.<part>`, as in `inception_3a.branch2.2_3x3.conv`: stable, so that
weights can be loaded and stages frozen by name. Only layers and operations that ship with Keras are used, so a saved
network loads without this package; but for training, where `Options.fused` asks for a faster batch normalisation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import keras
from keras import layers

from trainer.models.normalisation import FusedBatchNormalization
from trainer.models.zoo import Options

Tensor: TypeAlias = keras.KerasTensor
Padding = Literal["same", "valid"]

BN_EPSILON = 1e-3
"""As in TF-slim and keras.applications; 1e-5 shifts the logits of their weights by a percent."""
CHANNEL_MULTIPLE = 8
SMALL_STEM_POOLS_ABOVE = 48
AUXILIARY_STDDEV, AUXILIARY_LOGITS_STDDEV = 0.01, 0.001
"""Of the initial 5×5 and logits of the auxiliary classifier in TF-slim."""


@dataclass(frozen=True)
class Conv:
    """A convolution with what belongs to it: bias and ReLU, or batch normalisation and ReLU (the Net knows which)."""

    filters: int
    kernel: tuple[int, int]
    stride: int = 1
    padding: Padding = "same"
    stddev: float | None = None
    """Standard deviation of the initial kernel (truncated normal) where it is not the Net's own."""

    @property
    def label(self) -> str:
        return f"{self.kernel[0]}x{self.kernel[1]}"

    def apply(self, net: Net, x: Tensor, name: str) -> Tensor:
        return net.convolve(x, self, name)


@dataclass(frozen=True)
class Pool:
    """A pooling. Average pooling with `same` leaves the padding out of the mean, as TF-slim does."""

    kind: Literal["max", "avg"]
    size: int
    stride: int = 1
    padding: Padding = "same"

    @property
    def label(self) -> str:
        return f"{self.kind}_{self.size}x{self.size}"

    def apply(self, net: Net, x: Tensor, name: str) -> Tensor:
        layer = layers.MaxPooling2D if self.kind == "max" else layers.AveragePooling2D
        return layer(self.size, strides=self.stride, padding=self.padding, name=name)(x)


@dataclass(frozen=True)
class Fork:
    """Branches inside a branch, concatenated: the 1×3 and 3×1 side by side of the v3 and v4 papers."""

    branches: tuple[Sequence[Step], ...]
    label: str = "fork"

    def apply(self, net: Net, x: Tensor, name: str) -> Tensor:
        return net.concat(name, x, *self.branches)


Step: TypeAlias = Conv | Pool | Fork


def conv(filters: int, kernel: int | tuple[int, int], stride: int = 1, padding: Padding = "same") -> Conv:
    """A convolution step; a kernel (1, 7) is 1 high and 7 wide."""
    return Conv(filters, (kernel, kernel) if isinstance(kernel, int) else kernel, stride, padding)


def max_pool(size: int, stride: int = 1, padding: Padding = "same") -> Pool:
    return Pool("max", size, stride, padding)


def avg_pool(size: int, stride: int = 1, padding: Padding = "same") -> Pool:
    return Pool("avg", size, stride, padding)


def fork(*branches: Sequence[Step]) -> Fork:
    return Fork(branches)


@dataclass(frozen=True)
class Net:
    """How one network's layers are made."""

    options: Options
    batch_norm: bool
    """Convolutions are followed by batch normalisation and have no bias."""
    kernel_init: str = "glorot_uniform"
    bias_init: float = 0.0

    def image(self) -> Tensor:
        """The input, (image_size, image_size, 3)."""
        size = self.options.image_size
        return keras.Input((size, size, 3), name="image")

    def channels(self, count: int) -> int:
        """A channel count times the width multiplier, to the nearest multiple of 8 and at least 8.

        Eights keep vector units full. At width 1 the paper's counts are left exactly as they are.
        """
        width = self.options.width
        if width == 1:
            return count
        return max(CHANNEL_MULTIPLE, round(count * width / CHANNEL_MULTIPLE) * CHANNEL_MULTIPLE)

    @property
    def valid(self) -> Padding:
        """`valid` where the paper has it; `same` with the small stem, whose grids have no rim to lose."""
        return "same" if self.options.stem == "small" else "valid"

    def chain(self, stage: str, x: Tensor, *steps: Step) -> Tensor:
        """One step after the other."""
        for number, step in enumerate(steps, start=1):
            x = step.apply(self, x, f"{stage}.{number}_{step.label}")
        return x

    def concat(self, stage: str, x: Tensor, *branches: Sequence[Step]) -> Tensor:
        """Branches side by side, joined along the channels in the order given (pretrained weights rely on it)."""
        ends = [self.chain(f"{stage}.branch{number}", x, *steps) for number, steps in enumerate(branches, start=1)]
        return layers.Concatenate(name=f"{stage}.concat")(ends)

    def convolve(self, x: Tensor, step: Conv, name: str) -> Tensor:
        """Convolution, batch normalisation if the network has it, ReLU."""
        initial = keras.initializers.TruncatedNormal(stddev=step.stddev) if step.stddev else self.kernel_init
        x = layers.Conv2D(
            self.channels(step.filters),
            step.kernel,
            strides=step.stride,
            padding=step.padding,
            use_bias=not self.batch_norm,
            kernel_initializer=initial,
            bias_initializer=keras.initializers.Constant(self.bias_init),
            name=f"{name}.conv",
        )(x)
        if self.batch_norm:
            x = self.normalise(x, f"{name}.bn")
        return layers.ReLU(name=f"{name}.relu")(x)

    def normalise(self, x: Tensor, name: str) -> Tensor:
        layer = FusedBatchNormalization if self.options.fused else layers.BatchNormalization
        return layer(momentum=self.options.bn_momentum, epsilon=BN_EPSILON, scale=self.options.bn_gamma, name=name)(x)

    def residual(self, stage: str, x: Tensor, *branches: Sequence[Step], scale: float, relu: bool = True) -> Tensor:
        """x plus its scaled branches: concatenated, brought to the channels of `x` by a 1×1 with bias and nothing else.

        The recipe's `residual_scale`, where given, takes the place of `scale`, except that a block whose `scale` is
        1 is left unscaled.
        """
        y = layers.Conv2D(x.shape[-1], 1, kernel_initializer=self.kernel_init, name=f"{stage}.up")(
            self.concat(stage, x, *branches)
        )
        if scale != 1:
            y = layers.Rescaling(self.options.residual_scale or scale, name=f"{stage}.scale")(y)
        x = layers.Add(name=f"{stage}.sum")([x, y])
        return layers.ReLU(name=f"{stage}.relu")(x) if relu else x

    def small_stem(self, x: Tensor, filters: int, grid: Literal[8, 16]) -> Tensor:
        """A stem for images of 32 to 96 pixels; it is in none of the papers.

        GoogLeNet's with 3×3/2 for its 7×7/2 and without its last pool, so that the only work at full resolution is
        that of three input channels: cheap on a processor. `grid` is the side of what it hands on at 32 pixels: 16
        for the networks of 224 pixels, which halve it twice more and keep the first pool only above 48 pixels, 8 for
        the deeper ones of 299 pixels. So the first module never sees more than 24×24.
        """
        pool = [max_pool(3, 2)] if grid == 8 or self.options.image_size > SMALL_STEM_POOLS_ABOVE else []
        x = self.chain("stem.fine", x, conv(64, 3, 2), *pool)
        return self.chain("stem.coarse", x, conv(64, 1), conv(filters, 3))

    def finish(self, image: Tensor, x: Tensor, middle: Tensor, classes: int) -> keras.Model:
        """Head on `x` and, if asked for, the auxiliary classifier on `middle`: the ending of v3 and its successors."""
        outputs = {"main": self.head(x, classes)}
        if self.options.auxiliary:
            outputs["aux_1"] = self.auxiliary("aux_1", middle, classes)
        return keras.Model(image, outputs, name=self.options.variant)

    def auxiliary(self, stage: str, x: Tensor, classes: int) -> Tensor:
        """The auxiliary classifier of arXiv:1512.00567, figure 8, as TF-slim has it. Shapes for 299 pixels.

        On grids too small for them the pooling and the 5×5 shrink to the grid, on larger ones the mean is taken.
        """
        x = self.chain(stage, x, shrunk(avg_pool(5, 3, "valid"), x), conv(128, 1))  # 5×5×128
        wide = Conv(768, (5, 5), padding="valid", stddev=AUXILIARY_STDDEV)
        x = self.chain(f"{stage}.wide", x, shrunk(wide, x))  # 1×1×768
        x = layers.GlobalAveragePooling2D(dtype="float32", name=f"{stage}.pool")(x)  # 768
        return self.logits(x, classes, stage, stddev=AUXILIARY_LOGITS_STDDEV)

    def head(self, x: Tensor, classes: int) -> Tensor:
        """Global average pooling, dropout, logits; in float32 whatever the precision policy."""
        x = layers.GlobalAveragePooling2D(dtype="float32", name="head.pool")(x)
        return self.logits(self.dropout(x, "head"), classes, "head")

    def dropout(self, x: Tensor, stage: str, rate: float | None = None) -> Tensor:
        """Dropout at the recipe's rate unless another is given; no layer at all for rate 0."""
        rate = self.options.dropout if rate is None else rate
        return layers.Dropout(rate, dtype="float32", name=f"{stage}.dropout")(x) if rate else x

    def logits(self, x: Tensor, classes: int, stage: str, stddev: float | None = None) -> Tensor:
        initial = keras.initializers.TruncatedNormal(stddev=stddev) if stddev else "glorot_uniform"
        return layers.Dense(classes, kernel_initializer=initial, dtype="float32", name=f"{stage}.logits")(x)


def shrunk(step: Conv | Pool, x: Tensor) -> Conv | Pool:
    """The step with its kernel cut to the grid of `x` where that is smaller, as TF-slim does for small images."""
    grid = min(x.shape[1], x.shape[2])
    if isinstance(step, Pool):
        return replace(step, size=min(step.size, grid))
    return replace(step, kernel=(min(step.kernel[0], grid), min(step.kernel[1], grid)))
