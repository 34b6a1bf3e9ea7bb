"""A registered model on images it never saw."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer import config
from trainer.data.sources import open_source
from trainer.errors import DataError, EvaluationError, RecipeError, UsageError
from trainer.judging import any_source, hygiene, training_files
from trainer.judging.any_source import Scored, data_of, images
from trainer.prepare import prepare

SETTINGS = config.Evaluate(resamples=50)


def scored(zoo: Any, reference: str, folder: Path, split: str = "all") -> Scored:
    found = zoo.find(reference)
    asked = images(zoo.state, data_of(f"folder:{folder}", None, [found]), split)
    return any_source.scored(zoo.state, found, asked, SETTINGS, "answers.npz")


def test_a_model_is_scored_on_any_folder(zoo: Any, paint: Any, tmp_path: Path) -> None:
    """Classes are matched by name, whatever their order; those without images count nowhere."""
    right = scored(zoo, "good", paint(tmp_path / "i", {"cow": 5, "cat": 7}))
    assert right.card.classes == ["cat", "dog", "cow"]
    assert [one.count for one in right.card.per_class] == [7, 0, 5]
    assert (right.card.accuracy, right.card.macro_f1, right.card.examples) == (1.0, 1.0, 12)
    assert right.card.intervals["accuracy"].low == 1.0
    assert right.card.predictions == "answers.npz"
    assert sorted(np.unique(right.predictions.labels)) == [0, 2]
    assert right.card.size_bytes > 1000  # type: ignore[operator]
    wrong = scored(zoo, "mistaken", tmp_path / "i")
    assert wrong.card.accuracy == pytest.approx(7 / 12)


def test_classes_that_the_model_does_not_know_are_refused(zoo: Any, paint: Any, tmp_path: Path) -> None:
    """With what it knows and what the source has."""
    with pytest.raises(
        DataError, match=r"does not know: horse\. It knows cat, dog, cow; the source has cat, horse"
    ) as no:
        scored(zoo, "good", paint(tmp_path / "i", {"cat": 2, "horse": 2}))
    assert "rename the folders" in no.value.remedy


def test_a_few_images_of_one_class_are_enough_to_ask_about(zoo: Any, paint: Any, tmp_path: Path) -> None:
    """Although nothing could be trained on them: then, as before, that is said."""
    folder = paint(tmp_path / "i", {"dog": 2})
    assert scored(zoo, "good", folder).card.accuracy == 1.0
    data = config.Data(source=f"folder:{folder}")
    fingerprint = open_source(data, zoo.state).fingerprint().digest
    with pytest.raises(DataError, match="only 1 class"):
        prepare(data, fingerprint, zoo.state)
    paint(tmp_path / "i", {"cat": 1})
    assert scored(zoo, "good", folder).card.examples == 3
    fingerprint = open_source(data, zoo.state).fingerprint().digest
    with pytest.raises(DataError, match="leaves no image for the"):
        prepare(data, fingerprint, zoo.state)


def test_an_empty_split_is_told(zoo: Any, paint: Any, tmp_path: Path) -> None:
    """And what to do instead."""
    folder = paint(tmp_path / "i", {"dog": 1, "cat": 1})
    data = data_of(f"folder:{folder}", None, [])
    empty = [name for name in ("test", "train", "validation") if not _has(zoo, data, name)]
    assert empty
    with pytest.raises(DataError, match=f"no image in its {empty[0]} split") as caught:
        images(zoo.state, data, empty[0])
    assert "--split all" in caught.value.remedy


def _has(zoo: Any, data: config.Data, split: str) -> bool:
    return any(len(part) for part in images(zoo.state, data, "all").parts if part.name == split)


@pytest.mark.parametrize(
    ("reference", "words"), [("good/2", "good version 2 .*/gone cannot be loaded"), ("birds", "does not know: cow")]
)
def test_a_model_that_cannot_answer_says_why(reference: str, words: str, zoo: Any, paint: Any, tmp_path: Path) -> None:
    """Its files are gone, or it knows other classes."""
    with pytest.raises((EvaluationError, DataError), match=words):
        scored(zoo, reference, paint(tmp_path / "i", {"dog": 3, "cow": 3}))


def test_images_from_the_models_own_training_are_counted(zoo: Any, paint: Any, tmp_path: Path) -> None:
    """Where the training left their identities; else that is not known."""
    folder = paint(tmp_path / "i", {"dog": 6, "cat": 6})
    assert scored(zoo, "mistaken", folder).seen is None
    asked = images(zoo.state, data_of(f"folder:{folder}", None, []), "all")
    known = {"train": hygiene.compact(asked.identities[:4]), "validation": hygiene.compact(asked.identities[4:5])}
    found = zoo.find("good")
    training_files.leave(zoo.state, found.run_id, tmp_path, {training_files.IDENTITIES: known})
    assert scored(zoo, "good", folder).seen == 5


def test_a_models_own_source_is_divided_as_it_was_for_its_training(zoo: Any, tmp_path: Path) -> None:
    """So `test` is the split it was judged on. Another source, or an unreadable recipe: the defaults."""
    recipe = {"data": {"source": "digits", "test_fraction": 0.37}}
    found = zoo.find("good").model_copy(update={"tags": {"recipe": json.dumps(recipe)}})
    assert data_of("digits", None, [found]).test_fraction == 0.37
    assert data_of("folder:x", None, [found]) == config.Data(source="folder:x")
    for text in ("{", '{"data": {"source": "digits", "novelty": 1}}'):
        older = found.model_copy(update={"tags": {"recipe": text}})
        assert data_of("digits", None, [older]) == config.Data(source="digits")
    assert data_of("tfds:cifar10", "/data", []).data_dir == "/data"


def test_a_recipe_names_its_images(tmp_path: Path) -> None:
    """Its `[data]` is taken; one that is not there is an error."""
    assert data_of("configs/digits.toml", None, []) == config.load("configs/digits.toml").data
    with pytest.raises(RecipeError, match=r"no recipe at 'digts\.toml'"):
        data_of("digts.toml", None, [])
    with pytest.raises(UsageError, match=r"source kind 'digts' is unknown\. Did you mean 'digits'"):
        data_of("digts", None, [])
