"""The verb `tune`, with real workers that train tiny networks on real digits.

One study is made for the module; the tests look at what it left.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from trainer import config
from trainer.config import Recipe
from trainer.errors import TrainingError, UsageError
from trainer.events import EVENTS_VARIABLE
from trainer.state import State
from trainer.tune import tune
from trainer.tuning import space
from trainer.tuning.results import Tuned
from trainer.tuning.space import Space

OVERRIDES = ("train.epochs=3", "train.micro_batch_size=8")
SPACE = """
startup_trials = 1
[parameters]
train.optimizer.learning_rate = { choices = [0.002, 1e-9] }
train.batch_size = { choices = [16, 12] }
train.micro_batch_size = { choices = [8, 6] }
"""
"""Eight combinations: in half of them the parts do not fill the batch, and half of the others learn nothing."""
TRIALS = 12


@dataclass(frozen=True)
class Told:
    """A study, and what was said while it was made."""

    state: State
    recipe: Recipe
    space: Space
    tuned: Tuned
    events: list[dict[str, Any]]
    log: Path

    def again(self, trials: int, **options: Any) -> Tuned:
        return tune(self.recipe, self.space, trials, self.state, self.log, **options)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, digits: Any, mlflow_template: Path) -> Iterator[Told]:
    folder = tmp_path_factory.mktemp("tuning")
    state = State.open(folder / "state")
    shutil.copyfile(mlflow_template, state.mlflow_database)
    digits.into(state)
    # Who looked at the test split would not find it.
    shutil.rmtree(state.data(digits.fingerprint) / "test")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(EVENTS_VARIABLE, str(folder / "events.jsonl"))
        recipe, varied = digits.recipe(*OVERRIDES), space.parse(SPACE)
        tuned = tune(recipe, varied, TRIALS, state, folder / "log", output=folder / "mine.toml")
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    return Told(state, recipe, varied, tuned, events, folder / "log")


def test_there_are_as_many_trials_as_were_asked_for(told: Told) -> None:
    """Numbered from 0, the first of them the recipe as it is."""
    assert [trial.number for trial in told.tuned.trials] == list(range(TRIALS))
    assert told.tuned.trials[0].parameters == {
        "train.optimizer.learning_rate": 0.002,
        "train.batch_size": 16,
        "train.micro_batch_size": 8,
    }


def test_every_trial_ends_as_its_values_deserve(told: Told) -> None:
    """What the recipe refuses is not trained, what learns nothing is stopped, the recipe as it is was the first."""
    outcomes = set()
    for trial in told.tuned.trials:
        batch, part = trial.parameters["train.batch_size"], trial.parameters["train.micro_batch_size"]
        if batch % part:
            assert (trial.outcome, trial.epochs, trial.value) == ("refused", 0, None)
            assert f"micro_batch_size {part} does not divide batch_size {batch}" in trial.reason
        elif trial.parameters["train.optimizer.learning_rate"] == 1e-9:
            assert (trial.outcome, trial.epochs) == ("pruned", 2)
            assert "after epoch 2 of 3" in trial.reason
        outcomes.add(trial.outcome)
    assert told.tuned.trials[0].outcome == "done"
    assert outcomes == {"done", "pruned", "refused"}


def test_equal_values_are_trained_once(told: Told) -> None:
    """A trial that proposes what was trained before has its figure, and names it."""
    first = told.tuned.trials[0]
    others = [trial for trial in told.tuned.trials[1:] if trial.parameters == first.parameters]
    assert others
    assert {trial.value for trial in others} == {first.value}
    assert {trial.reason for trial in others} == {"as trial 0, which had these values"}


def test_the_best_recipe_is_that_of_the_best_trial(told: Told) -> None:
    """As a recipe file, in the study's folder and where it was asked for; the comments say what it is."""
    best = max((trial for trial in told.tuned.trials if trial.outcome == "done"), key=lambda trial: trial.value or 0.0)
    assert (told.tuned.best, told.tuned.value) == (best.number, best.value)
    expected = config.parse(told.recipe.canonical(), [f"{key}={value}" for key, value in best.parameters.items()])
    for path in (Path(told.tuned.folder) / "best.toml", told.log.with_name("mine.toml")):
        assert config.load(path) == expected
        text = path.read_text()
        assert text.startswith(f"# inception run {path}\n# Trial {best.number} of the study {told.tuned.study}")
        assert f"validation_accuracy {best.value:.4f}" in text
        assert "limit" in text.splitlines()[-1] or "96 images a split" in text
    assert told.tuned.recipe == str(told.log.with_name("mine.toml"))


class Silent:
    def looked(self, look: Any) -> None: ...

    def ended(self, epoch: Any, look: Any) -> None: ...


def test_a_trials_figures_are_those_of_its_recipe_trained_alone(told: Told, tmp_path: Path) -> None:
    """To the last bit, whatever its process trained before."""
    from trainer.data.prepared import open_prepared
    from trainer.training import devices
    from trainer.training.checkpoints import Checkpoints
    from trainer.training.fitting import Fitting

    last = [trial for trial in told.tuned.trials if trial.epochs][-1]
    assert last.number > 0
    alone = config.parse(told.recipe.canonical(), [f"{key}={value}" for key, value in last.parameters.items()])
    [data] = [path for path in (told.state.root / "data").iterdir() if path.is_dir()]
    fitting = Fitting(alone, open_prepared(data), Checkpoints(tmp_path, {}), Silent(), devices.find(), told.state.cache)
    epochs = fitting.run().epochs
    client = MlflowClient(f"sqlite:///{told.state.mlflow_database}")
    losses = client.get_metric_history(last.mlflow_run_id, "validation_loss")
    assert [loss.value for loss in losses] == [epoch.validation_loss for epoch in epochs[: last.epochs]]


def test_nothing_is_registered_and_no_run_record_is_left(told: Told) -> None:
    """A tuning makes a recipe, no model; and its checkpoints are gone."""
    client = MlflowClient(f"sqlite:///{told.state.mlflow_database}")
    assert client.search_registered_models() == []
    assert {path.name for path in told.state.root.iterdir()} <= {
        "mlflow.db",
        ".mlflow.lock",
        "artifacts",
        "cache",
        "data",
        "tuning",
    }
    assert not any((Path(told.tuned.folder) / "checkpoints").iterdir())


def test_trials_are_nested_runs_with_their_curves(told: Told) -> None:
    """One for every trial that was trained; the parent has pictures, table and best recipe."""
    client = MlflowClient(f"sqlite:///{told.state.mlflow_database}")
    parent = client.get_run(told.tuned.mlflow_run_id)
    nested = client.search_runs([parent.info.experiment_id], f"tags.mlflow.parentRunId = '{parent.info.run_id}'")
    trained = {trial.mlflow_run_id: trial for trial in told.tuned.trials if trial.epochs}
    assert {run.info.run_id for run in nested} == trained.keys()
    for run in nested:
        trial = trained[run.info.run_id]
        assert run.info.status == "FINISHED"
        assert run.data.tags["outcome"] == trial.outcome
        assert run.data.params["train.batch_size"] == str(trial.parameters["train.batch_size"])
        history = client.get_metric_history(run.info.run_id, "validation_accuracy")
        assert [metric.step for metric in history] == list(range(1, trial.epochs + 1))
    assert parent.data.metrics["best_validation_accuracy"] == told.tuned.value
    files = {Path(file.path).name for file in client.list_artifacts(parent.info.run_id, "tuning")}
    importance = {"importance.png"} if told.tuned.importance else set()
    assert files == {"best.toml", "tuning.json", "history.png", "curves.png"} | importance


def test_what_happens_is_told(told: Told) -> None:
    """The beginning, the progress of every trial, and how each ended."""
    kinds = [event["kind"] for event in told.events]
    assert kinds.index("study") < kinds.index("trial")
    assert any(event["kind"] == "progress" and event.get("number") == 0 for event in told.events)
    ended = [event for event in told.events if event["kind"] == "trial" and event["outcome"] != "running"]
    assert [event["number"] for event in ended] == list(range(TRIALS))
    assert all(event["line"].startswith(f"trial {event['number']}  ") for event in ended)


def test_a_finished_tuning_is_not_done_again(told: Told) -> None:
    """Asked for no more, it prints what it has; at once, without a worker."""
    before = told.log.read_bytes()
    again = told.again(TRIALS)
    assert again.trials == told.tuned.trials
    assert told.log.read_bytes() == before


def test_a_recipe_that_takes_nothing_of_the_space_is_refused_before_anything_is_prepared(
    state: State, digits: Any, tmp_path: Path
) -> None:
    """No data, no study, no run."""
    bad = space.parse("[parameters]\nmodel.widht = { low = 0.1, high = 0.2 }")
    with pytest.raises(UsageError):
        tune(digits.recipe(), bad, 1, state, tmp_path / "log")
    assert not (state.root / "data").exists()
    assert not (state.root / "tuning").exists()


DIES = """
import os, pathlib, sys
if "trainer.tuning.worker" in sys.orig_argv:
    {condition}
        os.kill(os.getpid(), 9)
"""


def dying_workers(folder: Path, condition: str) -> str:
    """A PYTHONPATH under which workers are killed as they start, as they are where memory is short."""
    (folder / "sitecustomize.py").write_text(DIES.format(condition=condition))
    return str(folder)


def test_trial_after_trial_that_fails_ends_the_tuning(
    digits_state: State, digits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three through no fault of their values: the next would fail too."""
    monkeypatch.setenv("PYTHONPATH", dying_workers(tmp_path, "if True:"))
    varied = space.parse("[parameters]\nmodel.width = { low = 0.1, high = 0.2 }")
    with pytest.raises(TrainingError) as caught:
        tune(digits.recipe(), varied, 5, digits_state, tmp_path / "log")
    assert "3 trials failed, one after the other" in caught.value.message
    assert "killed" in caught.value.message
    assert str(tmp_path / "log") in caught.value.remedy


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_its_trial_and_no_other(
    digits_state: State, digits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two at once, too; another takes its place. More trials later go on in the same study and the same run."""
    marker = tmp_path / "died"
    condition = f"if not os.path.exists({str(marker)!r}) and not pathlib.Path({str(marker)!r}).touch():"
    monkeypatch.setenv("PYTHONPATH", dying_workers(tmp_path, condition))
    varied = space.parse("[parameters]\nmodel.width = { low = 0.1, high = 0.2 }")
    tuned = tune(digits.recipe("train.epochs=1"), varied, 3, digits_state, tmp_path / "log", parallel=2)
    assert sorted(trial.outcome for trial in tuned.trials) == ["done", "done", "failed"]
    assert [trial.number for trial in tuned.trials] == [0, 1, 2]
    [failed] = [trial for trial in tuned.trials if trial.outcome == "failed"]
    assert "its process was killed" in failed.reason

    more = tune(digits.recipe("train.epochs=1"), varied, 4, digits_state, tmp_path / "log")
    assert more.trials[:3] == tuned.trials
    assert more.trials[3].outcome == "done"
    assert more.mlflow_run_id == tuned.mlflow_run_id
