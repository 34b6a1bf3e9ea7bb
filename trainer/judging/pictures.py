"""Test images that are worth a look: the worst mistakes, and those on which challenger and champion differ."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trainer.judging.predictions import Predictions
from trainer.record import ChangedSide
from trainer.state import reported, write_atomically

if TYPE_CHECKING:
    from trainer.data.prepared import Split

MISTAKES = "mistakes.json"
"""Captions of the worst mistakes, beside their pictures."""
MOST_CHANGED = 24
"""Pictures of each kind."""
_THUMBNAIL = 128


def forget(folder: Path) -> None:
    """Take away the pictures of an earlier evaluation. Errors: StateError."""
    with reported(folder):
        for kind in ("mistake", "newly-right", "newly-wrong"):
            for path in folder.glob(f"{kind}-*.png"):
                path.unlink()


def keep_mistakes(folder: Path, predictions: Predictions, split: Split, classes: list[str], most: int) -> list[str]:
    """Pictures of the examples whose true class was found least likely, worst first, with captions beside them.

    Args:
        folder: of the run record.
        predictions: of the whole split.
        split: gives the images.
        classes: names by label.
        most: pictures.

    Returns their file names. Errors: StateError.
    """
    truth = _of_truth(predictions)
    wrong = np.flatnonzero(~predictions.correct)
    worst = wrong[np.argsort(truth[wrong], kind="stable")][:most]
    paths = split.table["path"]
    captions = []
    for rank, index in enumerate(worst.tolist(), start=1):
        file = f"mistake-{rank:02d}.png"
        write_atomically(folder / file, _thumbnail(split.image(index)))
        guess = int(predictions.predicted[index])
        captions.append(
            {
                "file": file,
                "truth": classes[int(predictions.labels[index])],
                "predicted": classes[guess],
                "probability": round(float(predictions.probabilities[index, guess]), 4),
                "source": paths[index].as_py(),
            }
        )
    write_atomically(folder / MISTAKES, json.dumps(captions, indent=2))
    return [str(caption["file"]) for caption in captions]


def keep_changed_sides(
    folder: Path,
    challenger: Predictions,
    champion: Predictions,
    split: Split,
    indices: NDArray[np.intp],
    classes: list[str],
    most: int,
) -> list[ChangedSide]:
    """Pictures of examples on which exactly one of the two is right: newly wrong, then newly right.

    Those come first for whose true class the probability changed most.

    Args:
        folder: of the run record.
        challenger, champion: on the same examples.
        split: gives the images.
        indices: of those examples in the split.
        classes: names by label.
        most: pictures of each kind, and never more than `MOST_CHANGED`.

    Errors: StateError.
    """
    gain = _of_truth(challenger) - _of_truth(champion)
    paths = split.table["path"]
    kept = []
    for newly_right, changed in ((False, newly(champion, challenger)), (True, newly(challenger, champion))):
        places = np.flatnonzero(changed)
        places = places[np.argsort(-np.abs(gain[places]), kind="stable")][: min(most, MOST_CHANGED)]
        for rank, place in enumerate(places.tolist(), start=1):
            file = f"newly-{'right' if newly_right else 'wrong'}-{rank:02d}.png"
            index = int(indices[place])
            write_atomically(folder / file, _thumbnail(split.image(index)))
            kept.append(
                ChangedSide(
                    file=file,
                    truth=classes[int(challenger.labels[place])],
                    challenger=classes[int(challenger.predicted[place])],
                    champion=classes[int(champion.predicted[place])],
                    newly_right=newly_right,
                    source=paths[index].as_py(),
                )
            )
    return kept


def newly(one: Predictions, other: Predictions) -> NDArray[np.bool_]:
    """(N,): where the one is right and the other is not."""
    right: NDArray[np.bool_] = one.correct & ~other.correct
    return right


def _of_truth(predictions: Predictions) -> NDArray[np.float32]:
    probabilities: NDArray[np.float32] = predictions.probabilities[
        np.arange(len(predictions.labels)), predictions.labels
    ]
    return probabilities


def _thumbnail(pixels: NDArray[np.uint8]) -> bytes:
    """PNG. Small pictures grow by whole pixels, so that what the network saw stays visible."""
    from PIL import Image

    picture = Image.fromarray(pixels)
    factor = _THUMBNAIL / max(picture.size)
    how = Image.Resampling.NEAREST if factor > 1 else Image.Resampling.LANCZOS
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    buffer = io.BytesIO()
    picture.resize(size, how).save(buffer, "PNG")
    return buffer.getvalue()
