"""Going deeper with convolutions. Szegedy et al., 2014, arXiv:1409.4842: GoogLeNet, table 1.

The paper's network: 5×5 branches (TF-slim and torchvision have 3×3 there), biases, no batch normalisation. Initial
biases of 0.2 are those of the Caffe release. Shapes in the margin are for 224 pixels.
"""

from __future__ import annotations

import keras
from keras import layers

from trainer.models.blocks import Net, Tensor, avg_pool, conv, max_pool, shrunk
from trainer.models.zoo import Options

AUXILIARY_DROPOUT = 0.7


def googlenet(options: Options, classes: int) -> keras.Model:
    net = Net(options, batch_norm=False, bias_init=0.2)
    image = net.image()
    x = stem(net, image)  # 28×28×192
    x = inception(net, "inception_3a", x, 64, (96, 128), (16, 32), 32)  # 28×28×256
    x = inception(net, "inception_3b", x, 128, (128, 192), (32, 96), 64)  # 28×28×480
    x = net.chain("pool_3", x, max_pool(3, 2))  # 14×14×480
    x = a4 = inception(net, "inception_4a", x, 192, (96, 208), (16, 48), 64)  # 14×14×512
    x = inception(net, "inception_4b", x, 160, (112, 224), (24, 64), 64)  # 14×14×512
    x = inception(net, "inception_4c", x, 128, (128, 256), (24, 64), 64)  # 14×14×512
    x = d4 = inception(net, "inception_4d", x, 112, (144, 288), (32, 64), 64)  # 14×14×528
    x = inception(net, "inception_4e", x, 256, (160, 320), (32, 128), 128)  # 14×14×832
    x = net.chain("pool_4", x, max_pool(3, 2))  # 7×7×832
    x = inception(net, "inception_5a", x, 256, (160, 320), (32, 128), 128)  # 7×7×832
    x = inception(net, "inception_5b", x, 384, (192, 384), (48, 128), 128)  # 7×7×1024
    outputs = {"main": net.head(x, classes)}
    if options.auxiliary:
        outputs |= {"aux_1": auxiliary(net, "aux_1", a4, classes), "aux_2": auxiliary(net, "aux_2", d4, classes)}
    return keras.Model(image, outputs, name=options.variant)


def inception(
    net: Net, stage: str, x: Tensor, one: int, three: tuple[int, int], five: tuple[int, int], project: int
) -> Tensor:
    """Figure 2(b): the module with dimension reductions. Pairs are (reduction, output) channels, as in table 1."""
    return net.concat(
        stage,
        x,
        [conv(one, 1)],
        [conv(three[0], 1), conv(three[1], 3)],
        [conv(five[0], 1), conv(five[1], 5)],
        [max_pool(3), conv(project, 1)],
    )


def stem(net: Net, image: Tensor) -> Tensor:
    """Table 1 up to the first module; local response normalisation (as in Caffe's release) only if asked for."""
    if net.options.stem == "small":
        return net.small_stem(image, 192, grid=16)
    x = net.chain("stem_1", image, conv(64, 7, 2), max_pool(3, 2))  # 56×56×64
    if net.options.lrn:
        x = local_response_normalisation(x, "stem_1.lrn")
    x = net.chain("stem_2", x, conv(64, 1), conv(192, 3))  # 56×56×192
    if net.options.lrn:
        x = local_response_normalisation(x, "stem_2.lrn")
    return net.chain("stem_3", x, max_pool(3, 2))  # 28×28×192


def auxiliary(net: Net, stage: str, x: Tensor, classes: int) -> Tensor:
    """Section 5's auxiliary classifier. On grids under 5×5 the pooling shrinks to the grid.

    Its first Dense layer follows the grid: 4×4×128 = 2048 inputs at 224 pixels.
    """
    x = net.chain(stage, x, shrunk(avg_pool(5, 3, "valid"), x), conv(128, 1))  # 4×4×128
    x = layers.Flatten(name=f"{stage}.flatten")(x)  # 2048
    x = layers.Dense(
        net.channels(1024),
        activation="relu",
        bias_initializer=keras.initializers.Constant(net.bias_init),
        name=f"{stage}.dense",
    )(x)  # 1024
    return net.logits(net.dropout(x, stage, AUXILIARY_DROPOUT), classes, stage)


def local_response_normalisation(x: Tensor, name: str) -> Tensor:
    """x / (1 + alpha · mean of x² over 5 neighbouring channels)^0.75 with alpha 1e-4 (Krizhevsky et al. 2012, 3.3).

    As in Caffe, where the channels beyond the first and last count as zeros. The mean over neighbours is an average
    pooling over the channels, laid out as the width of a picture.
    """
    height, width, channels = x.shape[1:]
    part = {"dtype": "float32"}  # 16 bits would lose the mean beside the 1
    near = layers.Multiply(name=f"{name}.square", **part)([x, x])
    near = layers.Reshape((height * width, channels, 1), name=f"{name}.unfold", **part)(near)
    near = layers.ZeroPadding2D(((0, 0), (2, 2)), name=f"{name}.pad", **part)(near)
    near = layers.AveragePooling2D((1, 5), strides=1, name=f"{name}.mean", **part)(near)
    near = layers.Reshape((height, width, channels), name=f"{name}.fold", **part)(near)
    near = layers.Rescaling(1e-4, offset=1.0, name=f"{name}.scale", **part)(near)
    return layers.Multiply(name=f"{name}.normalise")([x, keras.ops.power(near, -0.75)])
