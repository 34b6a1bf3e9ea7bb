"""Spaces: what they default to, how they may be written, and what they say to bad ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer import config
from trainer.errors import UsageError
from trainer.tuning import keys, space

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = sorted((ROOT / "configs" / "spaces").glob("*.toml"))


def with_parameter(table: str) -> str:
    return f'[parameters]\n"train.epochs" = {table}\n'


def test_what_is_left_out_has_these_defaults() -> None:
    """Accuracy is maximised, and the median of the trials before stops the hopeless."""
    parsed = space.parse(with_parameter("{ low = 1, high = 3 }"))
    assert parsed.model_dump(exclude={"parameters"}) == {
        "metric": "validation_accuracy",
        "seed": 0,
        "startup_trials": 5,
        "pruner": "median",
        "warmup_epochs": 1,
    }
    assert parsed.maximise
    assert not parsed.model_copy(update={"metric": "validation_loss"}).maximise


@pytest.mark.parametrize(
    "text",
    [
        '[parameters]\n"train.optimizer.learning_rate" = { low = 0.1, high = 1.0 }',
        "[parameters]\ntrain.optimizer.learning_rate = { low = 0.1, high = 1.0 }",
        "[parameters.train.optimizer]\nlearning_rate = { low = 0.1, high = 1.0 }",
        "[parameters.train.optimizer.learning_rate]\nlow = 0.1\nhigh = 1.0",
    ],
)
def test_a_key_may_be_written_in_every_way_that_toml_has(text: str) -> None:
    """In quotes, with dots, or as tables: one and the same parameter."""
    assert list(space.parse(text).parameters) == ["train.optimizer.learning_rate"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has no parameters"),
        ("[parameters]", "has no parameters"),
        ("parameters = 3", "has no parameters"),
        ("[parameters", "not valid TOML"),
        ('metrik = "x"\n' + with_parameter("{ low = 1, high = 2 }"), "metrik: unknown key. Did you mean 'metric'?"),
        (
            'metric = "accuracy"\n' + with_parameter("{ low = 1, high = 2 }"),
            "metric: received 'accuracy'. Did you mean 'validation_accuracy'?",
        ),
        (
            'pruner = "meridian"\n' + with_parameter("{ low = 1, high = 2 }"),
            "pruner: received 'meridian'. Did you mean 'median'?",
        ),
        ("seed = -1\n" + with_parameter("{ low = 1, high = 2 }"), "seed: received -1."),
        ("startup_trials = 0\n" + with_parameter("{ low = 1, high = 2 }"), "startup_trials: received 0."),
        (with_parameter("3"), "train.epochs: received 3, which leaves nothing to try."),
        (with_parameter("{}"), "train.epochs: needs low and high, or choices."),
        (with_parameter("{ low = 1 }"), "train.epochs: needs low and high, or choices."),
        (with_parameter("{ low = 3, high = 2 }"), "train.epochs: low 3 is above high 2."),
        (with_parameter("{ lo = 1, high = 2 }"), "train.epochs.lo: unknown key. Did you mean 'low'?"),
        (with_parameter('{ low = "a", high = 2 }'), "train.epochs.low: received 'a'. It must be a finite number."),
        (with_parameter("{ low = true, high = 2 }"), "train.epochs.low: received True. It must be a finite number."),
        (with_parameter("{ low = nan, high = 2.0 }"), "train.epochs.low: received nan. It must be a finite number."),
        (with_parameter("{ low = 0, high = 2, log = true }"), "log needs a low above 0, received 0."),
        (with_parameter("{ low = 1, high = 9, step = 0 }"), "step must be above 0, received 0."),
        (with_parameter("{ low = 1, high = 9, step = 0.5 }"), "step 0.5 is not whole, low and high are."),
        (with_parameter("{ low = 1, high = 9, step = 2, log = true }"), "step and log do not go together."),
        (with_parameter("{ choices = [] }"), "choices is empty."),
        (with_parameter("{ choices = [1, 2, 1] }"), "1 is twice among the choices."),
        (with_parameter("{ choices = [1], low = 1 }"), "choices go without low, high, step and log."),
    ],
)
def test_a_bad_space_is_refused_by_name(text: str, says: str) -> None:
    """The message names the key and what was received, and where there is one the nearest good word."""
    with pytest.raises(UsageError) as caught:
        space.parse(text)
    assert says in caught.value.message
    assert caught.value.remedy


def test_a_space_that_is_not_there_is_missed_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the nearest one that is."""
    monkeypatch.chdir(ROOT)
    with pytest.raises(UsageError) as caught:
        space.load("configs/spaces/digit.toml")
    assert caught.value.remedy == "Did you mean 'configs/spaces/digits.toml'?"


def test_equal_spaces_have_equal_texts() -> None:
    """Order, spelling and defaults written out make no difference, and the text is a space again."""
    one = space.parse(
        'pruner = "median"\n[parameters]\n"model.width" = { choices = [0.5, 1.0] }\n'
        '"train.epochs" = { low = 1, high = 3, log = false }'
    )
    other = space.parse("[parameters]\ntrain.epochs = { high = 3, low = 1 }\nmodel.width = { choices = [0.5, 1.0] }")
    assert one.canonical() == other.canonical()
    assert space.parse(one.canonical()) == other


def test_there_are_spaces_to_test_with() -> None:
    """The table below is not empty."""
    assert SHIPPED


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_a_shipped_space_goes_with_the_recipe_it_names(path: Path) -> None:
    """Its first line says how to tune with it, and its recipe takes what it would try."""
    words = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ").split()
    assert words[:2] == ["inception", "tune"]
    assert words[words.index("--space") + 1] == f"configs/spaces/{path.name}"
    overrides = [words[index + 1] for index, word in enumerate(words) if word == "--set"]
    keys.check(config.load(ROOT / words[2], overrides), space.load(path))
