"""The fused batch normalisation is Keras' own to rounding, in everything a training sees of it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from trainer.config import Model
from trainer.models import classifier, zoo
from trainer.models.normalisation import FusedBatchNormalization

TOLERANCE = {"float32": 1e-5, "mixed_bfloat16": 2e-2}
"""Of the largest value. bfloat16 keeps 8 bits, and the fused operation rounds less often."""
UNOPTIMISED = "--xla_backend_optimization_level=0"
NORMALISED = [name for name in sorted(zoo.VARIANTS) if "bn_gamma" in zoo.VARIANTS[name].options]


def pair(**settings: Any) -> tuple[layers.Layer, layers.Layer]:
    """The stock layer and ours, with the same drawn weights, for 5 channels."""
    both = layers.BatchNormalization(**settings), FusedBatchNormalization(**settings)
    for layer in both:
        random = np.random.default_rng(4)
        layer.build((None, 3, 4, 5))
        for variable in layer.weights:
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
    return both


def trained_on(layer: layers.Layer, images: tf.Tensor, direction: tf.Tensor) -> dict[str, np.ndarray]:
    """Output, every gradient and the moving statistics after one training call, as a graph."""

    @tf.function
    def call() -> Any:
        with tf.GradientTape() as tape:
            tape.watch(images)
            output = layer(images, training=True)
            along = tf.reduce_sum(tf.cast(output, tf.float32) * direction)
        wanted = [images, *(variable.value for variable in layer.trainable_variables)]
        return output, tape.gradient(along, wanted)

    output, gradients = call()
    names = ["images", *(variable.name for variable in layer.trainable_variables)]
    found = {"output": output} | {f"gradient of {name}": g for name, g in zip(names, gradients, strict=True)}
    found |= {variable.name: variable.value for variable in layer.non_trainable_variables}
    return {name: np.asarray(tf.cast(value, tf.float32)) for name, value in found.items()}


@pytest.mark.parametrize("policy", TOLERANCE)
@pytest.mark.parametrize(
    "settings",
    [{}, {"scale": False, "momentum": 0.8}, {"center": False, "epsilon": 0.1}, {"trainable": False}],
    ids=["whole", "no gamma", "no beta", "frozen"],
)
def test_a_training_step_is_that_of_the_stock_layer(policy: str, settings: dict[str, Any]) -> None:
    """Outputs, gradients of images and parameters, moving mean and variance: the same to the policy's rounding."""
    random = np.random.default_rng(5)
    stock, fused = pair(dtype=policy, **settings)
    images = tf.cast(random.normal(0.5, 2.0, (6, 3, 4, 5)), stock.compute_dtype)
    direction = tf.constant(random.normal(size=(6, 3, 4, 5)), tf.float32)
    expected, found = trained_on(stock, images, direction), trained_on(fused, images, direction)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=TOLERANCE[policy] * np.abs(value).max(), err_msg=name)


def test_the_moving_variance_is_that_of_the_batch() -> None:
    """Of n values the mean square, as Keras keeps it, not n / (n - 1) times as much: seen best where n is 2."""
    _, layer = pair(momentum=0.0)
    images = np.random.default_rng(6).normal(size=(2, 1, 1, 5)).astype("float32")
    layer(images, training=True)
    np.testing.assert_allclose(layer.moving_variance.numpy(), images.var(axis=(0, 1, 2)), rtol=1e-5)


@pytest.mark.parametrize("shape", [(7, 5), (2, 3, 4, 5)])
def test_inference_and_other_shapes_are_the_stock_layers(shape: tuple[int, ...]) -> None:
    """Without a batch of images, or without training, nothing is fused and nothing differs."""
    data = np.random.default_rng(7).normal(size=shape).astype("float32")
    for training in [False] if len(shape) == 4 else [False, True]:
        both = layers.BatchNormalization(), FusedBatchNormalization()
        np.testing.assert_array_equal(*(np.asarray(layer(data, training=training)) for layer in both))


def operations(step: Any, images: np.ndarray) -> set[str]:
    return {operation.type for operation in tf.function(step).get_concrete_function(images).graph.get_operations()}


@pytest.mark.parametrize("name", NORMALISED)
def test_what_is_trained_is_fused_and_what_is_served_is_stock(name: str) -> None:
    """Every normalisation of a training network, under the paths of variables that the stock network has."""
    model = Model(variant=name, stem="small", width=0.02, image_size=32)
    trained, plain = classifier.for_training(model, 3, (32, 32)).get_layer(name), zoo.outline(model, 3)
    assert [w.path for w in trained.weights] == [w.path for w in plain.weights]
    kinds = {type(layer) for layer in trained.layers if isinstance(layer, layers.BatchNormalization)}
    assert kinds == {FusedBatchNormalization}
    assert not [layer for layer in plain.layers if isinstance(layer, FusedBatchNormalization)]


def test_the_graph_of_a_step_holds_the_fused_operation() -> None:
    """A training call of the whole model computes no moments of its own; an inference call has nothing to fuse."""
    model = Model(variant="inception_small", stem="small", width=0.02)
    network = classifier.for_training(model, 3, (32, 32))
    images = np.zeros((2, 32, 32, 3), np.uint8)
    assert "FusedBatchNormV3" in operations(lambda x: network(x, training=True), images)
    assert "FusedBatchNormV3" not in operations(lambda x: network(x, training=False), images)


UNDER_JAX = """
import keras, numpy as np
from trainer.config import Model
from trainer.models import zoo
model = Model(variant="inception_small", stem="small", width=0.02)
network = zoo.build(model, 3, fused=True)
network(np.random.default_rng(0).normal(size=(2, 32, 32, 3)), training=True)
print(keras.backend.backend(), any(np.asarray(w).any() for w in network.weights if w.name == "moving_mean"))
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
def test_under_jax_the_layer_is_the_stock_one() -> None:
    """The network builds and takes a training call where TensorFlow's operations mean nothing."""
    done = subprocess.run(
        [sys.executable, "-c", UNDER_JAX],
        env=os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": UNOPTIMISED},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout.split() == ["jax", "True"], done.stderr


def test_saving_needs_no_more_than_keras() -> None:
    """The configuration of the layer is the stock one's, so a stock layer can take its place."""
    stock, fused = pair(momentum=0.7)
    assert fused.get_config() | {"name": ""} == stock.get_config() | {"name": ""}
    assert keras.layers.BatchNormalization.from_config(fused.get_config()).momentum == 0.7
