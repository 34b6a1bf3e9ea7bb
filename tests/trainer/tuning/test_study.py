"""A study on disk: what it proposes, and what becomes of it when processes die."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from optuna.trial import TrialState

from trainer import config
from trainer.errors import StateError
from trainer.state import State
from trainer.tuning import results, space
from trainer.tuning.study import NUMBER, Study, folder_of, name_of, number

RECIPE = config.parse(
    """
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
)
SPACE = space.parse(
    """
    startup_trials = 2
    [parameters]
    "train.optimizer.learning_rate" = { low = 0.0001, high = 0.1, log = true }
    "model.width" = { low = 0.1, high = 1.0 }
    """
)


@pytest.fixture
def study(state: State) -> Study:
    return begun(state)


def begun(state: State) -> Study:
    return Study.begun(state, RECIPE, SPACE, "fingerprint", "code")


def end(study: Study, count: int) -> None:
    """Ask for so many trials and end each with a figure that its values decide."""
    for _ in range(count):
        trial = study.ask()
        results.end_done(study, trial, 1.0 - abs(trial.params["model.width"] - 0.4), 1.0)


def proposals(study: Study) -> dict[int, dict[str, float]]:
    return {number(trial): trial.params for trial in study.trials()}


def test_the_first_trial_is_the_recipe_as_it_is(study: Study) -> None:
    """Where the space has its values: the best is then never worse than what was there."""
    trial = study.ask()
    assert trial.params == {"train.optimizer.learning_rate": 0.003, "model.width": 1.0}
    assert study.recipe(trial).model_dump(exclude={"model": {"width"}}) == RECIPE.model_dump(
        exclude={"model": {"width"}}
    )


def test_a_study_is_found_again_by_recipe_space_and_images(state: State, study: Study) -> None:
    """Another of either is another study; resources are no part of it."""
    end(study, 2)
    assert proposals(begun(state)) == proposals(study)
    names = {
        name_of(RECIPE, SPACE, "fingerprint"),
        name_of(config.parse(RECIPE.canonical(), ["train.epochs=3"]), SPACE, "fingerprint"),
        name_of(RECIPE, SPACE.model_copy(update={"seed": 1}), "fingerprint"),
        name_of(RECIPE, SPACE, "other"),
    }
    assert len(names) == 4
    assert name_of(config.parse(RECIPE.canonical(), ["resources.workers=3"]), SPACE, "fingerprint") == study.name


def test_a_study_that_is_opened_anew_proposes_what_it_would_have_proposed(tmp_path: Path) -> None:
    """At random first, from the results later."""
    whole, broken = State.open(tmp_path / "whole"), State.open(tmp_path / "broken")
    end(begun(whole), 4)
    for _ in range(4):
        end(begun(broken), 1)
    assert proposals(begun(broken)) == proposals(begun(whole))
    assert list(proposals(begun(whole))) == [0, 1, 2, 3]


ASKS = """
import sys, time
from trainer.state import State
from trainer.tuning.study import PROCESS, Study, folder_of, this_process

study = Study(folder_of(State(__import__("pathlib").Path(sys.argv[1])), sys.argv[2]))
trial = study.ask()
trial.report(0.25, 1)
trial.set_user_attr(PROCESS, this_process())
print("asked", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("dead_already", [True, False])
def test_what_a_killed_process_had_in_hand_is_tried_again(state: State, study: Study, dead_already: bool) -> None:
    """Under the same number, with the same values and what was reported; a process that lives still is ended first."""
    end(study, 2)
    with subprocess.Popen(
        [sys.executable, "-c", ASKS, str(state.root), study.name], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "asked\n"
        if dead_already:
            process.kill()
            process.wait()
        lost = proposals(study)[2]
        assert study.retry_abandoned() == 1
        assert not psutil.pid_exists(process.pid)
    assert list(proposals(study)) == [0, 1]
    again = study.ask()
    assert (again.user_attrs[NUMBER], again.params) == (2, lost)
    assert study.recall(again) == {1}
    assert study.retry_abandoned() == 1
    assert study.retry_abandoned() == 0
    assert study.ask().user_attrs[NUMBER] == 2
    assert study.ask().user_attrs[NUMBER] == 3


def test_a_trial_is_put_back_once_even_if_that_is_cut_short(study: Study) -> None:
    """A process that dies between putting it back and marking it leaves one of it, not two."""
    lost = study.ask()
    study.optuna.enqueue_trial(lost.params, {NUMBER: 0})
    study.retry_abandoned()
    waiting = study.optuna.get_trials(states=[TrialState.WAITING])
    assert [trial.user_attrs[NUMBER] for trial in waiting] == [0]


def test_another_process_of_the_same_id_is_left_alone(study: Study) -> None:
    """Ids are used again: this very process is not the one that began the trial."""
    study.ask().set_user_attr("process", [os.getpid(), 1.0])
    assert study.retry_abandoned() == 1


def test_the_best_is_the_first_of_equals_and_was_trained_to_the_end(study: Study) -> None:
    """A pruned trial's figure is one of half a training."""
    assert study.best() is None
    for value in (0.5, 0.75, 0.75):
        results.end_done(study, study.ask(), value, 1.0)
    pruned = study.ask()
    pruned.report(0.99, 1)
    results.end_pruned(study, pruned, "why")
    best = study.best()
    assert best is not None
    assert number(best) == 1


def test_a_loss_is_minimised(state: State) -> None:
    """Where the space judges by it."""
    lossy = SPACE.model_copy(update={"metric": "validation_loss"})
    study = Study.begun(state, RECIPE, lossy, "fingerprint", "code")
    for value in (0.5, 0.25, 0.75):
        results.end_done(study, study.ask(), value, 1.0)
    best = study.best()
    assert best is not None
    assert best.value == 0.25
    assert study.optuna.direction.name == "MINIMIZE"


def test_importance_finds_the_value_that_matters(study: Study) -> None:
    """And says nothing of trials that do not differ."""
    assert study.importance() == {}
    end(study, 10)
    shares = study.importance()
    assert sum(shares.values()) == pytest.approx(1.0)
    assert shares["model.width"] > 0.7
    assert next(iter(shares)) == "model.width"


def test_refusals_teach_the_sampler(study: Study) -> None:
    """To Optuna they are pruned trials, because it learns nothing from failed ones; a crash teaches nothing."""
    for end_as in (
        lambda trial: results.end_refused(study, trial, "no"),
        lambda trial: results.end_failed(study, trial, "diverged", fault_of_values=True),
        lambda trial: results.end_failed(study, trial, "died", fault_of_values=False),
    ):
        end_as(study.ask())
    assert [trial.state for trial in study.trials()] == [TrialState.PRUNED, TrialState.PRUNED, TrialState.FAIL]
    assert [results.tried(study, trial).outcome for trial in study.trials()] == ["refused", "failed", "failed"]


@pytest.mark.parametrize(
    ("pruner", "stops"), [("median", True), ("none", False), ("hyperband", False)], ids=["median", "none", "hyperband"]
)
def test_the_median_stops_what_is_below_it(state: State, pruner: str, stops: bool) -> None:
    """After the first epochs and trials, not before."""
    chosen = SPACE.model_copy(update={"pruner": pruner, "startup_trials": 1, "warmup_epochs": 1})
    study = Study.begun(state, RECIPE, chosen, "fingerprint", "code")
    good = study.ask()
    for epoch in (1, 2, 3):
        good.report(0.9, epoch)
    results.end_done(study, good, 0.9, 1.0)
    bad = study.ask()
    bad.report(0.1, 1)
    assert not bad.should_prune()
    bad.report(0.1, 2)
    assert bool(bad.should_prune()) is stops


def test_a_damaged_study_is_a_state_error(state: State, study: Study) -> None:
    """It says where it lies and what can be done."""
    (study.folder / "study.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StateError) as caught:
        Study(folder_of(state, study.name))
    assert str(study.folder) in caught.value.message
    assert "moved away" in caught.value.remedy


@pytest.mark.parametrize(
    ("keys", "short"),
    [
        (["train.epochs", "model.width"], ["epochs", "width"]),
        (["train.ema.decay", "train.schedule.decay"], ["ema.decay", "schedule.decay"]),
        (["train.optimizer", "train.optimizer.learning_rate"], ["optimizer", "learning_rate"]),
    ],
)
def test_keys_are_shown_by_their_shortest_endings(keys: list[str], short: list[str]) -> None:
    """That tell them apart."""
    assert list(results.short_names(keys).values()) == short
