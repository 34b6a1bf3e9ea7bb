"""Rethinking the Inception architecture. Szegedy et al., 2015, arXiv:1512.00567: Inception-v3 as it was released.

The paper's table 1 draws a slightly different network than the one its authors released and everybody calls v3 (its
stem, the number of modules of each kind, the plain 5×5 in the first kind): this is the released one, the graph of
keras.applications. Shapes in the margin are for 299 pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras

from trainer.models.blocks import Net, Step, Tensor, avg_pool, conv, fork, max_pool
from trainer.models.zoo import Options

STEM: tuple[Step, ...] = (
    conv(32, 3, 2, "valid"),  # 149×149×32
    conv(32, 3, 1, "valid"),  # 147×147×32
    conv(64, 3),  # 147×147×64
    max_pool(3, 2, "valid"),  # 73×73×64
    conv(80, 1),  # 73×73×80
    conv(192, 3, 1, "valid"),  # 71×71×192
    max_pool(3, 2, "valid"),  # 35×35×192
)


def inception_v3(options: Options, classes: int) -> keras.Model:
    net = Net(options, batch_norm=True, kernel_init="he_normal")
    image = net.image()
    x = stem(net, image)  # 35×35×192
    for number, project in enumerate((32, 64, 64), start=1):
        x = net.concat(f"inception_a_{number}", x, *inception_a(project))  # 35×35×256, 288, 288
    x = net.concat("reduction_a", x, *reduction_a(net))  # 17×17×768
    for number, reduce in enumerate((128, 160, 160, 192), start=1):
        x = net.concat(f"inception_b_{number}", x, *inception_b(reduce))  # 17×17×768
    middle = x
    x = net.concat("reduction_b", x, *reduction_b(net))  # 8×8×1280
    for number in (1, 2):
        x = net.concat(f"inception_c_{number}", x, *inception_c())  # 8×8×2048
    return net.finish(image, x, middle, classes)


def stem(net: Net, image: Tensor) -> Tensor:
    if net.options.stem == "small":
        return net.small_stem(image, 192, grid=8)
    return net.chain("stem", image, *STEM)


def inception_a(project: int, one: int = 64) -> list[Sequence[Step]]:
    """Figure 5, with the 5×5 that the released network kept."""
    return [
        [conv(one, 1)],
        [conv(48, 1), conv(64, 5)],
        [conv(64, 1), conv(96, 3), conv(96, 3)],
        [avg_pool(3), conv(project, 1)],
    ]


def reduction_a(net: Net) -> list[Sequence[Step]]:
    """Figure 10, with a bare 3×3 for one of the branches."""
    return [
        [conv(384, 3, 2, net.valid)],
        [conv(64, 1), conv(96, 3), conv(96, 3, 2, net.valid)],
        [max_pool(3, 2, net.valid)],
    ]


def inception_b(reduce: int) -> list[Sequence[Step]]:
    """Figure 6 with n = 7."""
    return [
        [conv(192, 1)],
        [conv(reduce, 1), conv(reduce, (1, 7)), conv(192, (7, 1))],
        [conv(reduce, 1), *(conv(reduce, k) for k in ((7, 1), (1, 7), (7, 1))), conv(192, (1, 7))],
        [avg_pool(3), conv(192, 1)],
    ]


def reduction_b(net: Net) -> list[Sequence[Step]]:
    return [
        [conv(192, 1), conv(320, 3, 2, net.valid)],
        [conv(192, 1), conv(192, (1, 7)), conv(192, (7, 1)), conv(192, 3, 2, net.valid)],
        [max_pool(3, 2, net.valid)],
    ]


def inception_c() -> list[Sequence[Step]]:
    """Figure 7: filter banks widened side by side for the coarsest grid."""
    return [
        [conv(320, 1)],
        [conv(384, 1), fork([conv(384, (1, 3))], [conv(384, (3, 1))])],
        [conv(448, 1), conv(384, 3), fork([conv(384, (1, 3))], [conv(384, (3, 1))])],
        [avg_pool(3), conv(192, 1)],
    ]
