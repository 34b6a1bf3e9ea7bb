"""Values on their way between a space, a study and a recipe."""

from __future__ import annotations

from random import Random

import pytest

from trainer import config
from trainer.tuning import space, values

RECIPE = """
[data]
source = "digits"
[model]
variant = "inception_module"
width = 0.5
[train]
epochs = 4
batch_size = 32
optimizer = { name = "adamw", learning_rate = 0.003 }
augment = { flip = true }
[gate]
threshold = 0.9
[registry]
name = "m"
"""

SPACE = space.parse(
    """
    [parameters]
    "model.width" = { choices = [0.25, 0.5] }
    "train.epochs" = { low = 2, high = 8, step = 2 }
    "train.optimizer.learning_rate" = { low = 0.0001, high = 0.1, log = true }
    "train.optimizer" = { choices = [{ name = "adamw", learning_rate = 0.003 }, { name = "sgd", momentum = 0.9 }] }
    "train.augment" = { choices = [{}, { flip = true }] }
    "train.class_weights" = { choices = ["none", "balanced", { "a b" = 2.0, 'c"d' = 1.0 }] }
    """
)


def test_what_a_study_holds_becomes_the_recipes_values() -> None:
    """Tables as well as numbers and text; a table before the keys within it, and no default speaks against them."""
    params = {
        "train.optimizer.learning_rate": 1e-4,
        "train.optimizer": values.stored({"name": "sgd", "momentum": 0.9}),
        "train.epochs": 6,
        "model.width": 0.25,
        "train.augment": "{}",
        "train.class_weights": values.stored({"a b": 2.0, 'c"d': 1.0}),
    }
    recipe = values.applied(values.as_written(config.parse(RECIPE)), SPACE, params)
    assert recipe.train.optimizer == config.Sgd(name="sgd", learning_rate=1e-4, momentum=0.9)
    assert (recipe.train.epochs, recipe.model.width) == (6, 0.25)
    assert recipe.train.augment == config.Augment()
    assert recipe.train.class_weights == {"a b": 2.0, 'c"d': 1.0}


def test_a_recipe_as_written_is_the_same_recipe() -> None:
    """What its author left out is left out still."""
    recipe = config.parse(RECIPE, ["train.seed=3"])
    written = values.as_written(recipe)
    assert config.parse(written) == recipe
    assert "seed" in written
    assert "label_smoothing" not in written


def test_the_recipes_own_values_are_found() -> None:
    """As the study would hold them."""
    assert values.own_values(config.parse(RECIPE), SPACE) == {
        "model.width": 0.5,
        "train.epochs": 4,
        "train.optimizer.learning_rate": 0.003,
        "train.optimizer": '{"learning_rate":0.003,"name":"adamw"}',
        "train.augment": '{"flip":true}',
        "train.class_weights": "none",
    }


@pytest.mark.parametrize(
    "override", ["model.width=0.3", "train.epochs=3", "train.epochs=10", "train.optimizer.learning_rate=1.0"]
)
def test_a_recipe_outside_the_space_has_no_own_values(override: str) -> None:
    """No choice, off the steps, out of range."""
    assert values.own_values(config.parse(RECIPE, [override]), SPACE) is None


def test_drawn_values_are_in_the_space() -> None:
    """Of ranges all of it: a thousand draws come near both ends."""
    random = Random(1)
    for key, distribution in values.distributions(SPACE).items():
        drawn = [values.drawn(SPACE.parameters[key], random) for _ in range(1000)]
        assert all(distribution._contains(distribution.to_internal_repr(value)) for value in drawn)
    epochs = {values.drawn(SPACE.parameters["train.epochs"], random) for _ in range(100)}
    assert epochs == {2, 4, 6, 8}
