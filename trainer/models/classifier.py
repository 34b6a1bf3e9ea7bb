"""From raw images to a network's input, and from its logits to the model that users load.

What users load takes raw uint8 RGB images of any size, and gives probabilities: scaling and resizing are layers of it,
so nobody can preprocess differently at serving time than at training time. It holds only layers that ship with Keras
and loads in safe mode, without this project.
"""

from __future__ import annotations

import keras

from trainer import config
from trainer.models import zoo

_SCALINGS = {
    "unit": {"scale": 1 / 255, "offset": 0.0},  # [0, 1]
    "symmetric": {"scale": 1 / 127.5, "offset": -1.0},  # [-1, 1]
}


def for_training(model: config.Model, classes: int, source_shape: tuple[int, int]) -> keras.Model:
    """The model that is trained: uint8 (batch, *source_shape, 3) to a dict of (batch, classes) logits.

    Built under the dtype policy in force. Auxiliary classifiers are outputs beside `main` where the recipe has them.
    """
    network = zoo.build(model, classes)
    images = keras.Input((*source_shape, 3), dtype="uint8", name="images")
    return keras.Model(images, network(_prepared(images, model, source_shape)), name=f"{model.variant}_training")


def for_serving(trained: keras.Model, model: config.Model, classes: int) -> keras.Model:
    """The model that is registered: uint8 (batch, any height, any width, 3) to float32 (batch, classes) probabilities.

    Auxiliary classifiers are left out and everything computes in float32, whatever the training computed in: a
    processor without bfloat16 would run it many times slower.
    """
    policy = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("float32")
    try:
        network = zoo.build(model.model_copy(update={"auxiliary": _without_auxiliary(model)}), classes)
    finally:
        keras.mixed_precision.set_dtype_policy(policy)
    weights = {v.path: v for v in trained.weights}
    for variable in network.weights:
        variable.assign(weights[variable.path])
    images = keras.Input((None, None, 3), dtype="uint8", name="images")
    logits = network(_prepared(images, model, None))["main"]
    return keras.Model(images, keras.layers.Softmax(dtype="float32", name="probabilities")(logits), name=model.variant)


def _without_auxiliary(model: config.Model) -> bool | None:
    return False if "auxiliary" in zoo.variant(model.variant).options else None


def _prepared(images: keras.KerasTensor, model: config.Model, shape: tuple[int, int] | None) -> keras.KerasTensor:
    """Scaled, then resized to what the network takes; `shape` is the images' own where it is known."""
    options = zoo.resolve(model)
    size = options.image_size
    scaled = keras.layers.Rescaling(**_SCALINGS[options.scaling], dtype="float32", name="scale")(images)
    if shape == (size, size):
        return scaled
    # Antialiasing changes nothing when every image grows, and costs a slower kernel.
    shrinks = shape is None or max(shape) > size
    resizing = keras.layers.Resizing(size, size, antialias=shrinks, dtype="float32", name="resize")
    # Keras' layer takes itself to be training unless told, and every layer after it with itself: a bare model(images)
    # would drop units and normalise by the batch.
    return resizing(scaled, training=False)
