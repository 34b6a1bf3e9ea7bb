"""The loop itself, on real digits and without MLflow: what decides when it ends, and what it ends with."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from trainer.config import Recipe
from trainer.data.prepared import open_prepared
from trainer.errors import TrainingError
from trainer.interruption import PREEMPTED, Interrupted
from trainer.record import Epoch
from trainer.state import State
from trainer.training import checkpoints, devices, fitting
from trainer.training.fitting import Fitted, Fitting
from trainer.training.observer import Look

STEPS = 6
"""Of an epoch."""
ONE_BY_ONE = "resources.steps_per_execution=1"


class Notebook:
    """An observer that remembers, and that may do something at a step."""

    def __init__(self, at: int = 0, deed: Callable[[], None] = lambda: None) -> None:
        self.looks: list[Look] = []
        self.epochs: list[Epoch] = []
        self._at, self._deed = at, deed

    def looked(self, look: Look) -> None:
        self.looks.append(look)
        if look.step == self._at:
            self._deed()

    def ended(self, epoch: Epoch, look: Look) -> None:
        self.epochs.append(epoch)


@pytest.fixture
def fit(digits: Any, digits_state: State, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Fitted]:
    """Fits a recipe; the same `key` means the same checkpoints. Every step is looked at."""
    monkeypatch.setattr(fitting, "LOOK_EVERY_SECONDS", 0.0)

    def run(recipe: Recipe, key: str = "k", observer: Notebook | None = None, member: int = 1) -> Fitted:
        return Fitting(
            recipe,
            open_prepared(digits_state.data(digits.fingerprint)),
            checkpoints.opened(recipe, digits.fingerprint, key, digits_state),
            observer or Notebook(),
            devices.find(),
            digits_state.cache,
            member,
        ).run()

    return run


def same(one: Fitted, other: Fitted) -> bool:
    return one.weights.keys() == other.weights.keys() and all(
        array.tobytes() == other.weights[path].tobytes() for path, array in one.weights.items()
    )


# ------------------------------------------------------------------ when it ends


def test_early_stopping_ends_with_the_best_epochs_weights(digits: Any, fit: Any) -> None:
    """Nothing counts as better here but the first epoch: two more are waited for, and its weights are kept."""
    rule = 'train.early_stopping={patience=2, min_delta=0.99, metric="validation_accuracy"}'
    stopped = fit(digits.recipe("train.epochs=9", rule))
    assert [epoch.epoch for epoch in stopped.epochs] == [1, 2, 3]
    assert stopped.chosen_epoch == 1
    assert same(stopped, fit(digits.recipe("train.epochs=1"), "one"))


def test_early_stopping_keeps_the_best_epoch_of_a_training_that_is_not_stopped(digits: Any, fit: Any) -> None:
    """Patience outlasts the training, and the weights are still not the last epoch's."""
    rule = 'train.early_stopping={patience=5, min_delta=0.99, metric="validation_accuracy"}'
    whole = fit(digits.recipe(rule))
    assert (len(whole.epochs), whole.chosen_epoch) == (2, 1)
    assert same(whole, fit(digits.recipe("train.epochs=1"), "one"))


def test_without_early_stopping_the_last_epoch_counts(
    digits: Any, fit: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """All epochs are run, and the weights are not those of the one before."""
    whole = fit(digits.recipe())
    assert (len(whole.epochs), whole.chosen_epoch) == (2, 2)
    assert "an epoch, 2 epochs\n" in capsys.readouterr().out
    assert not same(whole, fit(digits.recipe("train.epochs=1"), "one"))
    assert "an epoch, 1 epoch\n" in capsys.readouterr().out


# ------------------------------------------------------------------ what it ends with


def test_a_member_is_the_network_of_its_own_seed(digits: Any, fit: Any) -> None:
    """The second member of an ensemble is, to the bit, what the next seed alone would give."""
    second = fit(digits.recipe(), "second", member=2)
    assert same(second, fit(digits.recipe("train.seed=4"), "alone"))
    assert {epoch.member for epoch in second.epochs} == {2}
    assert not same(second, fit(digits.recipe(), "first"))


@pytest.mark.parametrize("at_once", [4, 100])
def test_steps_in_one_execution_change_nothing(at_once: int, digits: Any, fit: Any) -> None:
    """Whether they divide an epoch or are more than it has."""
    several = fit(digits.recipe(f"resources.steps_per_execution={at_once}"), "several")
    assert same(several, fit(digits.recipe(ONE_BY_ONE), "single"))


def test_averaged_weights_are_what_is_validated_and_what_comes_out(digits: Any, fit: Any) -> None:
    """An average that keeps nearly all of the initial weights knows nothing, though the training itself learns."""
    notebook = Notebook()
    averaged = fit(digits.recipe("train.ema={decay=0.9999, every=12}"), "averaged", notebook)
    plain = fit(digits.recipe(), "plain")
    assert notebook.epochs[-1].loss == pytest.approx(plain.epochs[-1].loss, rel=1e-6)
    assert averaged.epochs[-1].validation_loss != plain.epochs[-1].validation_loss
    assert not same(averaged, plain)


def test_a_finished_fitting_is_not_done_again(digits: Any, fit: Any) -> None:
    """Killed while the model was exported, say: its weights are there, and no step is made."""
    first, notebook = fit(digits.recipe()), Notebook()
    again = fit(digits.recipe(), "k", notebook)
    assert same(first, again)
    assert again.epochs == first.epochs
    assert again.parameters == first.parameters
    assert notebook.looks == []


def test_every_look_says_how_far_it_is(digits: Any, fit: Any) -> None:
    """Steps, epochs, shares; nothing is left at the end."""
    notebook = Notebook()
    fit(digits.recipe(ONE_BY_ONE), "k", notebook)
    assert [look.step for look in notebook.looks] == list(range(1, 2 * STEPS + 1))
    assert [look.epoch for look in notebook.looks] == [1] * STEPS + [2] * STEPS
    assert all(0.0 <= look.input_wait <= 1.0 for look in notebook.looks)
    assert notebook.looks[-1].seconds_left == 0
    assert notebook.epochs[-1].input_wait == notebook.looks[-1].input_wait


# ------------------------------------------------------------------ interruptions


AVERAGED = ("train.ema={decay=0.9}", "train.augment={flip=true, mixup=0.2}")
BEST = ("train.early_stopping={patience=1}", 'train.sampling="balanced"', 'train.class_weights="balanced"')
PHASES = ("transfer.head_epochs=1", "train.ema={decay=0.9}")


@pytest.mark.parametrize(
    ("extra", "at"),
    [
        pytest.param(AVERAGED, 2, id="averaged and mixed, first epoch"),
        pytest.param(BEST, STEPS + 1, id="best epoch, second epoch"),
        pytest.param(PHASES, STEPS, id="two phases, border"),
        *(
            pytest.param(extra, at, marks=pytest.mark.slow)
            for extra, at in ((AVERAGED, STEPS), (AVERAGED, STEPS + 1), (BEST, STEPS), (PHASES, 2), (PHASES, STEPS + 1))
        ),
    ],
)
def test_a_fitting_that_is_asked_to_stop_goes_on_to_the_same_end(
    extra: tuple[str, ...], at: int, digits: Any, fit: Any
) -> None:
    """SIGTERM within a step: a checkpoint of just that step, a status that says try again; then the same last bit."""
    recipe = digits.recipe(ONE_BY_ONE, *extra)
    with pytest.raises(Interrupted) as caught:
        fit(recipe, "k", Notebook(at, lambda: os.kill(os.getpid(), signal.SIGTERM)))
    assert caught.value.status == PREEMPTED
    assert f"epoch {(at - 1) // STEPS + 1}, step {(at - 1) % STEPS + 1} of 6" in str(caught.value)
    notebook = Notebook()
    resumed = fit(recipe, "k", notebook)
    assert notebook.looks[0].step == at + 1
    assert same(resumed, fit(recipe, "whole"))


# ------------------------------------------------------------------ divergence

EXPLODES = 'train.optimizer={name="sgd", learning_rate=1e30}'


def test_a_training_that_diverges_can_go_back_and_try_a_lower_rate(digits: Any, fit: Any) -> None:
    """Twice from the start here, where no checkpoint was made yet; then it is low enough, and the run says it all."""
    settled = fit(digits.recipe(EXPLODES, "train.divergence={restarts=2, rate_factor=1e-16}"))
    assert len(settled.restarts) == 2
    assert "a learning rate of 1e+30" in settled.restarts[0]
    assert "a learning rate of 1e+14" in settled.restarts[1]
    assert "It went on from the start, with 1e-32 of the learning rate" in settled.restarts[1]
    assert [epoch.learning_rate for epoch in settled.epochs] == pytest.approx([1e-2, 1e-2])
    assert all(np.isfinite(array).all() for array in settled.weights.values())


def test_a_training_goes_back_to_its_last_good_checkpoint(
    digits: Any, fit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loss that is no number in the second epoch: the first one stands, the second begins again at a lower rate."""
    from trainer.training.learner import Learner, Score

    real, spoilt = Learner.score, iter([False] * (STEPS + 4) + [True])

    def score(self: Learner) -> Score:
        found = real(self)
        return found._replace(loss=float("nan")) if next(spoilt, False) else found

    monkeypatch.setattr(Learner, "score", score)
    notebook = Notebook()
    settled = fit(digits.recipe(ONE_BY_ONE, "train.divergence={restarts=1, rate_factor=0.25}"), "k", notebook)
    [restart] = settled.restarts
    assert "the loss is nan at epoch 2, step " in restart
    assert f"It went on from the checkpoint after step {STEPS}, with 0.25 of the learning rate." in restart
    assert [epoch.epoch for epoch in settled.epochs] == [1, 2]
    assert [epoch.learning_rate for epoch in settled.epochs] == [0.002, 0.0005]


def test_weights_that_are_no_numbers_are_never_saved(digits: Any, fit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss that was seen came before the step that spoilt them: it is a divergence all the same."""
    from trainer.training.learner import Learner

    real, spoilt = Learner.state, iter([False, True])

    def state(self: Learner) -> dict[str, np.ndarray]:
        found = real(self)
        if next(spoilt, False):
            name = next(name for name in found if name.startswith("model/") and found[name].dtype == np.float32)
            found[name] = np.full_like(found[name], np.nan)
        return found

    monkeypatch.setattr(Learner, "state", state)
    settled = fit(digits.recipe("train.epochs=3", "train.divergence={restarts=1}"))
    [restart] = settled.restarts
    assert f"It went on from the checkpoint after step {STEPS}" in restart
    assert all(np.isfinite(array).all() for array in settled.weights.values())


def test_the_first_of_two_phases_is_not_judged(digits: Any, fit: Any) -> None:
    """A frozen body that gets no better does not end the training before its second phase has begun."""
    rule = 'train.early_stopping={patience=1, min_delta=0.99, metric="validation_accuracy"}'
    fitted = fit(digits.recipe("transfer.head_epochs=3", "train.epochs=6", rule))
    assert [epoch.phase for epoch in fitted.epochs] == ["head"] * 3 + ["fine-tuning"] * 2
    assert fitted.chosen_epoch == 4


def test_a_training_that_keeps_diverging_fails_with_its_last_good_state(digits: Any, fit: Any) -> None:
    """How often it tried, where it could go back to, and what to change."""
    with pytest.raises(TrainingError) as caught:
        fit(digits.recipe(EXPLODES, "train.divergence={restarts=1, rate_factor=0.5}"))
    assert "at a learning rate of 5e+29" in caught.value.message
    assert "The last good state is the start. It was restarted 1 time." in caught.value.message
    assert "train.divergence.restarts" in caught.value.remedy
