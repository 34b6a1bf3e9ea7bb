"""The cost report: parameters, multiply-adds, activation memory."""

from __future__ import annotations

from collections.abc import Callable

import keras
import pytest
from keras import layers

from trainer.config import Model
from trainer.models import cost, zoo
from trainer.models.cost import Cost


@pytest.mark.parametrize("variant", ["inception_module", "convnet", "googlenet", "inception_v2", "inception_resnet_v1"])
def test_parameters_agree_with_keras(variant: str) -> None:
    """The sum over the layers is what Keras counts for the whole network."""
    network = zoo.build(Model(variant=variant, width=0.25), 3)
    found = cost.of(network)
    trainable = sum(weight.value.numpy().size for weight in network.trainable_weights)
    assert (found.parameters, found.trainable) == (network.count_params(), trainable)


@pytest.mark.parametrize("variant", ["googlenet", "inception_v2"])
def test_an_outline_costs_what_the_network_does(variant: str) -> None:
    """Layer by layer; it has no values, and leaves none to be drawn for the networks that are built after it."""
    model = Model(variant=variant, width=0.25)
    outline = zoo.outline(model, 3)
    network = zoo.build(model, 3)
    assert cost.of(outline) == cost.of(network)
    assert [weight.path for weight in outline.weights] == [weight.path for weight in network.weights]
    assert all(weight._value is None for weight in outline.weights)


def test_a_small_network_costs_what_arithmetic_says() -> None:
    """Convolution, separable convolution and Dense layers are counted by hand."""
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="a.conv")(image)  # 6×6×4
    x = layers.SeparableConv2D(5, 3, strides=2, padding="same", depth_multiplier=2, name="b.conv")(x)  # 3×3×5
    x = layers.BatchNormalization(name="b.bn")(x)
    x = layers.Dense(2, name="c.dense")(layers.Flatten(name="c.flatten")(x))
    found = cost.of(keras.Model(image, x))
    assert [(stage.name, stage.output_shape, stage.parameters, stage.multiply_adds) for stage in found.stages] == [
        ("a", (6, 6, 4), 3 * 3 * 3 * 4 + 4, 36 * 3 * 3 * 3 * 4),
        ("b", (3, 3, 5), 9 * 8 + 8 * 5 + 5 + 4 * 5, 9 * (9 * 8 + 8 * 5)),
        ("c", (2,), 45 * 2 + 2, 45 * 2),
    ]
    assert found.non_trainable == 2 * 5
    assert found.activation_bytes == 4 * (6 * 6 * 4 + 2 * 3 * 3 * 5 + 2)


def test_what_is_frozen_is_not_trainable() -> None:
    """Freezing a layer moves its parameters from one count to the other."""
    network = zoo.build(Model(variant="inception_module", width=0.25), 3)
    network.get_layer("head.logits").trainable = False
    found = cost.of(network)
    assert found.non_trainable == 32 * 32 * 48 * 3 + 3
    assert found.parameters == network.count_params()


def test_the_tutorials_bottleneck_comes_out(cost_of: Callable[..., Cost]) -> None:
    """28×28×192 through 32 filters of 5×5 is 120.4 M; through 16 channels first, 2.4 M + 10.0 M."""
    network = zoo.build(Model(variant="googlenet", auxiliary=False), 10)
    found = {bottleneck.name: bottleneck for bottleneck in cost.bottlenecks(network)}
    five = found["inception_3a.branch3.2_5x5.conv"]
    assert (five.direct, five.reduction, five.convolution) == (120_422_400, 2_408_448, 10_035_200)
    assert five.saved == 107_978_752
    assert (five.kernel, five.grid, five.channels) == ((5, 5), (28, 28), (192, 16, 32))
    assert len(found) == 18  # nine modules, a 3×3 and a 5×5 in each


def test_stages_add_up_to_the_total(cost_of: Callable[..., Cost]) -> None:
    """Nothing is counted twice or left out between the levels of the report."""
    found = cost_of(10, variant="googlenet", auxiliary=True)
    assert sum(stage.parameters for stage in found.stages) == found.parameters == 10_334_030
    assert sum(stage.multiply_adds for stage in found.stages) == found.multiply_adds
    assert sum(stage.activation_bytes for stage in found.stages) == found.activation_bytes
