"""Transfer learning: what moves when, and at which rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer import config, tracking
from trainer.card import plots
from trainer.config import Recipe
from trainer.errors import RecipeError
from trainer.models import zoo
from trainer.record import Epoch, Trained
from trainer.state import State
from trainer.train import train
from trainer.training import fitting
from trainer.training.learner import Learner
from trainer.training.phases import freeze, phases, stages

STEPS = 10
RECIPE = """
data = { source = "digits" }
model = { variant = "inception_v2", stem = "small", image_size = 32, width = 0.05 }
train = { epochs = 5, batch_size = 16, optimizer = { name = "sgd", learning_rate = 0.4 } }
gate = { threshold = 0.1 }
registry = { name = "phases" }
"""


def recipe(*overrides: str) -> Recipe:
    return config.parse(RECIPE, overrides)


@pytest.fixture(scope="module")
def network() -> keras.Model:
    return zoo.build(recipe().model, 10)


def test_without_transfer_there_is_one_phase_that_moves_everything(network: keras.Model) -> None:
    """It spans the whole training under the recipe's own schedule."""
    [phase] = phases(recipe(), network, STEPS)
    assert (phase.first_step, phase.last_step, phase.frozen) == (0, 50, frozenset())
    assert phase.rate(0) == pytest.approx(0.4)


def test_the_head_comes_first_and_the_body_later_at_a_lower_rate(network: keras.Model) -> None:
    """Two phases that meet, the second at the recipe's factor of the rate."""
    head, tuning = phases(recipe("transfer={head_epochs=2, rate_factor=0.25}"), network, STEPS)
    assert (head.first_step, head.last_step) == (0, 20)
    assert (tuning.first_step, tuning.last_step) == (20, 50)
    assert head.frozen == set(stages(network)) - {"head"}
    assert tuning.frozen == frozenset()
    assert (head.rate(0), tuning.rate(20)) == (pytest.approx(0.4), pytest.approx(0.1))


def test_each_phase_has_its_own_schedule(network: keras.Model) -> None:
    """One-cycle rises twice."""
    plan = phases(recipe("transfer={head_epochs=2}", 'train.schedule={name="one_cycle"}'), network, STEPS)
    for phase in plan:
        rates = [phase.rate(step) for step in range(phase.first_step, phase.last_step)]
        assert rates[0] < max(rates) > rates[-1]


def test_the_body_moves_from_the_named_stage_on(network: keras.Model) -> None:
    """Everything before it stands still to the end."""
    names = stages(network)
    middle = names[len(names) // 2]
    _, tuning = phases(recipe(f"transfer={{head_epochs=2, unfreeze_from={middle!r}}}"), network, STEPS)
    assert tuning.frozen == set(names[: names.index(middle)])


def test_an_unknown_stage_is_refused_with_the_nearest(network: keras.Model) -> None:
    """And with all there are."""
    real = stages(network)[2]
    with pytest.raises(RecipeError) as refused:
        phases(recipe(f"transfer={{head_epochs=2, unfreeze_from='{real}x'}}"), network, STEPS)
    assert real in refused.value.message
    assert "Its stages" in refused.value.remedy


def test_a_head_phase_that_leaves_nothing_is_refused() -> None:
    """Both phases have epochs."""
    with pytest.raises(RecipeError, match=r"transfer\.head_epochs 5 leaves none"):
        recipe("transfer={head_epochs=5}")


def test_what_is_frozen_stands_still_and_the_rest_moves(network: keras.Model) -> None:
    """Batch statistics of frozen layers included."""
    wanted = recipe("transfer={head_epochs=2}")
    head, _ = phases(wanted, network, STEPS)
    images = keras.Input((32, 32, 3), dtype="uint8")
    scaled = keras.layers.Rescaling(1 / 255)(images)
    model = keras.Model(images, network(scaled))
    freeze(network, head.frozen)
    try:
        learner = Learner(model, wanted.train, 10)
        before = {v.path: v.numpy() for v in network.variables}
        random = np.random.default_rng(0)
        batch = random.integers(0, 256, (16, 32, 32, 3), np.uint8), np.arange(16, dtype=np.int32) % 10
        learner.advance(iter(tf.data.Dataset.from_tensors(batch)), [0.1])
        moved = {v.path for v in network.variables if not np.array_equal(before[v.path], v.numpy())}
        assert moved
        assert {path.split(".")[0] for path in moved if "seed" not in path} == {"head"}
    finally:
        freeze(network, frozenset())


TRANSFER = (
    "resources.steps_per_execution=1",
    "train.epochs=3",
    "transfer={head_epochs=1, rate_factor=0.5}",
    "resources.checkpoint_minutes=1e-9",
)


def weights(trained: Trained, state: State) -> list[np.ndarray]:
    tracking.connect(state)
    import mlflow

    return [w.numpy() for w in mlflow.tensorflow.load_model(trained.model_uri).weights]


@pytest.mark.slow
def test_two_phases_stand_in_the_curves_and_no_interruption_shows(
    digits: Any, digits_state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped at the border of the phases, then within the second: the weights are those of one sitting."""
    monkeypatch.setattr(fitting, "LOOK_EVERY_SECONDS", 0.0)
    wanted = digits.recipe(*TRANSFER)
    trained = train(wanted, digits.fingerprint, "whole", digits_state)
    assert [epoch.phase for epoch in trained.epochs] == ["head", "fine-tuning", "fine-tuning"]
    assert plots.curves(trained.epochs).startswith(b"\x89PNG")

    real, done = Learner.advance, 0

    def interrupted(self: Learner, *arguments: Any) -> None:
        nonlocal done
        done += 1
        if done in (7, 10):  # an epoch has six steps
            raise KeyboardInterrupt
        real(self, *arguments)

    monkeypatch.setattr(Learner, "advance", interrupted)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train(wanted, digits.fingerprint, "stopped", digits_state)
    again = train(wanted, digits.fingerprint, "stopped", digits_state)
    assert again.resumed_from_epoch == 2
    for one, other in zip(weights(trained, digits_state), weights(again, digits_state), strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_epoch_of_an_older_record_is_of_the_only_phase() -> None:
    """Records that name no phase are read as before."""
    figures = dict.fromkeys(set(Epoch.model_fields) - {"epoch", "phase", "member"}, 0.5)
    assert Epoch(epoch=1, **figures).phase == "training"


CONFIGS = Path(__file__).resolve().parents[3] / "configs"


@pytest.mark.parametrize("name", ["cats_vs_dogs_finetune", "flowers_v3_finetune"])
def test_a_shipped_recipe_names_a_stage_of_its_network(name: str) -> None:
    """Its two phases can be planned, and the second moves less than everything."""
    shipped = config.load(CONFIGS / f"{name}.toml")
    head, tuning = phases(shipped, zoo.outline(shipped.model, 5), STEPS)
    assert "head" not in head.frozen | tuning.frozen
    assert frozenset() < tuning.frozen < head.frozen
