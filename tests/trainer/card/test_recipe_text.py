from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from trainer import config
from trainer.card.recipe_text import as_toml

CONFIGS = sorted((Path(__file__).resolve().parents[3] / "configs").glob("*.toml"))
RECIPES = [path for path in CONFIGS if path.name != "schedules.toml"]


def test_there_are_recipes_to_test_with() -> None:
    """The table below is not empty."""
    assert RECIPES


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_a_recipe_written_as_toml_is_the_same_recipe(path: Path) -> None:
    """What the run card shows and keeps beside it can be run again, and is the same work."""
    recipe = config.load(path)
    again = config.parse(as_toml(json.loads(recipe.canonical())))
    assert again == recipe
    assert again.digest() == recipe.digest()


def test_the_name_of_a_class_may_be_any_text() -> None:
    """It is a key in `class_weights`, with spaces, dots and quotes where the folder has them."""
    weights = {"great white": 2.0, 'a "b"': 1.0, "v1.0": 0.5}
    text = as_toml({"train": {"epochs": 1, "class_weights": weights}})
    assert tomllib.loads(text)["train"]["class_weights"] == weights


@pytest.mark.parametrize(
    "text", ['a "quoted" \\ path', "line\nbreak", "del\x7fete", "Größe 猫 🐈", "'single'", "#no comment"]
)
def test_any_text_survives(text: str) -> None:
    """Quotes, backslashes, control characters and every script come back as they were."""
    recipe = {
        "data": {"source": "digits", "data_dir": text},
        "model": {"variant": "inception_module"},
        "train": {"epochs": 1, "batch_size": 1, "optimizer": {"name": "sgd", "learning_rate": 1e-07}},
        "gate": {"threshold": 0.5},
        "registry": {"name": "x"},
    }
    again = config.parse(as_toml(recipe))
    assert again.data.data_dir == text
    assert again.train.optimizer.learning_rate == 1e-07
