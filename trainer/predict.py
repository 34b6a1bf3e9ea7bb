"""The verb `predict`: what a registered model says of image files, with nothing but the registered model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from trainer import tracking
from trainer.errors import DataError, RegistryError
from trainer.state import State


def predict(state: State, name: str, version: str, images: list[Path], top: int) -> list[dict[str, Any]]:
    """Classify images.

    Args:
        state: the state folder.
        name: the registered model.
        version: its version.
        images: files to classify; any size, any common format.
        top: how many of the likeliest classes to name.

    Returns, per image, `{"image": path, "classes": [{"class", "probability"}, …]}`, likeliest first.
    Errors: DataError (a file that is no image), RegistryError (a model that cannot be loaded).
    """
    pixels = _read_all(images)  # before the model, which takes seconds to load
    tracking.connect(state)
    import mlflow
    from mlflow.exceptions import MlflowException

    uri = f"models:/{name}/{version}"
    try:
        model = mlflow.pyfunc.load_model(uri)
    except (MlflowException, OSError) as error:
        raise RegistryError(f"{uri} cannot be loaded: {error}.", "See that its artifacts are there.") from error
    classes = (model.metadata.metadata or {}).get("classes")
    if classes is None:
        raise RegistryError(f"{uri} does not name its classes.", "Only models that `inception run` made do.")
    answers = []
    for path, image in zip(images, pixels, strict=True):
        probabilities = np.asarray(model.predict(image[None]))[0]
        best = np.argsort(-probabilities, kind="stable")[:top]
        guesses = [{"class": classes[i], "probability": round(float(probabilities[i]), 6)} for i in best]
        answers.append({"image": str(path), "classes": guesses})
    return answers


def _read_all(images: list[Path]) -> list[Any]:
    """The pixels of every image. Errors: DataError, which names all that cannot be read."""
    from trainer.data.images import BadImage, decode

    pixels, refused = [], []
    for path in images:
        try:
            pixels.append(decode(path.read_bytes()))
        except BadImage as reason:
            refused.append(f"{path} cannot be classified: {reason}.")
        except OSError as error:
            refused.append(f"{path} cannot be read: {error.strerror}.")
    if refused:
        raise DataError("\n".join(refused), "Give image files: PNG, JPEG, WebP, GIF, BMP.")
    return pixels
