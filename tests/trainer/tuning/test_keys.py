"""What a recipe says to the keys and values that a space would try."""

from __future__ import annotations

import pytest

from trainer import config
from trainer.config import Recipe
from trainer.errors import UsageError
from trainer.tuning import keys, space

RECIPE = """
[data]
source = "digits"
[model]
variant = "inception_module"
[train]
epochs = 4
batch_size = 32
optimizer = { name = "adamw", learning_rate = 0.003 }
[gate]
threshold = 0.9
[registry]
name = "m"
"""


@pytest.fixture
def recipe() -> Recipe:
    return config.parse(RECIPE)


def checked(recipe: Recipe, *parameters: str) -> None:
    keys.check(recipe, space.parse("\n".join(["[parameters]", *parameters])))


@pytest.mark.parametrize(
    "parameters",
    [
        ['"train.optimizer.learning_rate" = { low = 1e-4, high = 1.0, log = true }'],
        ['"model.variant" = { choices = ["inception_module", "googlenet"] }'],
        ['"model.width" = { choices = [0.25, 0.5] }', '"model.dropout" = { low = 0.0, high = 0.9 }'],
        ['"model.module.out_3x3" = { low = 8, high = 64, step = 8 }'],
        ['"train.ema.decay" = { low = 0.9, high = 0.999 }'],
        ['"transfer.head_epochs" = { low = 1, high = 3 }'],
        ['"train.optimizer" = { choices = [{ name = "sgd", learning_rate = 0.1 }, { name = "adamw" }] }'],
        # Neither goes with the recipe's own value of the other.
        [
            '"model.variant" = { choices = ["inception_resnet_v1", "inception_resnet_v2"] }',
            '"model.residual_scale" = { low = 0.1, high = 0.3 }',
        ],
        [
            '"train.optimizer" = { choices = [{ name = "sgd" }, { name = "rmsprop" }] }',
            '"train.optimizer.momentum" = { low = 0.0, high = 0.9 }',
        ],
    ],
    ids=lambda parameters: parameters[-1].split('"')[1],
)
def test_these_can_be_tuned(recipe: Recipe, parameters: list[str]) -> None:
    """Rates, architecture, whole tables, and keys that another key's choice makes sense of."""
    checked(recipe, *parameters)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        (["train.optimiser.learning_rate = { low = 1, high = 2 }"], "Did you mean 'train.optimizer.learning_rate'?"),
        (["train.learning_rate = { low = 1, high = 2 }"], "Did you mean 'train.optimizer.learning_rate'?"),
        (["model.widht = { low = 1, high = 2 }"], "'model.widht' is no recipe key. Did you mean 'model.width'?"),
        (["train.epochs.x = { low = 1, high = 2 }"], "'train.epochs.x' is no recipe key."),
        (["train.optimizer.momentum = { low = 0.0, high = 0.9 }"], "is no key of this recipe's train.optimizer."),
        (["model.dropout = { low = 0.0, high = 1.5 }"], "model.dropout: received 1.5. Input should be less than 1."),
        (["train.epochs = { low = 1.0, high = 2.0 }"], "train.epochs: received 1.0. Input should be a valid integer."),
        (['train.sampling = { choices = ["shufle"] }'], "train.sampling: received 'shufle'. Did you mean 'shuffle'?"),
        (
            ['model.variant = { choices = ["googlenet", "inceptoin_v3"] }'],
            "no combination with model.variant = 'inceptoin_v3' can be trained",
        ),
        (["train.micro_batch_size = { choices = [3, 5] }"], "no combination of its values can be trained"),
        (["data.limit = { low = 1, high = 2 }"], "the same images, which are prepared once"),
        (["gate.threshold = { low = 0.1, high = 0.2 }"], "[gate] has no influence"),
        (["train.members = { low = 1, high = 2 }"], "A trial trains one network"),
        (["model.test_time.flip = { choices = [true, false] }"], "Validation looks at every image once"),
        (["trian.epochs = { low = 1, high = 2 }"], "'trian' is no section of a recipe. Did you mean 'train'?"),
        (["train = { choices = [1] }"], "It is a whole section."),
    ],
)
def test_these_cannot(recipe: Recipe, parameters: list[str], says: str) -> None:
    """The error names the key, what the recipe says, and the nearest key there is."""
    with pytest.raises(UsageError) as caught:
        checked(recipe, *parameters)
    assert says in caught.value.message
    assert caught.value.remedy
