"""The verb `predict`: what a registered model says of pictures, with nothing but the registered model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from trainer.errors import DataError
from trainer.judging import registered_model
from trainer.prediction.answering import Answer, answers
from trainer.prediction.naming import KINDS, Pictures
from trainer.prediction.reading import Picture, read
from trainer.state import State

BATCH_SIZE = 32


@dataclass(frozen=True)
class Predicted:
    classes: list[str]
    """All that the model knows."""
    answers: Iterator[Answer]
    """One for every picture, in their order, while they come."""


def predict(
    state: State, name: str, version: str, pictures: Pictures, top: int, batch_size: int = BATCH_SIZE
) -> Predicted:
    """Classify pictures.

    Args:
        state: the state folder.
        name: the registered model.
        version: its version.
        pictures: what to classify; any size, any common format.
        top: how many of the likeliest classes to name.
        batch_size: pictures of one size that are asked together, fewer where they are large.

    Errors: DataError (a file that is no image, where files were named one by one), EvaluationError (a model that
    cannot be loaded, or does not name its classes).
    """
    # Before the model, which takes seconds to load.
    seen: Iterable[Picture] = _all_readable(pictures) if pictures.ordered else read(pictures.addresses)
    model = registered_model.load(state, f"models:/{name}/{version}")
    return Predicted(model.classes, answers(model, seen, top, batch_size))


def _all_readable(pictures: Pictures) -> list[Picture]:
    """Every picture. Errors: DataError, which names all that cannot be read."""
    seen = list(read(pictures.addresses))
    refused = [f"{picture.address} {picture.problem}." for picture in seen if picture.pixels is None]
    if refused:
        raise DataError("\n".join(refused), f"Give image files: {KINDS}.")
    return seen
