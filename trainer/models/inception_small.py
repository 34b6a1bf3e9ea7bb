"""Understanding deep learning requires rethinking generalization. Zhang et al., 2016, arXiv:1611.03530: its Inception.

The network that paper trains on CIFAR-10, "Inception (small)": modules of a 1×1 and a 3×3 side by side, without the
1×1 before the 3×3. Shapes in the margin are for the paper's 28 pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras

from trainer.models.blocks import Net, Step, Tensor, conv, max_pool
from trainer.models.zoo import Options


def inception_small(options: Options, classes: int) -> keras.Model:
    """Figure 3, right. The small stem, which is in no paper, halves the grid after the first convolution.

    That makes every module four times cheaper; without it most of the time goes into the first two.
    """
    net = Net(options, batch_norm=True, kernel_init="he_normal")
    image = net.image()
    x = net.chain("stem", image, conv(96, 3), *([max_pool(3, 2)] if options.stem == "small" else []))  # 28×28×96
    x = inception(net, "inception_1a", x, 32, 32)  # 28×28×64
    x = inception(net, "inception_1b", x, 32, 48)  # 28×28×80
    x = net.concat("downsample_1", x, *downsample(80))  # 14×14×160
    x = inception(net, "inception_2a", x, 112, 48)  # 14×14×160
    x = inception(net, "inception_2b", x, 96, 64)  # 14×14×160
    x = inception(net, "inception_2c", x, 80, 80)  # 14×14×160
    x = inception(net, "inception_2d", x, 48, 96)  # 14×14×144
    x = net.concat("downsample_2", x, *downsample(96))  # 7×7×240
    x = inception(net, "inception_3a", x, 176, 160)  # 7×7×336
    x = inception(net, "inception_3b", x, 176, 160)  # 7×7×336
    return keras.Model(image, {"main": net.head(x, classes)}, name=options.variant)


def inception(net: Net, stage: str, x: Tensor, one: int, three: int) -> Tensor:
    """The figure's Inception module: `Ch1` and `Ch3` filters."""
    return net.concat(stage, x, [conv(one, 1)], [conv(three, 3)])


def downsample(three: int) -> list[Sequence[Step]]:
    """The figure's downsample module: a 3×3 in steps of 2 beside a pool."""
    return [[conv(three, 3, 2)], [max_pool(3, 2)]]
