"""With the same weights, Inception-v3 and Inception-ResNet-v2 are keras.applications' networks."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from trainer.config import Model
from trainer.models import zoo

IMAGE_SIZE, CLASSES = 139, 10
REFERENCES = {
    "inception_v3": keras.applications.InceptionV3,
    "inception_resnet_v2": keras.applications.InceptionResNetV2,
}


def with_weights(network: keras.Model) -> list[keras.Layer]:
    """Layers that have weights, in the order of computation: equal for equal graphs, whatever the names."""
    return [layer for layer in network.layers if layer.weights]


def drawn(random: np.random.Generator, weight: keras.Variable) -> np.ndarray[Any, Any]:
    """Numbers under which the signal neither fades nor blows up, so that every layer shows in the logits."""
    if weight.name == "kernel":
        return random.normal(0, np.sqrt(2 / np.prod(weight.shape[:-1])), weight.shape)
    if weight.name == "moving_variance":
        return random.uniform(0.5, 1.5, weight.shape)
    return random.normal(0, 0.1, weight.shape)


@pytest.mark.parametrize("variant", ["inception_v3", pytest.param("inception_resnet_v2", marks=pytest.mark.slow)])
def test_logits_equal_keras_applications(variant: str) -> None:
    """Random weights copied in topological order give the same logits to 1e-5 of their size."""
    random = np.random.default_rng(7)
    reference = REFERENCES[variant](
        weights=None, input_shape=(IMAGE_SIZE, IMAGE_SIZE, 3), classes=CLASSES, classifier_activation=None
    )
    network = zoo.build(Model(variant=variant, image_size=IMAGE_SIZE, auxiliary=False), CLASSES)
    theirs, ours = with_weights(reference), with_weights(network)
    assert [type(layer) for layer in ours] == [type(layer) for layer in theirs]
    for source, target in zip(theirs, ours, strict=True):
        source.set_weights([drawn(random, weight) for weight in source.weights])
        target.set_weights(source.get_weights())
    images = random.uniform(-1, 1, (2, IMAGE_SIZE, IMAGE_SIZE, 3)).astype("float32")
    expected = keras.ops.convert_to_numpy(reference(images, training=False))
    found = keras.ops.convert_to_numpy(network(images, training=False)["main"])
    assert np.ptp(expected[0] - expected[1]) > 0.01 * np.abs(expected).max()  # the images are told apart
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
