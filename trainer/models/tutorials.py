"""The two networks that come from tutorials: one Inception module for CIFAR-10, and the cats-and-dogs baseline."""

from __future__ import annotations

import keras
from keras import layers

from trainer.models.blocks import Net, Tensor, conv, max_pool
from trainer.models.zoo import Options
from trainer.sections.model import ModuleWidths


def inception_module(options: Options, classes: int) -> keras.Model:
    """One module on the pixels themselves: figure 2(b) of arXiv:1409.4842 without its plain 1×1 branch.

    Shapes for 32 pixels and the tutorial's 64 channels everywhere. Nearly all of its parameters are those of the Dense
    layer on the flattened grid, so their number grows with the square of the image's side.
    """
    net, widths = Net(options, batch_norm=False), options.module or ModuleWidths()
    image = net.image()  # 32×32×3
    x = net.concat(
        "module",
        image,
        [conv(widths.reduce_3x3, 1), conv(widths.out_3x3, 3)],
        [conv(widths.reduce_5x5, 1), conv(widths.out_5x5, 5)],
        [max_pool(3), conv(widths.project, 1)],
    )  # 32×32×192
    x = layers.Flatten(name="head.flatten")(x)  # 196608
    return keras.Model(image, {"main": net.logits(net.dropout(x, "head"), classes, "head")}, name=options.variant)


def convnet(options: Options, classes: int) -> keras.Model:
    """Convolutions and pools in turn, the baseline of F. Chollet's cats-and-dogs chapter. Shapes for 150 pixels."""
    net = Net(options, batch_norm=False)
    image = net.image()  # 150×150×3
    x = net.chain("conv_1", image, conv(32, 3, padding="valid"), max_pool(2, 2, "valid"))  # 74×74×32
    x = net.chain("conv_2", x, conv(64, 3, padding="valid"), max_pool(2, 2, "valid"))  # 36×36×64
    x = net.chain("conv_3", x, conv(128, 3, padding="valid"), max_pool(2, 2, "valid"))  # 17×17×128
    x = net.chain("conv_4", x, conv(128, 3, padding="valid"), max_pool(2, 2, "valid"))  # 7×7×128
    x = layers.Flatten(name="head.flatten")(x)  # 6272
    x = net.dropout(x, "head")
    x = layers.Dense(net.channels(512), activation="relu", name="head.dense")(x)  # 512
    logits = one_unit(net, x) if classes == 2 else net.logits(x, classes, "head")
    return keras.Model(image, {"main": logits}, name=options.variant)


def one_unit(net: Net, x: Tensor) -> Tensor:
    """A single unit z for two classes, given out as the logits [0, z]: softmax makes sigmoid(z) of the second."""
    x = net.logits(x, 1, "head")  # 1
    x = layers.Reshape((1, 1), dtype="float32", name="head.column")(x)
    x = layers.ZeroPadding1D((1, 0), dtype="float32", name="head.pair")(x)
    return layers.Flatten(dtype="float32", name="head.two_logits")(x)  # 2
