"""Golden images: does the registered model answer as the model in memory did when its training ended?

What was trained is written to a file, uploaded, registered, fetched and loaded by another process, often on another
machine. A few real images with the answers from before that journey show that the same model came out of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.errors import EvaluationError
from trainer.judging import registered_model, training_files
from trainer.judging.registered_model import RegisteredModel
from trainer.judging.training_files import GOLDEN, Arrays
from trainer.record import Golden
from trainer.registry.protocol import ModelVersion
from trainer.state import State

if TYPE_CHECKING:
    from trainer.data.prepared import Split

IMAGES = 8
TOLERANCE = 1e-3
"""Between processors. What is registered computes in float32, whatever the training computed in: between a graph and
single operations, and between one set of kernels and another (oneDNN on and off), an Inception v3's probabilities were
seen to differ by up to 4e-6. Weights of another epoch differ by far more than a thousandth."""
TOLERANCE_GPU = 2e-2
"""Where a GPU had a part in it: from NVIDIA's Ampere on its float32 convolutions multiply with the 11 significant bits
of TF32. With the inputs of every convolution rounded so, the same probabilities differed by up to 0.0017."""


def answers_of(model: Any, split: Split) -> Arrays:
    """Real images of a split, evenly spaced, with a Keras model's own answers."""
    chosen = np.unique(np.linspace(0, len(split) - 1, IMAGES).round().astype(np.intp))
    images = [split.image(int(index)) for index in chosen]
    answers = [np.asarray(model(image[None], training=False))[0] for image in images]
    return {
        **{f"image_{number}": image for number, image in enumerate(images)},
        "answers": np.stack(answers).astype(np.float32),
        "gpu": np.array(_on_gpu()),
    }


def check(state: State, version: ModelVersion) -> Golden | None:
    """Load a version from the registry alone and hold its answers against those its training left.

    Returns None where the training left none.
    Errors: EvaluationError (it cannot be loaded, or answers otherwise), RegistryError (out of reach).
    """
    who = f"model {version.name} version {version.version}"
    model = registered_model.load(state, version.model_uri, who)
    kept = training_files.fetch(state, version.run_id, GOLDEN)
    return None if kept is None else compare(model, kept, who)


def compare(model: RegisteredModel, kept: Arrays, who: str) -> Golden:
    """Ask a model its golden images. Errors: EvaluationError (it answers otherwise than when it was trained)."""
    expected = kept["answers"]
    tolerance = TOLERANCE_GPU if _on_gpu() or bool(kept["gpu"]) else TOLERANCE
    answers = np.stack([model.answer(kept[f"image_{number}"][None])[0] for number in range(len(expected))])
    alike = answers.shape == expected.shape
    difference = float(np.abs(answers - expected).max()) if alike else float("inf")
    if not difference <= tolerance:  # nor where it is no number
        how = (
            f"with probabilities that differ by up to {difference:.2g}, where {tolerance:g} is allowed"
            if alike
            else f"with {answers.shape[1]} classes instead of {expected.shape[1]}"
        )
        raise EvaluationError(
            f"The {who} ({model.uri}) answers its {len(expected)} golden images otherwise than when its training "
            f"ended: {how}.",
            "What is registered is not what was trained: its files were changed or damaged, or other versions of "
            "TensorFlow or Keras read them here. Train again (inception run … --force), or mend the environment.",
        )
    return Golden(images=len(expected), difference=difference, tolerance=tolerance)


def _on_gpu() -> bool:
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))
