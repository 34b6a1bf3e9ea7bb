"""A Keras model as a function, and the names under which exports take and give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from trainer.exporting.formats import Answer

IMAGES, PROBABILITIES = "images", "probabilities"


def answering(model: Any) -> Answer:
    """On the processor: a GPU's float32 is another one (see `trainer.judging.golden`)."""
    import tensorflow as tf

    def answer(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        with tf.device("/CPU:0"):
            return np.asarray(model(images, training=False))

    return answer
