"""From raw images to a network's input, and from its logits to the model that users load.

What users load takes raw uint8 RGB images of any size, and gives probabilities: scaling and resizing are layers of it,
so nobody can preprocess differently at serving time than at training time. It holds only layers that ship with Keras
and loads in safe mode, without this project.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from trainer import config
from trainer.models import views, zoo

Array = np.ndarray[Any, Any]

_SCALINGS = {
    "unit": {"scale": 1 / 255, "offset": 0.0},  # [0, 1]
    "symmetric": {"scale": 1 / 127.5, "offset": -1.0},  # [-1, 1]
}


def for_training(model: config.Model, classes: int, source_shape: tuple[int, int]) -> keras.Model:
    """The model that is trained: uint8 (batch, *source_shape, 3) to a dict of (batch, classes) logits.

    Built under the dtype policy in force. Auxiliary classifiers are outputs beside `main` where the recipe has them.
    """
    network = zoo.build(model, classes, fused=True)
    images = keras.Input((*source_shape, 3), dtype="uint8", name="images")
    return keras.Model(images, network(_prepared(images, model, source_shape)), name=f"{model.variant}_training")


def weights_of(model: keras.Model) -> dict[str, Array]:
    """The weights of a model by the paths of its variables: what `for_serving` takes."""
    return {variable.path: variable.numpy() for variable in model.weights}


def for_serving(members: Sequence[Mapping[str, Any]], model: config.Model, classes: int) -> keras.Model:
    """The model that is registered: uint8 (batch, any height, any width, 3) to float32 (batch, classes) probabilities.

    Auxiliary classifiers are left out and everything computes in float32, whatever the training computed in: a
    processor without bfloat16 would run it many times slower. Probabilities are averaged over the members, and over
    the views of `model.test_time` (Szegedy et al. 2014, arXiv:1409.4842, section 7, averages the softmax over both).

    Args:
        members: the weights of each trained network, as `weights_of` gives them; what the network in service lacks is
            passed over.
        model: the recipe's `[model]` section.
        classes: how many.
    """
    policy = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("float32")
    try:
        networks = [_filled(weights, model, classes) for weights in members]
        images = keras.Input((None, None, 3), dtype="uint8", name="images")
        return keras.Model(images, _answered(images, networks, model), name=model.variant)
    finally:
        keras.mixed_precision.set_dtype_policy(policy)


def _filled(weights: Mapping[str, Any], model: config.Model, classes: int) -> keras.Model:
    network = zoo.build(model.model_copy(update={"auxiliary": _without_auxiliary(model)}), classes)
    for variable in network.weights:
        variable.assign(weights[variable.path])
    return network


def _answered(images: keras.KerasTensor, networks: Sequence[keras.Model], model: config.Model) -> keras.KerasTensor:
    """The members' average over all views, as the layer `probabilities`."""
    asked, options = model.test_time, zoo.resolve(model)
    if views.count(asked) == 1 and asked.crops == "whole":
        return _ensemble(networks, "probabilities")(_prepared(images, model, None))
    answer = _ensemble(networks, "answer")
    if asked.crops == "whole":
        average = views.mirrored(answer, _prepared(images, model, None))
    else:
        average = views.averaged(answer, images, _scale(options), asked, options.image_size)
    return keras.layers.Identity(dtype="float32", name="probabilities")(average)


def _ensemble(networks: Sequence[keras.Model], name: str) -> views.Answer:
    """Probabilities of prepared images; the last layer has the name."""
    if len(networks) == 1:
        softmax = keras.layers.Softmax(dtype="float32", name=name)
        return lambda prepared: softmax(networks[0](prepared)["main"])
    members = []
    for number, network in enumerate(networks, start=1):
        image = keras.Input(network.input_shape[1:], name="image")
        probabilities = keras.layers.Softmax(dtype="float32", name="probabilities")(network(image)["main"])
        members.append(keras.Model(image, probabilities, name=member_name(number)))
    average = keras.layers.Average(dtype="float32", name=name)
    return lambda prepared: average([member(prepared) for member in members])


def member_name(number: int) -> str:
    """Of the layer that holds an ensemble's network, counted from 1."""
    return f"member_{number}"


def _without_auxiliary(model: config.Model) -> bool | None:
    return False if "auxiliary" in zoo.variant(model.variant).options else None


def _prepared(images: keras.KerasTensor, model: config.Model, shape: tuple[int, int] | None) -> keras.KerasTensor:
    """Scaled, then resized to what the network takes; `shape` is the images' own where it is known."""
    options = zoo.resolve(model)
    size = options.image_size
    scaled = _scale(options)(images)
    if shape == (size, size):
        return scaled
    # Antialiasing changes nothing when every image grows, and costs a slower kernel.
    shrinks = shape is None or max(shape) > size
    resizing = keras.layers.Resizing(size, size, antialias=shrinks, dtype="float32", name="resize")
    # Keras' layer takes itself to be training unless told, and every layer after it with itself: a bare model(images)
    # would drop units and normalise by the batch.
    return resizing(scaled, training=False)


def _scale(options: zoo.Options) -> keras.layers.Layer:
    return keras.layers.Rescaling(**_SCALINGS[options.scaling], dtype="float32", name="scale")
