"""A registered model on images of any source, asked by hand."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from trainer import config
from trainer.config_errors import explain
from trainer.errors import DataError, InceptionError, UsageError
from trainer.judging import hygiene, registered_model, slices, training_files
from trainer.judging.answers import answers
from trainer.judging.comparison import sized
from trainer.judging.predictions import Predictions
from trainer.registry.lookup import Found
from trainer.scorecard import Scorecard, score
from trainer.state import State

if TYPE_CHECKING:
    from trainer.data.prepared import Split

SPLITS = ("test", "train", "validation", "all")


@dataclass(frozen=True, eq=False)
class Images:
    """Prepared images to ask models about: one split of a source, or all of them."""

    source: str
    split: str
    classes: list[str]
    """Of the source; a label is an index into them."""
    parts: list[Split]

    @property
    def identities(self) -> list[str]:
        return [identity for part in self.parts for identity in part.identities]

    @property
    def labels(self) -> NDArray[np.int32]:
        return np.concatenate([part.labels for part in self.parts])


@dataclass(frozen=True, eq=False)
class Scored:
    """What a model scored on images; its classes are the model's."""

    card: Scorecard
    predictions: Predictions
    seen: int | None
    """Images that formed the model in its training; None where that was not recorded."""


def data_of(source: str, data_dir: str | None, models: list[Found]) -> config.Data:
    """How to read and divide a source.

    Args:
        source: `digits`, `tfds:…`, `folder:…`, or the path of a recipe, whose `[data]` is meant.
        data_dir: where TFDS finds its data; None: as the recipe says.
        models: to be asked. Where one was trained on that source, its own recipe's division holds, so that `test` is
            the frozen split it was judged on.

    Errors: UsageError (no such kind of source), RecipeError.
    """
    if source.endswith(".toml"):
        data = config.load(source).data
    else:
        try:
            data = config.Data(source=source)
        except ValidationError as error:
            message, _ = explain(error, config.Data, f"--data {source}")
            raise UsageError(message, "Give digits, tfds:NAME, folder:PATH or the path of a recipe.") from None
        theirs = [own for model in models if (own := _own_data(model)) is not None and own.source == source]
        data = theirs[0] if theirs else data
    return data if data_dir is None else data.model_copy(update={"data_dir": data_dir})


def _own_data(model: Found) -> config.Data | None:
    """How the images were divided that a model was trained on; None where no recipe is recorded that can be read."""
    try:
        return config.Data.model_validate(json.loads(model.tags["recipe"])["data"])
    except (KeyError, ValueError):
        return None


def images(state: State, data: config.Data, split: str) -> Images:
    """Prepare a source, unless it is prepared. Errors: DataError, StateError."""
    from trainer import sharing
    from trainer.data.sources import open_source
    from trainer.prepare import prepare

    fingerprint = open_source(data, state).fingerprint().digest
    prepare(data, fingerprint, state, for_training=False)
    dataset = sharing.opened_dataset(state, fingerprint)
    names = [name for name in SPLITS if name != "all"] if split == "all" else [split]
    parts = [part for part in map(dataset.split, names) if len(part)]
    if not parts:
        raise DataError(
            f"{data.source} has no image in its {split} split.", "Ask for all of them with --split all, or add images."
        )
    return Images(data.source, split, dataset.manifest.classes, parts)


def scored(state: State, model: Found, asked: Images, settings: config.Evaluate, file: str) -> Scored:
    """Ask a model about images and score what it says.

    Args:
        state: the state folder.
        model: as registered.
        asked: its classes are matched by name.
        settings: batch size, slices and resamples.
        file: name under which the predictions will be saved.

    Errors: DataError (a class that the model does not know), EvaluationError (a model that cannot be loaded),
    RegistryError.
    """
    import pyarrow as pa

    who = f"{model.name} version {model.version}"
    loaded = registered_model.load(state, model.model_uri, who)
    unknown = [name for name in asked.classes if name not in loaded.classes]
    if unknown:
        raise DataError(
            f"{asked.source} has classes that {who} does not know: {', '.join(unknown)}. It knows "
            f"{', '.join(loaded.classes)}; the source has {', '.join(asked.classes)}.",
            "Classes are matched by their names: rename the folders, or leave out those that the model does not know.",
        )
    place = np.array([loaded.classes.index(name) for name in asked.classes], np.int32)
    probabilities = np.concatenate([answers(loaded, part, settings.batch_size, who) for part in asked.parts])
    predictions = Predictions(asked.identities, place[asked.labels], probabilities)
    table = pa.concat_tables([part.table for part in asked.parts])
    groups = slices.groups(table, asked.classes, settings.slices)
    card = score(predictions, loaded.classes, file, groups, settings.resamples)
    return Scored(sized(card, loaded), predictions, _seen(state, model, asked.identities))


def _seen(state: State, model: Found, identities: list[str]) -> int | None:
    try:
        left = training_files.fetch(state, model.run_id, training_files.IDENTITIES) if model.run_id else None
    except InceptionError:
        return None
    return None if left is None else sum(hygiene.shared(left, identities).values())
