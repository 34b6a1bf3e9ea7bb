"""TensorFlow's SavedModel, for TensorFlow Serving and everything else that loads one. It holds images of any size.

The signature `serving_default` takes `images` and gives `probabilities`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.exporting.answers import IMAGES, PROBABILITIES

if TYPE_CHECKING:
    from trainer.exporting.formats import Answer, Size
    from trainer.exporting.source import Source


def write(source: Source, path: Path, size: Size | None) -> None:
    archive_to(source.model, path, (None, None, None, 3))


def archive_to(model: Any, path: Path, shape: tuple[int | None, ...]) -> None:
    """A SavedModel that takes uint8 images of this shape."""
    import keras
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        "serve",
        lambda images: {PROBABILITIES: model(images, training=False)},
        input_signature=[tf.TensorSpec(shape, tf.uint8, name=IMAGES)],
    )
    archive.write_out(str(path), verbose=False)


def load(path: Path) -> Answer:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    serve = loaded.signatures["serving_default"]
    return lambda images: np.asarray(serve(**{IMAGES: tf.constant(images)})[PROBABILITIES])
