"""What becomes of a training's run and of a registration where the MLflow server fails: all of it is done, once.

A proxy between the client and a real server does the faults (tests/support/faulty_proxy.py). What the server holds
afterwards is held against what it holds after the same deeds without a fault.
"""

from __future__ import annotations

import itertools
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient

from trainer import record, tracking
from trainer.errors import RegistryError
from trainer.register import register
from trainer.registry.mlflow import MlflowRegistry
from trainer.scorecard import Predictions, score
from trainer.state import State

QUICK = ("refuse", "500", "503 after", "lose", "cut")
SLOW = ("hang", "hang after")
NARROW = [pytest.param(fault, marks=[] if fault in ("500", "lose") else pytest.mark.slow) for fault in QUICK]
"""One that is done and one that is not; the others where there is time."""
REGISTER_REQUESTS = 9
_numbers = itertools.count()


@pytest.fixture
def name() -> str:
    """Of a model and an experiment: the tests share the server."""
    return f"troubled-{next(_numbers)}"


def registration(name: str, state: State, address: str) -> record.Registered:
    predictions = Predictions(["a", "b"], np.array([0, 1], np.int32), np.float32([[0.9, 0.1], [0.8, 0.2]]))
    return register(
        MlflowRegistry(address),
        name,
        record.Trained(
            model_uri="gs://bucket/model",
            mlflow_run_id="a" * 32,
            experiment_id="1",
            variant="inception_module",
            image_size=32,
            parameters=1,
            training_parameters=1,
            epochs=[],
            precision="float32",
            device="cpu",
            seconds=1.0,
            resumed_from_epoch=None,
            versions={},
        ),
        record.Evaluated(
            challenger=score(predictions, ["x", "y"], "p.npz"),
            champion=None,
            champion_version=None,
            worst_mistakes=[],
        ),
        record.Checked(
            decision="work",
            reason="r",
            run_key=f"key-of-{name}",
            fingerprint="print",
            config_digest="config",
            code_digest="code",
            recipe="{}",
            source={},
            at=record.now(),
        ),
        record.Prepared(
            fingerprint="print",
            path="data",
            classes=["x", "y"],
            counts={},
            identity_digests={"train": "t" * 64},
            rejected=[],
            rejected_total=0,
            seconds=1.0,
        ),
        state,
    )


def expect_one_version(server: str, name: str) -> None:
    """One, whole, with its alias."""
    [version] = MlflowRegistry(server).versions(name)
    assert (version.version, version.model_uri, version.aliases) == ("1", "gs://bucket/model", ["challenger"])
    assert version.tags["run_key"] == f"key-of-{name}"
    assert version.tags["test_accuracy"] == "0.5"


def test_a_registration_without_faults_asks_this_often(proxy: Any, state: State, name: str, mlflow_server: str) -> None:
    """So that the tests below reach every request."""
    assert registration(name, state, proxy.address).created
    expect_one_version(mlflow_server, name)
    assert len(proxy.requests) == REGISTER_REQUESTS, [str(one) for one in proxy.requests]


@pytest.mark.parametrize("fault", QUICK)
def test_a_registration_gets_past_faults_all_along(
    fault: str, proxy: Any, state: State, name: str, mlflow_server: str
) -> None:
    """Each request fails when it comes for the first time, before or after it was done; one version is there."""
    proxy.each_first(fault)
    assert registration(name, state, proxy.address).version == "1"
    expect_one_version(mlflow_server, name)
    assert len(proxy.requests) > REGISTER_REQUESTS + 4


@pytest.mark.slow
@pytest.mark.parametrize("fault", [*QUICK, *SLOW])
@pytest.mark.parametrize("number", range(REGISTER_REQUESTS))
def test_a_registration_gets_past_a_fault_anywhere(
    number: int, fault: str, proxy: Any, state: State, name: str, mlflow_server: str
) -> None:
    """One fault, at any one of its requests, those that repeat an earlier one too."""
    proxy.at(number, fault)
    assert registration(name, state, proxy.address).version == "1"
    expect_one_version(mlflow_server, name)
    assert len(proxy.requests) > REGISTER_REQUESTS


# ---------------------------------------------------------------- a training's run


@pytest.fixture(scope="module")
def network() -> Any:
    """A small network that takes images of any size."""
    import keras

    images = keras.Input((None, None, 3), dtype="uint8")
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(images))
    return keras.Model(images, keras.layers.Dense(2, activation="softmax")(pooled))


def training(name: str, state: State, network: Any, folder: Path) -> str:
    """Everything that a training says to MLflow, shortly. Returns the model's address."""
    from trainer.train import _signature

    (folder / "curves.png").write_bytes(b"curves")
    with tracking.open_run(state, name, "key", "n") as run:
        run.log_params({"train": {"epochs": 3}, "precision": "float32"})
        with run.stream() as stream:
            stream.log({"loss": 0.5}, 1)
            stream.log({"loss": 0.4}, 2)
        run.log_metrics({"accuracy": 0.25}, 2)
        run.log_params({"compilation": "none"})
        example = np.zeros((1, 8, 8, 3), np.uint8)
        uri = run.log_model(network, _signature(2), example, ["keras"], {"classes": ["a", "b"]})
        tracking.log_files(state, run.run_id, [folder / "curves.png"], "training")
        run.set_tags({"model_uri": uri})
    tracking.log_metrics(state, run.run_id, {"test_accuracy": 0.5})
    tracking.log_card(state, run.run_id, [folder / "curves.png"])
    fetched = tracking.download(state, uri, folder / "fetched")
    assert (fetched / "MLmodel").exists()
    assert (fetched / "data" / "model.keras").stat().st_size > 1000
    return uri


def held(server: str, name: str) -> dict[str, Any]:
    """All that the server has of an experiment, without what differs from one time to the next."""
    client = MlflowClient(tracking_uri=server)
    experiment = client.get_experiment_by_name(name)
    runs = client.search_runs([experiment.experiment_id])
    [run] = runs
    models = client.search_logged_models([experiment.experiment_id])
    figures = {key: client.get_metric_history(run.info.run_id, key) for key in run.data.metrics}
    own = {"mlflow.", "opening", "model_uri"}
    return {
        "status": run.info.status,
        "name": run.info.run_name,
        "params": run.data.params,
        "tags": {key: value for key, value in run.data.tags.items() if not key.startswith(tuple(own))},
        "figures": {key: [(one.step, one.value) for one in history] for key, history in figures.items()},
        "models": [(one.name, str(one.status), one.source_run_id == run.info.run_id, one.params) for one in models],
        "outputs": [one.model_id for one in run.outputs.model_outputs] == [one.model_id for one in models],
        "files": sorted(
            one.path for folder in ("training", "card") for one in client.list_artifacts(run.info.run_id, folder)
        ),
    }


WHOLE: dict[str, Any] = {
    "status": "FINISHED",
    "name": "n",
    "params": {"train.epochs": "3", "precision": "float32", "compilation": "none"},
    "tags": {"run_key": "key", "figures_of": "key"},
    "figures": {"loss": [(1, 0.5), (2, 0.4)], "accuracy": [(2, 0.25)], "test_accuracy": [(0, 0.5)]},
    "models": [
        ("model", "READY", True, {"train.epochs": "3", "precision": "float32", "compilation": "none"}),
    ],
    "outputs": True,
    "files": ["card/curves.png", "training/curves.png"],
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["none", *NARROW])
def test_a_training_gets_past_faults_all_along(
    fault: str, proxy: Any, state: State, name: str, mlflow_server: str, network: Any, tmp_path: Path
) -> None:
    """One run, one model, every figure once, whatever fails when it comes for the first time."""
    if fault != "none":
        proxy.each_first(fault)
    training(name, state, network, tmp_path)
    assert held(mlflow_server, name) == WHOLE


@pytest.mark.parametrize("fault", NARROW)
def test_a_trial_gets_past_faults_all_along(
    fault: str, proxy: Any, state: State, name: str, mlflow_server: str
) -> None:
    """One nested run, although nothing but the try that made it knows its name."""
    with tracking.open_run(state, name, "key", "tuning") as parent:
        proxy.each_first(fault)
        with tracking.open_trial(state, parent.run_id, "trial 1"):
            pass
    client = MlflowClient(tracking_uri=mlflow_server)
    runs = client.search_runs([parent.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.run_id}'")
    assert [(one.info.run_name, one.info.status) for one in runs] == [("trial 1", "FINISHED")]


# ---------------------------------------------------------------- a server that stays away


@pytest.mark.parametrize("fault", [*NARROW, "hang", pytest.param("hang after", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "number", [pytest.param(0, marks=pytest.mark.slow), 4, pytest.param(8, marks=pytest.mark.slow)]
)
def test_a_server_that_stays_away_is_one_error_and_the_next_try_ends_it(
    number: int,
    fault: str,
    proxy: Any,
    state: State,
    name: str,
    mlflow_server: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From the beginning, in the middle, at the end: it names the address, and nothing is there twice afterwards."""
    monkeypatch.setenv("INCEPTION_PATIENCE", "0.2")
    proxy.always(fault, since=number)
    with pytest.raises(RegistryError, match=f"The MLflow store at {proxy.address} is out of reach: ") as caught:
        registration(name, state, proxy.address)
    assert "run again: what was done stays done" in caught.value.remedy
    assert "\n" not in caught.value.message
    proxy.always(None)
    assert registration(name, state, proxy.address).version == "1"
    expect_one_version(mlflow_server, name)


def test_a_training_whose_server_goes_away_fails_in_time_and_goes_on_in_its_run(
    proxy: Any,
    state: State,
    name: str,
    mlflow_server: str,
    network: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the middle of its model's files: what was begun is gone on with, so there is one run and one model."""
    uploading = threading.Event()

    def order(request: Any) -> str | None:
        if request.method == "PUT":
            uploading.set()
        return "503 after" if uploading.is_set() else None

    proxy.order = order
    monkeypatch.setenv("INCEPTION_PATIENCE", "0.2")
    with pytest.raises(RegistryError, match="is out of reach: too many 503 error responses"):
        training(name, state, network, tmp_path)
    assert uploading.is_set()
    proxy.always(None)
    training(name, state, network, tmp_path)
    found = held(mlflow_server, name)
    # Only the stream of a training's figures knows which of them an earlier sitting has logged.
    assert found["figures"].pop("accuracy") == [(2, 0.25)] * 2
    figures = {key: figure for key, figure in WHOLE["figures"].items() if key != "accuracy"}
    assert found == WHOLE | {"figures": figures}


def test_the_command_says_so_without_a_traceback(
    proxy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Two lines: what is wrong with which address, and what to do."""
    from pipelines.cli import main

    monkeypatch.setenv("INCEPTION_PATIENCE", "0")
    proxy.always("500")
    with pytest.raises(SystemExit) as ended:
        main(["lookup", "digits", "--state", str(tmp_path)])
    assert ended.value.code == 1
    said = capfd.readouterr()
    error, remedy = said.err.splitlines()
    assert error.startswith(f"error: The MLflow store at {proxy.address} is out of reach: too many 500 error responses")
    assert "INCEPTION_PATIENCE" in remedy
    assert said.out == ""
