"""The same model, with the same layers and weights, written so that another runtime or file can hold it."""

from __future__ import annotations

from typing import Any

import keras

from trainer.models import views


def portable(model: keras.Model) -> keras.Model:
    """With two matrices in the place of antialiased `Resizing`.

    Keras resizes so by `ScaleAndTranslate`, an operation of TensorFlow that neither ONNX nor LiteRT knows; their own
    resizing has no antialiasing, or another. Multiplications are the same everywhere.
    """

    def called(layer: keras.Operation, *arguments: Any, **options: Any) -> Any:
        if isinstance(layer, keras.layers.Resizing) and layer.antialias:
            return views.resized(arguments[0], layer.height)
        return layer(*arguments, **options)

    return keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=called)


def unrolled(model: keras.Model) -> keras.Model:
    """With one call after the other in the place of a loop over a layer (`keras.ops.map`).

    An architecture as JSON does not tell that a loop's layer is one that has been called before: whoever reads it would
    get a second layer, with weights that no file fills.
    """

    def called(layer: keras.Operation, *arguments: Any, **options: Any) -> Any:
        if type(layer).__name__ != "Map":
            return layer(*arguments, **options)
        looped, values = arguments
        return keras.ops.stack([looped([value[turn] for value in values]) for turn in range(values[0].shape[0])])

    return keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=called)


def image_size(model: keras.Model) -> int | None:
    """Pixels a side that the network in a model takes; None for a model that is not laid out as ours are."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.Resizing):
            return int(layer.height)
        if isinstance(layer, keras.Model):
            shape = layer.inputs[0].shape
            found = shape[1] if len(shape) == 4 and shape[1] is not None else image_size(layer)
            if found is not None:
                return int(found)
    return None
