"""A registered model as users load it: a function from raw images to probabilities, and what it says of itself."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer import tracking
from trainer.errors import EvaluationError, RegistryError
from trainer.models import archive
from trainer.patience import OutOfReach
from trainer.state import State, reported

Answer = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

BATCH_PIXELS = 16_000_000
"""Of a batch, unless one image alone has more: the model holds them as float32, four times as large."""


@dataclass(frozen=True, eq=False)
class RegisteredModel:
    """One model in memory.

    Attributes:
        uri: where it came from.
        classes: in the order of its answers.
        answer: uint8 (N, height, width, 3) of any size to float32 (N, classes).
        views_at_once: how many views of an image it looks at together; so many times smaller a batch must be.
        size_bytes: of its files.
        parameters: of the network, or of all networks of an ensemble.
    """

    uri: str
    classes: list[str]
    answer: Answer
    views_at_once: int
    size_bytes: int
    parameters: int


def load(state: State, model_uri: str, who: str = "model") -> RegisteredModel:
    """Fetch a model from MLflow and nothing else.

    Args:
        state: the state folder; the files are fetched into its cache and removed once they are read.
        model_uri: `models:/m-…`, `models:/<name>/<version>`, or an artifact address.
        who: what errors call it.

    Errors: EvaluationError (files that are gone or cannot be read, a model that does not name its classes),
    RegistryError (the store is out of reach).
    """
    with reported(state.cache):
        state.cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=state.cache, prefix="model-") as folder:
            return _read(state, model_uri, Path(folder), who)


def _read(state: State, model_uri: str, folder: Path, who: str) -> RegisteredModel:
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model as Logged

    try:
        files = tracking.download(state, model_uri, folder)
        told = Logged.load(str(files)).metadata or {}
        # Not by mlflow.tensorflow.load_model, which imports whatever module the model's own files name.
        keras_model = archive.load(files / "data" / "model.keras")
    except OutOfReach:
        raise
    except (RegistryError, MlflowException, OSError, ValueError) as error:
        why = error.message if isinstance(error, RegistryError) else str(error)
        raise EvaluationError(
            f"The {who} {model_uri} cannot be loaded: {why.rstrip('.')}.",
            "See that its artifacts are there (inception ui); a lost champion has to be retired or replaced.",
        ) from error
    classes = told.get("classes")
    if not classes:
        raise EvaluationError(
            f"The {who} {model_uri} does not name its classes.", "Only models that `inception run` made do."
        )
    return RegisteredModel(
        uri=model_uri,
        classes=[str(name) for name in classes],
        answer=_answering(keras_model),
        views_at_once=int(told.get("views_at_once", 1)),
        size_bytes=sum(file.stat().st_size for file in files.rglob("*") if file.is_file()),
        parameters=int(keras_model.count_params()),
    )


def _answering(keras_model: Any) -> Answer:
    import tensorflow as tf

    images_of_any_size = tf.TensorSpec((None, None, None, 3), tf.uint8)
    answer = tf.function(
        lambda images: keras_model(images, training=False), input_signature=[images_of_any_size], autograph=False
    )

    def plainly(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        answers: NDArray[np.float32] = answer(images).numpy()
        return answers

    return plainly
