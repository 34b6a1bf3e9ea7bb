"""A training that is killed at random, again and again, ends with the weights of one that never was.

Everything that has a state is in its recipe: dropout, augmentation, blended images, an average of the weights, early
stopping that keeps the best epoch's. Every sitting is a process of its own, through the step that a cluster would run.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from trainer import record, tracking
from trainer.config import Recipe
from trainer.record import Trained
from trainer.state import State
from trainer.steps import step
from trainer.train import train
from trainer.training.checkpoints import opened

pytestmark = pytest.mark.slow

EPOCHS, STEPS_PER_EPOCH = 4, 6
STATEFUL = (
    f"train.epochs={EPOCHS}",
    "train.optimizer={name='adamw', learning_rate=0.004, weight_decay=0.01}",
    "train.schedule={name='one_cycle'}",
    "train.augment={flip=true, shift=0.1, erase={}, mixup=0.4, cutmix=0.4}",
    "train.ema={decay=0.9, every=2}",
    "train.early_stopping={patience=3}",
    "train.sampling='balanced'",
)
EVERY_STEP = ("resources.checkpoint_minutes=1e-9",)

SITTING = """
import os, signal, sys
from trainer import config
from trainer.steps import step
from trainer.train import train
from trainer.training import fitting
from trainer.training.learner import Learner

root, recipe, fingerprint, number, after = sys.argv[1:]
fitting.LOOK_EVERY_SECONDS = 0.0  # every step is looked at, and saved
done, real = 0, Learner.advance

def interrupted(self, batches, rates):
    global done
    real(self, batches, rates)
    done += len(rates)
    if done == int(after):
        os.kill(os.getpid(), int(number))

Learner.advance = interrupted
with step("train", root, run_key="k") as state:
    train(config.parse(recipe), fingerprint, "k", state)
"""


class Ended(NamedTuple):
    trained: Trained
    weights: list[bytes]


def ended(state: State, trained: Trained, folder: Path) -> Ended:
    """With the weights of the model in MLflow, as its file holds them."""
    import keras

    files = tracking.download(state, trained.model_uri, folder / trained.mlflow_run_id)
    model = keras.saving.load_model(files / "data" / "model.keras")
    return Ended(trained, [v.numpy().tobytes() for v in model.weights])


def curves(trained: Trained) -> list[dict[str, Any]]:
    """Without what a clock said."""
    return [epoch.model_dump(exclude={"seconds", "images_per_second", "input_wait"}) for epoch in trained.epochs]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, mlflow_template: Path, digits: Any) -> Ended:
    """The training that nobody interrupts, with as many steps in one execution as it likes."""
    folder = tmp_path_factory.mktemp("whole")
    state = State.open(folder / "state")
    shutil.copyfile(mlflow_template, state.mlflow_database)
    digits.into(state)
    return ended(state, train(digits.recipe(*STATEFUL, *EVERY_STEP), digits.fingerprint, "k", state), folder)


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    """A step takes SIGTERM over, which would outlive the test."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def sitting(
    state: State, recipe: Recipe, fingerprint: str, number: int, after: int
) -> subprocess.CompletedProcess[str]:
    """Train in a process that gets a signal within its step number `after`, or later while it saves."""
    return subprocess.run(
        [sys.executable, "-c", SITTING, str(state.root), recipe.canonical(), fingerprint, str(int(number)), str(after)],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        check=False,
    )


def step_of(state: State, recipe: Recipe, fingerprint: str) -> int:
    found = opened(recipe, fingerprint, "k", state).latest()
    assert found is not None
    return found.position.step


@pytest.mark.parametrize(
    ("place", "signals"),
    [
        ("folder", [signal.SIGKILL, signal.SIGTERM, signal.SIGKILL]),
        ("bucket", [signal.SIGKILL]),
    ],
)
def test_a_training_that_is_killed_again_and_again_ends_with_the_same_weights(
    place: str,
    signals: list[signal.Signals],
    whole: Ended,
    digits: Any,
    digits_state: State,
    storage: Any,
    tmp_path: Path,
) -> None:
    """To the last bit; SIGTERM loses no step, SIGKILL the one whose checkpoint was under way; a bucket may err."""
    where = tmp_path / "volume" if place == "folder" else "gs://b/checkpoints"
    recipe = digits.recipe(*STATEFUL, *EVERY_STEP, f"resources.checkpoints={where}", "resources.steps_per_execution=1")
    chance = random.Random(seed := random.randrange(1_000_000))
    reached = 0
    for index, number in enumerate(signals):
        left = EPOCHS * STEPS_PER_EPOCH - reached - len(signals) + index
        after = chance.randint(3, max(3, left // (len(signals) - index)))
        if place == "bucket":
            for action in (503, "drop"):
                storage.fault("upload", action)
        dead = sitting(digits_state, recipe, digits.fingerprint, number, after)
        told = f"seed {seed}, sitting {index + 1}, after step {reached} + {after}\n{dead.stdout}\n{dead.stderr}"
        assert "Traceback" not in dead.stderr, told
        if number == signal.SIGKILL:
            assert dead.returncode == -signal.SIGKILL, told
            # The thread that writes may be one checkpoint behind, and may have been killed with it.
            assert step_of(digits_state, recipe, digits.fingerprint) in range(reached + after - 2, reached + after), (
                told
            )
        else:
            assert dead.returncode == 75, told
            at = divmod(reached + after - 1, STEPS_PER_EPOCH)
            preempted = f"train was preempted at epoch {at[0] + 1}, step {at[1] + 1} of 6; a checkpoint was written."
            assert record.read(digits_state.run("k"), record.Failure).message == preempted, told
            assert step_of(digits_state, recipe, digits.fingerprint) == reached + after, told
        reached = step_of(digits_state, recipe, digits.fingerprint)

    with step("train", str(digits_state.root), run_key="k"):
        trained = train(recipe, digits.fingerprint, "k", digits_state)
    assert trained.resumed_from_epoch == reached // STEPS_PER_EPOCH + 1
    assert curves(trained) == curves(whole.trained), seed
    assert trained.chosen_epochs == whole.trained.chosen_epochs
    assert ended(digits_state, trained, tmp_path).weights == whole.weights, seed
    assert record.find(digits_state.run("k"), record.Failure) is None
    assert not (tmp_path / "volume" / "k").exists()
    assert storage.names() == []


def test_the_training_of_these_tests_depends_on_every_state_it_has(
    whole: Ended, digits: Any, digits_state: State, tmp_path: Path
) -> None:
    """A checkpoint that forgets one of them ends elsewhere: the comparison above can fail."""
    from trainer.training import array_file

    recipe = digits.recipe(*STATEFUL, *EVERY_STEP, "resources.steps_per_execution=1")
    dead = sitting(digits_state, recipe, digits.fingerprint, signal.SIGTERM, STEPS_PER_EPOCH + 2)
    assert dead.returncode == 75, dead.stderr
    folder = digits_state.checkpoints("k")
    about = max(folder.glob("*.json"))
    held = json.loads(about.read_text())
    arrays = array_file.read(folder / held["arrays"], held["sha256"])
    seeds = [name for name in arrays if name.endswith("/seed")]
    assert seeds
    arrays |= {name: np.zeros_like(arrays[name]) for name in seeds}
    held["sha256"] = array_file.write(folder / held["arrays"], arrays)
    about.write_text(json.dumps(held))
    trained = train(recipe, digits.fingerprint, "k", digits_state)
    assert curves(trained)[0] == curves(whole.trained)[0]
    assert ended(digits_state, trained, tmp_path).weights != whole.weights
