"""Inception-v4, Inception-ResNet. Szegedy et al., 2016, arXiv:1602.07261: v4 and both residual networks.

v4 and Inception-ResNet-v1 follow the paper's figures. Inception-ResNet-v2 is the network its authors released (the
graph of keras.applications), which differs from figure 15: the stem of v3, twice the blocks, a 1×1 before the head.
The paper gives 0.1 to 0.3 as the range of the residual scales; the values here are those of the released code.
The paper draws no auxiliary classifiers; TF-slim puts v3's on the middle grid, and so does this, if asked to.
Shapes in the margin are for 299 pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras

from trainer.models import inception_v3
from trainer.models.blocks import Net, Step, Tensor, avg_pool, conv, fork, max_pool
from trainer.models.zoo import Options

SCALE_A, SCALE_B, SCALE_C = 0.17, 0.10, 0.20


def inception_v4(options: Options, classes: int) -> keras.Model:
    """Figure 9."""
    net = Net(options, batch_norm=True, kernel_init="he_normal")
    image = net.image()
    x = net.small_stem(image, 384, grid=8) if options.stem == "small" else stem(net, image)  # 35×35×384
    for number in range(1, 5):
        x = net.concat(f"inception_a_{number}", x, *inception_a())  # 35×35×384
    x = net.concat("reduction_a", x, *reduction_a(net, 192, 224, 256, 384))  # 17×17×1024
    for number in range(1, 8):
        x = net.concat(f"inception_b_{number}", x, *inception_b())  # 17×17×1024
    middle = x
    x = net.concat("reduction_b", x, *reduction_b(net))  # 8×8×1536
    for number in range(1, 4):
        x = net.concat(f"inception_c_{number}", x, *inception_c())  # 8×8×1536
    return net.finish(image, x, middle, classes)


def inception_resnet_v1(options: Options, classes: int) -> keras.Model:
    """Figure 15 with the stem of figure 14 and the blocks of figures 10 to 13."""
    net = Net(options, batch_norm=True, kernel_init="he_normal")
    image = net.image()
    if options.stem == "small":
        x = net.small_stem(image, 256, grid=8)
    else:
        x = net.chain("stem", image, *inception_v3.STEM[:-1], conv(256, 3, 2, "valid"))  # 35×35×256
    for number in range(1, 6):
        x = net.residual(f"inception_resnet_a_{number}", x, *resnet_a(32, 32), scale=SCALE_A)  # 35×35×256
    x = net.concat("reduction_a", x, *reduction_a(net, 192, 192, 256, 384))  # 17×17×896
    for number in range(1, 11):
        x = net.residual(f"inception_resnet_b_{number}", x, *resnet_b(128, 128, 128), scale=SCALE_B)  # 17×17×896
    middle = x
    x = net.concat("reduction_b", x, *resnet_reduction_b(net, 256, 256, 256))  # 8×8×1792
    for number in range(1, 6):
        x = net.residual(f"inception_resnet_c_{number}", x, *resnet_c(192, 192), scale=SCALE_C)  # 8×8×1792
    return net.finish(image, x, middle, classes)


def inception_resnet_v2(options: Options, classes: int) -> keras.Model:
    """As released, with the blocks of figures 16 to 19. The last block is neither scaled nor rectified."""
    net = Net(options, batch_norm=True, kernel_init="he_normal")
    image = net.image()
    x = inception_v3.stem(net, image)  # 35×35×192
    x = net.concat("inception_a", x, *inception_v3.inception_a(64, one=96))  # 35×35×320
    for number in range(1, 11):
        x = net.residual(f"inception_resnet_a_{number}", x, *resnet_a(48, 64), scale=SCALE_A)  # 35×35×320
    x = net.concat("reduction_a", x, *reduction_a(net, 256, 256, 384, 384))  # 17×17×1088
    for number in range(1, 21):
        x = net.residual(f"inception_resnet_b_{number}", x, *resnet_b(192, 128, 160), scale=SCALE_B)  # 17×17×1088
    middle = x
    x = net.concat("reduction_b", x, *resnet_reduction_b(net, 288, 288, 320))  # 8×8×2080
    for number in range(1, 10):
        x = net.residual(f"inception_resnet_c_{number}", x, *resnet_c(224, 256), scale=SCALE_C)  # 8×8×2080
    x = net.residual("inception_resnet_c_10", x, *resnet_c(224, 256), scale=1, relu=False)  # 8×8×2080
    x = net.chain("last", x, conv(1536, 1))  # 8×8×1536
    return net.finish(image, x, middle, classes)


def stem(net: Net, image: Tensor) -> Tensor:
    """Figure 3. The 1×7 comes before the 7×1, as in the released weights; the order of each pair is theirs too."""
    x = net.chain("stem_1", image, conv(32, 3, 2, "valid"), conv(32, 3, 1, "valid"), conv(64, 3))  # 147×147×64
    x = net.concat("stem_2", x, [max_pool(3, 2, "valid")], [conv(96, 3, 2, "valid")])  # 73×73×160
    x = net.concat(
        "stem_3",
        x,
        [conv(64, 1), conv(96, 3, 1, "valid")],
        [conv(64, 1), conv(64, (1, 7)), conv(64, (7, 1)), conv(96, 3, 1, "valid")],
    )  # 71×71×192
    return net.concat("stem_4", x, [conv(192, 3, 2, "valid")], [max_pool(3, 2, "valid")])  # 35×35×384


def inception_a() -> list[Sequence[Step]]:
    """Figure 4."""
    return [
        [conv(96, 1)],
        [conv(64, 1), conv(96, 3)],
        [conv(64, 1), conv(96, 3), conv(96, 3)],
        [avg_pool(3), conv(96, 1)],
    ]


def reduction_a(net: Net, k: int, l: int, m: int, n: int) -> list[Sequence[Step]]:  # noqa: E741 (the paper's letters)
    """Figure 7; k, l, m and n are those of table 1."""
    return [
        [conv(n, 3, 2, net.valid)],
        [conv(k, 1), conv(l, 3), conv(m, 3, 2, net.valid)],
        [max_pool(3, 2, net.valid)],
    ]


def inception_b() -> list[Sequence[Step]]:
    """Figure 5."""
    return [
        [conv(384, 1)],
        [conv(192, 1), conv(224, (1, 7)), conv(256, (7, 1))],
        [conv(192, 1), conv(192, (7, 1)), conv(224, (1, 7)), conv(224, (7, 1)), conv(256, (1, 7))],
        [avg_pool(3), conv(128, 1)],
    ]


def reduction_b(net: Net) -> list[Sequence[Step]]:
    """Figure 8."""
    return [
        [conv(192, 1), conv(192, 3, 2, net.valid)],
        [conv(256, 1), conv(256, (1, 7)), conv(320, (7, 1)), conv(320, 3, 2, net.valid)],
        [max_pool(3, 2, net.valid)],
    ]


def inception_c() -> list[Sequence[Step]]:
    """Figure 6."""
    return [
        [conv(256, 1)],
        [conv(384, 1), fork([conv(256, (1, 3))], [conv(256, (3, 1))])],
        [conv(384, 1), conv(448, (3, 1)), conv(512, (1, 3)), fork([conv(256, (1, 3))], [conv(256, (3, 1))])],
        [avg_pool(3), conv(256, 1)],
    ]


def resnet_a(middle: int, last: int) -> list[Sequence[Step]]:
    """Figures 10 and 16, without the 1×1 that brings them back to the trunk."""
    return [
        [conv(32, 1)],
        [conv(32, 1), conv(32, 3)],
        [conv(32, 1), conv(middle, 3), conv(last, 3)],
    ]


def resnet_b(last: int, first: int, middle: int) -> list[Sequence[Step]]:
    """Figures 11 and 17, likewise."""
    return [[conv(last, 1)], [conv(first, 1), conv(middle, (1, 7)), conv(last, (7, 1))]]


def resnet_c(middle: int, last: int) -> list[Sequence[Step]]:
    """Figures 13 and 19, likewise."""
    return [[conv(192, 1)], [conv(192, 1), conv(middle, (1, 3)), conv(last, (3, 1))]]


def resnet_reduction_b(net: Net, single: int, middle: int, last: int) -> list[Sequence[Step]]:
    """Figures 12 and 18."""
    return [
        [conv(256, 1), conv(384, 3, 2, net.valid)],
        [conv(256, 1), conv(single, 3, 2, net.valid)],
        [conv(256, 1), conv(middle, 3), conv(last, 3, 2, net.valid)],
        [max_pool(3, 2, net.valid)],
    ]
