"""Batch normalization. Ioffe & Szegedy, 2015, arXiv:1502.03167: the network its figure 5 tabulates, BN-Inception.

The paper's table prints 576, 576 and 1024 channels for 4c, 4d and 4e, but its branch widths sum to 608, 608 and 1056.
This is TF-slim's repair (pool projections of 96 in 4c and 4d), so that its checkpoint fits: with its separable first
convolution too, which has a bias and no normalisation. Shapes in the margin are for 224 pixels.
"""

from __future__ import annotations

import keras
from keras import layers

from trainer.models.blocks import Net, Pool, Tensor, avg_pool, conv, max_pool
from trainer.models.zoo import Options

STEM_DEPTH_MULTIPLIER = 8


def inception_v2(options: Options, classes: int) -> keras.Model:
    net = Net(options, batch_norm=True, kernel_init="he_normal")
    image = net.image()
    x = stem(net, image)  # 28×28×192
    x = inception(net, "inception_3a", x, 64, (64, 64), (64, 96), avg_pool(3), 32)  # 28×28×256
    x = inception(net, "inception_3b", x, 64, (64, 96), (64, 96), avg_pool(3), 64)  # 28×28×320
    x = reduction(net, "inception_3c", x, (128, 160), (64, 96))  # 14×14×576
    x = inception(net, "inception_4a", x, 224, (64, 96), (96, 128), avg_pool(3), 128)  # 14×14×576
    x = inception(net, "inception_4b", x, 192, (96, 128), (96, 128), avg_pool(3), 128)  # 14×14×576
    x = inception(net, "inception_4c", x, 160, (128, 160), (128, 160), avg_pool(3), 96)  # 14×14×576
    x = inception(net, "inception_4d", x, 96, (128, 192), (160, 192), avg_pool(3), 96)  # 14×14×576
    x = reduction(net, "inception_4e", x, (128, 192), (192, 256))  # 7×7×1024
    x = inception(net, "inception_5a", x, 352, (192, 320), (160, 224), avg_pool(3), 128)  # 7×7×1024
    x = inception(net, "inception_5b", x, 352, (192, 320), (192, 224), max_pool(3), 128)  # 7×7×1024
    return keras.Model(image, {"main": net.head(x, classes)}, name=options.variant)


def inception(
    net: Net, stage: str, x: Tensor, one: int, three: tuple[int, int], double: tuple[int, int], pool: Pool, project: int
) -> Tensor:
    """GoogLeNet's module with two 3×3 for its 5×5. Pairs are (reduction, output) channels, as in figure 5."""
    return net.concat(
        stage,
        x,
        [conv(one, 1)],
        [conv(three[0], 1), conv(three[1], 3)],
        [conv(double[0], 1), conv(double[1], 3), conv(double[1], 3)],
        [pool, conv(project, 1)],
    )


def reduction(net: Net, stage: str, x: Tensor, three: tuple[int, int], double: tuple[int, int]) -> Tensor:
    """The modules that halve the grid: stride 2 on the last 3×3 of each branch, the pool passed through."""
    return net.concat(
        stage,
        x,
        [conv(three[0], 1), conv(three[1], 3, 2)],
        [conv(double[0], 1), conv(double[1], 3), conv(double[1], 3, 2)],
        [max_pool(3, 2)],
    )


def stem(net: Net, image: Tensor) -> Tensor:
    """Figure 5 up to the first module."""
    if net.options.stem == "small":
        return net.small_stem(image, 192, grid=16)
    x = layers.SeparableConv2D(
        net.channels(64),
        7,
        strides=2,
        padding="same",
        depth_multiplier=STEM_DEPTH_MULTIPLIER,
        depthwise_initializer=net.kernel_init,
        pointwise_initializer=net.kernel_init,
        name="stem.0_7x7.conv",
    )(image)  # 112×112×64
    x = layers.ReLU(name="stem.0_7x7.relu")(x)
    return net.chain("stem", x, max_pool(3, 2), conv(64, 1), conv(192, 3), max_pool(3, 2))  # 28×28×192
