"""The verb `evaluate`: challenger and champion on the same frozen test examples, each through its registered form.

What users load is what is judged: both models come out of MLflow, and both are given the original images, raw.
"""

from __future__ import annotations

import io
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainer import record, tracking
from trainer.config import Recipe
from trainer.errors import EvaluationError
from trainer.events import note, progress
from trainer.registry.protocol import CHAMPION, Ledger, Registry
from trainer.scorecard import Predictions, score
from trainer.state import State, write_atomically

if TYPE_CHECKING:
    from trainer.data.prepared import Split

CHALLENGER_PREDICTIONS = "challenger.npz"
CHAMPION_PREDICTIONS = "champion.npz"
_THUMBNAIL = 128


def evaluate(
    recipe: Recipe, fingerprint: str, run_key: str, state: State, registry: Registry, ledger: Ledger
) -> record.Evaluated:
    """Score both models and keep their per-example predictions in the run record.

    Errors: EvaluationError (a model that answers with other classes, or not at all), RegistryError, StateError.
    """
    from trainer.data.prepared import open_prepared

    folder = state.run(run_key)
    decided = record.find(folder, record.Evaluated)
    if decided is not None and any(entry.run_key == run_key for entry in ledger.read().entries):
        note("decided already: the evaluation the decision was made on stands")
        return decided

    trained = record.read(folder, record.Trained)
    dataset = open_prepared(state.data(fingerprint))
    test, classes = dataset.split("test"), dataset.manifest.classes
    name = recipe.registry.name

    challenger = _predict(state, trained.model_uri, test, classes, recipe.evaluate.batch_size, "challenger")
    challenger.save(folder / CHALLENGER_PREDICTIONS)
    card = score(challenger, classes, CHALLENGER_PREDICTIONS)
    note(f"challenger: accuracy {card.accuracy:.4f} on {card.examples:,} test examples")

    version = registry.alias(name, CHAMPION)
    champion_card = None
    if version is not None:
        uri = registry.get(name, version).model_uri
        champion = _predict(state, uri, test, classes, recipe.evaluate.batch_size, "champion")
        champion.save(folder / CHAMPION_PREDICTIONS)
        champion_card = score(champion, classes, CHAMPION_PREDICTIONS)
        note(f"champion (version {version}): accuracy {champion_card.accuracy:.4f}")

    evaluated = record.Evaluated(
        challenger=card,
        champion=champion_card,
        champion_version=version,
        worst_mistakes=_keep_mistakes(folder, challenger, test, classes, recipe.evaluate.mistakes),
    )
    record.write(folder, evaluated)
    tracking.log_metrics(
        state,
        trained.mlflow_run_id,
        {"test_accuracy": card.accuracy, "test_log_loss": card.log_loss, "test_macro_f1": card.macro_f1},
    )
    return evaluated


def _predict(state: State, model_uri: str, split: Split, classes: list[str], batch_size: int, who: str) -> Predictions:
    model, views_at_once = _load(state, model_uri, classes, who)
    probabilities = np.zeros((len(split), len(classes)), np.float32)
    done, shown = 0, time.monotonic()
    for indices in _same_shape_batches(split, max(1, batch_size // views_at_once)):
        answer = model(np.stack([split.image(i) for i in indices]))
        if not np.isfinite(answer).all():
            raise EvaluationError(
                f"The {who} ({model_uri}) answered with a probability that is no number.",
                "Train again; train.clip_norm or a lower learning rate keeps the weights finite.",
            )
        probabilities[indices] = answer
        done += len(indices)
        if time.monotonic() - shown > 0.3 or done == len(split):
            shown = time.monotonic()
            progress("evaluate", done, len(split), f"images, {who}")
    return Predictions(list(split.identities), np.asarray(split.labels, np.int32), probabilities)


def _same_shape_batches(split: Split, batch_size: int) -> Iterator[NDArray[np.intp]]:
    """Indices of every example once; images of different sizes cannot share a batch."""
    if split.shape is not None:
        groups: list[Any] = [np.arange(len(split))]
    else:
        by_shape: dict[tuple[int, int], list[int]] = defaultdict(list)
        heights, widths = split.table["height"].to_pylist(), split.table["width"].to_pylist()
        for index, shape in enumerate(zip(heights, widths, strict=True)):
            by_shape[shape].append(index)
        groups = [np.array(group) for group in by_shape.values()]
    for group in groups:
        for start in range(0, len(group), batch_size):
            yield group[start : start + batch_size]


def _load(state: State, model_uri: str, classes: list[str], who: str) -> tuple[Any, int]:
    """The registered model as a function from uint8 (N, height, width, 3) to float32 (N, classes).

    And how many views of an image it looks at together: so many times smaller a batch must be.
    """
    tracking.connect(state)
    import mlflow
    import tensorflow as tf
    from mlflow.exceptions import MlflowException

    try:
        told = mlflow.models.get_model_info(model_uri).metadata or {}
        keras_model = mlflow.tensorflow.load_model(model_uri)
    except (MlflowException, OSError, ValueError) as error:
        raise EvaluationError(
            f"The {who} {model_uri} cannot be loaded: {error}.",
            "See that its artifacts are there (inception ui); a lost champion has to be retired or replaced.",
        ) from error
    if told.get("classes") != classes:
        raise EvaluationError(
            f"The {who} {model_uri} knows the classes {told.get('classes')}, the data has {classes}.",
            "Models of different classes cannot be compared: register this recipe under another registry.name.",
        )

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8)], autograph=False)
    def answer(images: Any) -> Any:
        return keras_model(images, training=False)

    return lambda images: answer(images).numpy(), int(told.get("views_at_once", 1))


def _keep_mistakes(folder: Path, predictions: Predictions, split: Split, classes: list[str], most: int) -> list[str]:
    """Pictures of the examples whose true class was found least likely, worst first, with captions beside them."""
    from PIL import Image

    rows = np.arange(len(predictions.labels))
    truth = predictions.probabilities[rows, predictions.labels]
    wrong = rows[~predictions.correct]
    worst = wrong[np.argsort(truth[wrong], kind="stable")][:most]
    paths = split.table["path"].to_pylist()
    captions = []
    for rank, index in enumerate(worst, start=1):
        file = f"mistake-{rank:02d}.png"
        picture = Image.fromarray(split.image(int(index)))
        factor = _THUMBNAIL / max(picture.size)
        # Small pictures grow by whole pixels, so that what the network saw stays visible.
        how = Image.Resampling.NEAREST if factor > 1 else Image.Resampling.LANCZOS
        size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
        buffer = io.BytesIO()
        picture.resize(size, how).save(buffer, "PNG")
        write_atomically(folder / file, buffer.getvalue())
        guess = int(predictions.predicted[index])
        captions.append(
            {
                "file": file,
                "truth": classes[int(predictions.labels[index])],
                "predicted": classes[guess],
                "probability": round(float(predictions.probabilities[index, guess]), 4),
                "source": paths[int(index)],
            }
        )
    write_atomically(folder / "mistakes.json", json.dumps(captions, indent=2))
    return [str(caption["file"]) for caption in captions]
