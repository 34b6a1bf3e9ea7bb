"""Training from end to end on real digits: what it leaves, and that no interruption changes the result.

One reference training is made for the module; every interrupted one must end with its weights, to the bit.
"""

from __future__ import annotations

import io
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from trainer import config, record, tracking
from trainer.config import Recipe
from trainer.data.prepared import Split, open_prepared
from trainer.errors import DataError, StateError, TrainingError
from trainer.interruption import PREEMPTED
from trainer.models import zoo
from trainer.record import Trained
from trainer.state import State
from trainer.train import train
from trainer.training import checkpoints
from trainer.training.checkpoints import Checkpoint

STEPS_PER_EPOCH = 6
CHECKPOINT_EVERY_STEP = "resources.checkpoint_minutes=1e-9"
ONE_BY_ONE = "resources.steps_per_execution=1"

INTERRUPTED = """
import os, signal, sys
from trainer import config, train
from trainer.steps import step
from trainer.training import fitting
from trainer.training.learner import Learner

root, recipe, fingerprint, number, at = sys.argv[1:]
fitting.LOOK_EVERY_SECONDS = 0.0  # every step is looked at, and saved
done, real = 0, Learner.advance

def interrupted(self, batches, rates):
    global done
    real(self, batches, rates)
    done += len(rates)
    if done == int(at):
        os.kill(os.getpid(), int(number))

Learner.advance = interrupted
with step("train", root, run_key="k") as state:
    train.train(config.parse(recipe), fingerprint, "k", state)
"""

BEHIND_A_WALL = """
import sys

class Wall:
    def find_spec(self, name, *rest):
        if name.split(".")[0] in ("trainer", "pipelines", "components"):
            raise ImportError(f"{name} is not to be had here")

sys.meta_path.insert(0, Wall())
import mlflow, numpy as np

mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model(sys.argv[2])
for number in range(3):
    images = np.load(f"{sys.argv[3]}/images-{number}.npy")
    np.save(f"{sys.argv[3]}/answer-{number}.npy", model.predict(images))
assert "trainer" not in sys.modules
print("answered", model.metadata.metadata["classes"])
"""


class Reference(NamedTuple):
    state: State
    recipe: Recipe
    trained: Trained
    weights: list[np.ndarray]


def weights(state: State, trained: Trained, folder: Path) -> list[np.ndarray]:
    """Of the model in MLflow, as its file holds them."""
    import keras

    files = tracking.download(state, trained.model_uri, folder / trained.mlflow_run_id)
    model = keras.saving.load_model(files / "data" / "model.keras")
    return [v.numpy() for v in model.weights]


def same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return [array.tobytes() for array in one] == [array.tobytes() for array in other]


def latest(state: State, recipe: Recipe, fingerprint: str) -> Checkpoint | None:
    return checkpoints.opened(recipe, fingerprint, "k", state).latest()


def curves(trained: Trained) -> list[dict[str, float]]:
    """Without what a clock said."""
    return [epoch.model_dump(exclude={"seconds", "images_per_second", "input_wait"}) for epoch in trained.epochs]


def runs_of(state: State, experiment_id: str) -> list[Any]:
    from mlflow import MlflowClient

    tracking.connect(state)
    return list(MlflowClient().search_runs([experiment_id]))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, mlflow_template: Path, digits: Any) -> Reference:
    folder = tmp_path_factory.mktemp("reference")
    state = State.open(folder / "state")
    shutil.copyfile(mlflow_template, state.mlflow_database)
    digits.into(state)
    recipe = digits.recipe()
    trained = train(recipe, digits.fingerprint, "reference", state)
    return Reference(state, recipe, trained, weights(state, trained, folder))


@pytest.fixture
def run(reference: Reference) -> Any:
    """The reference training's run in MLflow."""
    from mlflow import MlflowClient

    tracking.connect(reference.state)
    return MlflowClient().get_run(reference.trained.mlflow_run_id)


# ------------------------------------------------------------------ what it leaves


def test_the_document_says_what_was_trained(reference: Reference) -> None:
    """Network, curves, precision and versions; it is in the run record, and the checkpoints are gone."""
    trained = reference.trained
    assert record.read(reference.state.run("reference"), Trained) == trained
    assert not reference.state.checkpoints("reference").exists()
    network = zoo.build(reference.recipe.model, 10)
    assert trained.parameters == trained.training_parameters == network.count_params()
    assert (trained.variant, trained.image_size, trained.precision) == ("inception_module", 32, "float32")
    assert trained.resumed_from_epoch is None
    assert sorted(trained.versions) == ["keras", "mlflow", "numpy", "python", "tensorflow"]
    assert [epoch.epoch for epoch in trained.epochs] == [1, 2]
    assert trained.epochs[1].loss < trained.epochs[0].loss
    assert all(epoch.learning_rate == 0.002 for epoch in trained.epochs)
    assert trained.seconds == pytest.approx(sum(epoch.seconds for epoch in trained.epochs), rel=1e-6)
    for epoch in trained.epochs:
        assert epoch.images_per_second == pytest.approx(96 / epoch.seconds, rel=1e-6)


def test_the_runs_parameters_are_the_recipe(reference: Reference, run: Any) -> None:
    """Every value by its dotted name, and the precision that was chosen."""
    params = run.data.params
    assert params["recipe.train.epochs"] == "2"
    assert params["recipe.train.optimizer.name"] == "adamw"
    assert params["recipe.model.variant"] == "inception_module"
    assert params["precision"] == "float32"


def test_the_runs_metrics_are_the_curves(reference: Reference, run: Any) -> None:
    """One value per epoch and figure."""
    from mlflow import MlflowClient

    for figure in ("loss", "accuracy", "validation_loss", "validation_accuracy", "images_per_second"):
        history = MlflowClient().get_metric_history(run.info.run_id, figure)
        assert [(one.step, one.value) for one in history] == [
            (epoch.epoch, getattr(epoch, figure)) for epoch in reference.trained.epochs
        ]


def test_the_run_ends_well_and_can_be_found(reference: Reference, run: Any) -> None:
    """By run key, in the experiment that has the model's name."""
    from mlflow import MlflowClient

    assert run.info.status == "FINISHED"
    assert run.info.run_name == "inception_module-referenc"
    assert run.data.tags["run_key"] == "reference"
    assert run.data.tags["model_uri"] == reference.trained.model_uri
    assert MlflowClient().get_experiment(run.info.experiment_id).name == "tiny"
    assert run.info.experiment_id == reference.trained.experiment_id


def test_the_artifacts_lie_in_the_state_folder(reference: Reference, run: Any) -> None:
    """Curves as a picture and the recipe, beside the model; the working folder gets nothing."""
    from mlflow import MlflowClient

    state = reference.state
    assert run.info.artifact_uri.startswith(state.artifacts.as_uri())
    assert not Path("mlruns").exists()
    listed = [file.path for file in MlflowClient().list_artifacts(run.info.run_id, "training")]
    assert listed == ["training/curves.png", "training/recipe.json"]
    kept = state.artifacts / run.info.run_id / "artifacts" / "training"
    assert config.parse((kept / "recipe.json").read_text()) == reference.recipe
    assert Image.open(io.BytesIO((kept / "curves.png").read_bytes())).size[0] > 300


def test_what_the_model_is_judged_by_later_is_left_in_the_run(reference: Reference, digits: Any) -> None:
    """Real images with the answers of the model in memory, which its registered form gives again; and which images of
    every split there were."""
    import mlflow

    from trainer.judging import golden, hygiene, registered_model, training_files

    state, trained = reference.state, reference.trained
    dataset = open_prepared(state.data(digits.fingerprint))
    kept = training_files.fetch(state, trained.mlflow_run_id, training_files.GOLDEN)
    assert kept is not None
    assert kept["answers"].shape == (golden.IMAGES, 10)
    assert np.array_equal(kept["image_0"], dataset.split("test").image(0))
    assert np.array_equal(kept["image_7"], dataset.split("test").image(95))
    assert golden.compare(registered_model.load(state, trained.model_uri), kept, "model").difference < 1e-5
    seen = training_files.fetch(state, trained.mlflow_run_id, training_files.IDENTITIES)
    assert seen is not None
    assert {name: len(one) for name, one in seen.items()} == dict.fromkeys(("train", "validation", "test"), 96)
    assert hygiene.shared(seen, dataset.split("train").identities) == {"train": 96, "validation": 0}
    assert hygiene.shared(seen, dataset.split("test").identities) == {"train": 0, "validation": 0}
    assert mlflow.MlflowClient().get_run(trained.mlflow_run_id).info.status == "FINISHED"


def test_the_logged_model_says_how_to_use_it(reference: Reference, digits: Any) -> None:
    """Signature, a real image as its example, pinned requirements, class names, lineage."""
    import mlflow

    tracking.connect(reference.state)
    info = mlflow.models.get_model_info(reference.trained.model_uri)
    [images], [probabilities] = info.signature.inputs.inputs, info.signature.outputs.inputs
    assert (images.type, images.shape) == (np.dtype("uint8"), (-1, -1, -1, 3))
    assert (probabilities.type, probabilities.shape) == (np.dtype("float32"), (-1, 10))
    assert info.metadata == {
        "classes": [str(digit) for digit in range(10)],
        "run_key": "reference",
        "fingerprint": digits.fingerprint,
        "variant": "inception_module",
        "views_at_once": 1,
    }
    model = mlflow.pyfunc.load_model(reference.trained.model_uri)
    assert np.asarray(model.input_example).shape == (1, 8, 8, 3)
    requirements = Path(mlflow.pyfunc.get_model_dependencies(reference.trained.model_uri)).read_text().split()
    versions = reference.trained.versions
    assert sorted(requirements) == sorted(
        f"{name}=={versions[name]}" for name in ("keras", "mlflow", "numpy", "tensorflow")
    )


def test_the_logged_model_is_the_network_that_was_validated(reference: Reference) -> None:
    """Asked about the validation split it has the accuracy and the loss of the last epoch."""
    import mlflow

    tracking.connect(reference.state)
    model = mlflow.pyfunc.load_model(reference.trained.model_uri)
    split: Split = open_prepared(next(reference.state.root.glob("data/*/"))).split("validation")
    answer = model.predict(split.images(np.arange(len(split))))
    last = reference.trained.epochs[-1]
    assert (answer.argmax(axis=1) == split.labels).mean() == pytest.approx(last.validation_accuracy)
    assert -np.log(answer[np.arange(len(split)), split.labels]).mean() == pytest.approx(last.validation_loss, rel=1e-4)


def test_the_logged_model_loads_where_this_project_is_not(
    reference: Reference, tmp_path: Path, run_python: Callable[..., Any]
) -> None:
    """By plain `mlflow.pyfunc.load_model`, for raw images of any size, and answers as it does here."""
    import mlflow

    random = np.random.default_rng(0)
    batches = [
        random.integers(0, 256, (count, *shape, 3), np.uint8) for count, *shape in ((4, 8, 8), (1, 64, 30), (2, 3, 3))
    ]
    for number, images in enumerate(batches):
        np.save(tmp_path / f"images-{number}.npy", images)
    done = run_python(BEHIND_A_WALL, tracking.tracking_uri(reference.state), reference.trained.model_uri, str(tmp_path))
    assert "answered ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']" in done.stdout, done.stderr
    tracking.connect(reference.state)
    model = mlflow.tensorflow.load_model(reference.trained.model_uri)
    for number, images in enumerate(batches):
        answer = np.load(tmp_path / f"answer-{number}.npy")
        assert answer.dtype == np.float32
        np.testing.assert_allclose(answer, np.asarray(model(images)), atol=1e-6)


def test_progress_is_told(
    digits: Any,
    digits_state: State,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every epoch has its figures in words and as an event; the bar ends at the last step."""
    monkeypatch.setenv("INCEPTION_EVENTS", str(tmp_path / "events"))
    trained = train(digits.recipe(), digits.fingerprint, "k", digits_state)
    events = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    epochs = [event for event in events if event["kind"] == "epoch"]
    assert [(event["epoch"], event["loss"]) for event in epochs] == [(one.epoch, one.loss) for one in trained.epochs]
    bars = [event for event in events if event["kind"] == "progress"]
    assert {(bar["done"], bar["total"]) for bar in bars if bar["done"] % STEPS_PER_EPOCH == 0} == {(6, 12), (12, 12)}
    assert bars[-1]["seconds_left"] == 0
    said = capsys.readouterr().out
    assert "training on CPU" in said
    assert "in float32: the recipe asks for it" in said
    assert f"epoch 2/2  loss {trained.epochs[1].loss:.4f}" in said
    assert "96 images, 6 steps of 16 an epoch, 2 epochs" in said


# ------------------------------------------------------------------ again, and after an interruption


def test_the_same_training_again_gives_the_same_weights(
    reference: Reference, digits: Any, digits_state: State, tmp_path: Path
) -> None:
    """To the bit, with the same curves, in a process that has trained before; another seed gives others."""
    again = train(reference.recipe, digits.fingerprint, "again", digits_state)
    assert same(weights(digits_state, again, tmp_path), reference.weights)
    assert curves(again) == curves(reference.trained)
    other = train(digits.recipe("train.seed=4"), digits.fingerprint, "other", digits_state)
    assert not same(weights(digits_state, other, tmp_path), reference.weights)


def test_a_finished_training_is_not_done_again(reference: Reference, run_python: Callable[..., Any]) -> None:
    """The second call returns what the first did, at once: it does not even import TensorFlow."""
    code = (
        "import sys\n"
        "from trainer import config\n"
        "from trainer.state import State\n"
        "from trainer.train import train\n"
        "trained = train(config.parse(sys.argv[2]), 'f', 'reference', State.open(sys.argv[1]))\n"
        "print(trained.model_uri, 'tensorflow' in sys.modules, 'mlflow' in sys.modules)\n"
    )
    done = run_python(code, str(reference.state.root), reference.recipe.canonical())
    uri = reference.trained.model_uri
    assert done.stdout.splitlines() == [f"trained already: {uri}", f"{uri} False False"], done.stderr


def test_two_at_once_train_once(reference: Reference, state: State) -> None:
    """The second waits for the first and takes what it made."""
    folder = state.run("k")
    folder.mkdir(parents=True)
    found: list[Trained] = []
    second = threading.Thread(target=lambda: found.append(train(reference.recipe, "f", "k", state)))
    with FileLock(folder / "train.lock"):
        second.start()
        time.sleep(0.3)
        assert second.is_alive()
        record.write(folder, reference.trained)
    second.join(10)
    assert found == [reference.trained]


def interrupt(state: State, recipe: Recipe, fingerprint: str, number: signal.Signals, at: int) -> Any:
    """Train in a process of its own, which gets the signal within its optimiser step `at`."""
    return subprocess.run(
        [
            sys.executable,
            "-c",
            INTERRUPTED,
            str(state.root),
            recipe.canonical(),
            fingerprint,
            str(int(number)),
            str(at),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        check=False,
    )


@pytest.mark.parametrize("precision", ["float32", pytest.param("mixed_bfloat16", marks=pytest.mark.slow)])
def test_a_training_killed_within_an_epoch_goes_on_as_if_nothing_had_been(
    precision: str, reference: Reference, digits: Any, digits_state: State, tmp_path: Path
) -> None:
    """SIGKILL in the second epoch: the next call resumes there, in the same MLflow run, to the same last bit."""
    recipe = digits.recipe(ONE_BY_ONE, CHECKPOINT_EVERY_STEP, f"train.precision={precision}")
    dead = interrupt(digits_state, recipe, digits.fingerprint, signal.SIGKILL, STEPS_PER_EPOCH + 3)
    assert dead.returncode == -signal.SIGKILL, dead.stderr
    assert record.find(digits_state.run("k"), Trained) is None
    saved = latest(digits_state, recipe, digits.fingerprint)
    assert saved is not None
    # They are written while the training goes on: the very last one may not have been whole.
    assert saved.position.step in (STEPS_PER_EPOCH + 1, STEPS_PER_EPOCH + 2)
    assert [epoch.epoch for epoch in saved.curves] == [1]

    resumed = train(recipe, digits.fingerprint, "k", digits_state)
    whole = reference.trained, reference.weights
    if precision != "float32":
        uninterrupted = train(recipe, digits.fingerprint, "whole", digits_state)
        whole = uninterrupted, weights(digits_state, uninterrupted, tmp_path)
    assert resumed.resumed_from_epoch == 2
    assert curves(resumed) == curves(whole[0])
    assert same(weights(digits_state, resumed, tmp_path), whole[1])
    [run] = [r for r in runs_of(digits_state, resumed.experiment_id) if r.data.tags.get("run_key") == "k"]
    assert (run.info.run_id, run.info.status) == (resumed.mlflow_run_id, "FINISHED")
    assert not digits_state.checkpoints("k").exists()


def test_a_training_that_is_asked_to_stop_says_so_and_goes_on_later(
    reference: Reference, digits: Any, digits_state: State, tmp_path: Path
) -> None:
    """SIGTERM in the first epoch: status 75, a failure document, an MLflow run that was killed; then the same end."""
    recipe = digits.recipe(ONE_BY_ONE, CHECKPOINT_EVERY_STEP)
    stopped = interrupt(digits_state, recipe, digits.fingerprint, signal.SIGTERM, 4)
    assert stopped.returncode == PREEMPTED, stopped.stderr
    said = "train was preempted at epoch 1, step 4 of 6; a checkpoint was written."
    assert f"train failed: {said}\nRun again: it goes on from here." in stopped.stdout
    assert "Traceback" not in stopped.stdout + stopped.stderr
    failure = record.read(digits_state.run("k"), record.Failure)
    assert failure.message == said
    [killed] = runs_of(digits_state, "1")
    assert killed.info.status == "KILLED"

    resumed = train(recipe, digits.fingerprint, "k", digits_state)
    assert resumed.resumed_from_epoch == 1
    assert resumed.mlflow_run_id == killed.info.run_id
    assert curves(resumed) == curves(reference.trained)
    assert same(weights(digits_state, resumed, tmp_path), reference.weights)


def stop_at(patch: pytest.MonkeyPatch, at: int) -> None:
    """Ctrl-C within optimiser step `at`, every step before it looked at and saved."""
    from trainer.training import fitting
    from trainer.training.learner import Learner

    done, real = 0, Learner.advance

    def advance(self: Learner, batches: Any, rates: Any) -> None:
        nonlocal done
        real(self, batches, rates)
        done += len(rates)
        if done == at:
            raise KeyboardInterrupt

    patch.setattr(fitting, "LOOK_EVERY_SECONDS", 0.0)
    patch.setattr(Learner, "advance", advance)


@pytest.mark.parametrize("damaged", [1, 2])
def test_a_damaged_checkpoint_costs_steps_and_no_more(
    damaged: int,
    reference: Reference,
    digits: Any,
    digits_state: State,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The one before is taken, or the training begins anew where both are damaged; the end is the same."""
    recipe = digits.recipe(ONE_BY_ONE, CHECKPOINT_EVERY_STEP)
    with monkeypatch.context() as patch:
        stop_at(patch, STEPS_PER_EPOCH + 3)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, digits.fingerprint, "k", digits_state)
    for file in sorted(digits_state.checkpoints("k").glob("step-*.safetensors"), reverse=True)[:damaged]:
        file.write_bytes(file.read_bytes()[:1000])
    resumed = train(recipe, digits.fingerprint, "k", digits_state)
    assert capsys.readouterr().out.count("is damaged") == damaged
    assert resumed.resumed_from_epoch == (2 if damaged == 1 else None)
    assert same(weights(digits_state, resumed, tmp_path), reference.weights)


def test_what_a_run_may_use_can_change_between_its_sittings(
    digits: Any, digits_state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The threads, or the precision that `auto` finds: the run key is the same, and MLflow keeps what was first."""
    with monkeypatch.context() as patch:
        stop_at(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            train(digits.recipe(ONE_BY_ONE, "resources.workers=1"), digits.fingerprint, "k", digits_state)
    trained = train(digits.recipe("resources.workers=2"), digits.fingerprint, "k", digits_state)
    [run] = runs_of(digits_state, trained.experiment_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["recipe.resources.workers"] == "1"


# ------------------------------------------------------------------ trouble


@pytest.mark.parametrize("often", [False, True], ids=["at the epoch's end", "looked at every step"])
def test_a_training_that_diverges_stops_with_the_place(
    often: bool, digits: Any, digits_state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Epoch, step and rate are named; no checkpoint holds a number that is none; nothing is logged as a model."""
    from trainer.training import fitting

    if often:
        monkeypatch.setattr(fitting, "LOOK_EVERY_SECONDS", 0.0)
    recipe = digits.recipe('train.optimizer={name="sgd", learning_rate=1e30}', ONE_BY_ONE, CHECKPOINT_EVERY_STEP)
    with pytest.raises(TrainingError) as caught:
        train(recipe, digits.fingerprint, "k", digits_state)
    message = caught.value.message
    assert "diverged: the loss is nan" in message or "diverged: the loss is inf" in message
    assert "at epoch 1, step " in message
    assert "of 6" in message
    assert "at a learning rate of 1e+30" in message
    assert "train.optimizer.learning_rate" in caught.value.remedy
    found = latest(digits_state, recipe, digits.fingerprint)
    for array in found.arrays.values() if found else ():
        assert np.isfinite(array).all()
    [run] = runs_of(digits_state, "1")
    assert run.info.status == "FAILED"
    assert not list(digits_state.artifacts.glob("models/*"))
    assert record.find(digits_state.run("k"), Trained) is None


def test_data_that_is_not_prepared_is_an_error(digits: Any, tracked_state: State) -> None:
    """With the remedy that makes it."""
    with pytest.raises(StateError, match="no prepared dataset at") as caught:
        train(digits.recipe(), "unheard-of", "k", tracked_state)
    assert "Run again" in caught.value.remedy


def test_a_batch_that_is_larger_than_the_split_is_an_error(digits: Any, digits_state: State) -> None:
    """It says how large a batch can be."""
    with pytest.raises(DataError, match="96 images, fewer than one batch of 97") as caught:
        train(digits.recipe("train.batch_size=97"), digits.fingerprint, "k", digits_state)
    assert "train.batch_size to 96 or less" in caught.value.remedy


# ------------------------------------------------------------------ a run that was handed over


def test_a_run_that_was_handed_over_is_joined(
    digits: Any, digits_state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Figures and model go into it, no other run is opened, and it is left running for whoever opened it."""
    from mlflow import MlflowClient

    tracking.connect(digits_state)
    client = MlflowClient()
    experiment = client.create_experiment("theirs", artifact_location=digits_state.artifacts.as_uri())
    theirs = client.create_run(experiment).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", theirs)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", experiment)
    trained = train(digits.recipe(), digits.fingerprint, "k", digits_state)
    assert (trained.mlflow_run_id, trained.experiment_id) == (theirs, experiment)
    run = client.get_run(theirs)
    assert run.info.status == "RUNNING"
    assert run.data.metrics["validation_accuracy"] == trained.epochs[-1].validation_accuracy
    assert run.data.params["recipe.train.epochs"] == "2"
    assert [one.name for one in client.search_experiments()] == ["theirs", "Default"]
    assert len(client.search_runs([experiment])) == 1


# ------------------------------------------------------------------ several networks in one model


def test_an_ensemble_is_one_model_and_goes_on_within_any_of_its_networks(
    digits: Any, digits_state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the second network: the first is not trained again, and the model holds both, to the bit."""
    recipe = digits.recipe(ONE_BY_ONE, "train.members=2", "train.epochs=1")
    whole = train(recipe, digits.fingerprint, "whole", digits_state)
    with monkeypatch.context() as patch:
        stop_at(patch, STEPS_PER_EPOCH + 3)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, digits.fingerprint, "k", digits_state)
    with monkeypatch.context() as patch:
        stop_at(patch, STEPS_PER_EPOCH + 1)  # more than the steps that are left to do
        resumed = train(recipe, digits.fingerprint, "k", digits_state)
    assert [(epoch.member, epoch.epoch) for epoch in resumed.epochs] == [(1, 1), (2, 1)]
    assert (resumed.members, resumed.chosen_epochs) == (2, [1, 1])
    assert resumed.kept_epochs() == resumed.epochs
    assert curves(resumed) == curves(whole)
    assert resumed.parameters == 2 * zoo.outline(recipe.model, 10).count_params()
    assert same(weights(digits_state, resumed, tmp_path), weights(digits_state, whole, tmp_path))
    assert not digits_state.checkpoints("k").exists()


# ------------------------------------------------------------------ options that only some networks have


def test_auxiliary_classifiers_are_trained_and_left_out_of_the_model(digits: Any, digits_state: State) -> None:
    """The document counts both; the model in MLflow is the network without them."""
    recipe = digits.recipe(
        *("model.variant=googlenet", "model.stem=small", "model.auxiliary=true", "train.epochs=1"),
        "train.schedule={name='cosine', warmup_epochs=0.5}",
    )
    trained = train(recipe, digits.fingerprint, "k", digits_state)
    alone = zoo.outline(recipe.model.model_copy(update={"auxiliary": False}), 10).count_params()
    both = zoo.outline(recipe.model, 10).count_params()
    assert (trained.parameters, trained.training_parameters) == (alone, both)
    assert alone < both
    # Three classifiers that know nothing: ln 10 each, two of them at 0.3.
    assert trained.epochs[0].loss == pytest.approx(1.6 * math.log(10), rel=0.25)
    assert trained.epochs[0].validation_loss < 1.3 * math.log(10)
