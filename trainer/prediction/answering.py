"""A model's answers about pictures, in the pictures' order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trainer.errors import EvaluationError
from trainer.judging.registered_model import RegisteredModel
from trainer.prediction.batching import batches
from trainer.prediction.reading import Picture


@dataclass(frozen=True)
class Guess:
    name: str
    """Of the class."""
    probability: float


@dataclass(frozen=True)
class Answer:
    """What is said of one picture."""

    image: str
    """Its path or address."""
    guesses: list[Guess] = field(default_factory=list)
    """Likeliest first; none where it could not be classified."""
    error: str | None = None
    """Why it could not be."""

    def as_json(self) -> dict[str, Any]:
        classes = [{"class": guess.name, "probability": guess.probability} for guess in self.guesses]
        told: dict[str, Any] = {"image": self.image, "classes": classes}
        return told if self.error is None else told | {"error": self.error}


def answers(model: RegisteredModel, pictures: Iterable[Picture], top: int, batch_size: int) -> Iterator[Answer]:
    """One for every picture. Those that were asked before their turn wait for it.

    Errors: EvaluationError (a probability that is no number).
    """
    early: dict[int, Answer] = {}
    turn = 0
    for batch in batches(pictures, max(1, batch_size // model.views_at_once)):
        for picture, answer in zip(batch, _asked(model, batch, top), strict=True):
            early[picture.number] = answer
        while turn in early:
            yield early.pop(turn)
            turn += 1


def _asked(model: RegisteredModel, batch: list[Picture], top: int) -> Iterator[Answer]:
    pixels = [picture.pixels for picture in batch if picture.pixels is not None]
    if not pixels:
        yield from (Answer(_legible(picture.address), error=picture.problem) for picture in batch)
        return
    probabilities = model.answer(np.stack(pixels))
    if not np.isfinite(probabilities).all():
        raise EvaluationError(
            f"{model.uri} answered with a probability that is no number.", "Use another version, or train again."
        )
    likeliest = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
    for picture, row, order in zip(batch, probabilities, likeliest, strict=True):
        guesses = [Guess(model.classes[index], round(float(row[index]), 6)) for index in order]
        yield Answer(_legible(picture.address), guesses)


def _legible(address: str) -> str:
    """Bytes in a file's name that are no UTF-8 would stop whoever prints them."""
    return address.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
