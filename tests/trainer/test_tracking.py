"""The door to MLflow: which store is in use, which run a training gets, and what becomes of it."""

from __future__ import annotations

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from trainer import tracking
from trainer.errors import RegistryError
from trainer.state import State
from trainer.tracking import opening


def run_of(run_id: str) -> Any:
    return MlflowClient().get_run(run_id)


def test_the_store_in_use_is_the_embedded_one_unless_a_server_is_named(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty variable names none."""
    embedded = f"sqlite:///{state.root}/mlflow.db"
    assert tracking.tracking_uri(state) == embedded
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert tracking.tracking_uri(state) == embedded
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    assert tracking.tracking_uri(state) == "http://server:5000"


def test_connecting_points_both_of_mlflows_addresses_at_the_store(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tracking and registry; and MLflow reports to nobody."""
    import mlflow

    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY")
    assert tracking.connect(state) == tracking.tracking_uri(state)
    assert mlflow.get_tracking_uri() == mlflow.get_registry_uri() == tracking.tracking_uri(state)
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_artifacts_of_the_embedded_store_lie_in_the_state_folder(tracked_state: State) -> None:
    """Of the first run ever too: MLflow's default would be the working folder."""
    with tracking.open_run(tracked_state, "e", "k", "n") as run:
        assert run_of(run.run_id).info.artifact_uri.startswith(tracked_state.artifacts.as_uri())


def test_a_server_decides_where_its_artifacts_lie(
    state: State, tmp_path: Path, mlflow_template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state folder of one step is none of its business."""
    other = tmp_path / "server.db"
    other.write_bytes(mlflow_template.read_bytes())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{other}")
    with tracking.open_run(state, "e", "k", "n") as run:
        assert not run_of(run.run_id).info.artifact_uri.startswith(state.root.as_uri())
    assert not state.mlflow_database.exists()


@pytest.mark.parametrize(
    ("error", "status"),
    [(None, "FINISHED"), (ValueError, "FAILED"), (KeyboardInterrupt, "KILLED"), (SystemExit, "FAILED")],
)
def test_a_run_ends_as_the_training_did(error: type[BaseException] | None, status: str, tracked_state: State) -> None:
    """And what ended it goes on its way."""

    def body() -> str:
        with tracking.open_run(tracked_state, "e", "k", "n") as run:
            assert run_of(run.run_id).info.status == "RUNNING"
            if error is not None:
                ids.append(run.run_id)
                raise error
            return run.run_id

    ids: list[str] = []
    if error is None:
        ids.append(body())
    else:
        with pytest.raises(error):
            body()
    found = run_of(ids[0])
    assert found.info.status == status
    assert (found.info.run_name, found.data.tags["run_key"]) == ("n", "k")


def test_unfinished_work_is_found_by_its_run_key(tracked_state: State) -> None:
    """A killed training goes on in its run; other work, and work that ended well, do not."""
    with pytest.raises(KeyboardInterrupt), tracking.open_run(tracked_state, "e", "k", "n") as first:
        raise KeyboardInterrupt
    with tracking.open_run(tracked_state, "e", "another", "n") as other:
        pass
    with tracking.open_run(tracked_state, "e", "k", "n") as second:
        assert run_of(second.run_id).info.status == "RUNNING"
    with tracking.open_run(tracked_state, "e", "k", "n") as third:
        pass
    with tracking.open_run(tracked_state, "f", "k", "n") as elsewhere:
        pass
    assert second.run_id == first.run_id
    assert len({one.run_id for one in (first, other, third, elsewhere)}) == 4


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_a_run_that_was_handed_over_is_left_running(
    error: type[BaseException] | None, tracked_state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the training ended: whoever opened it ends it. No experiment is made."""
    tracking.connect(tracked_state)
    theirs = MlflowClient().create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", theirs)

    def body() -> None:
        with tracking.open_run(tracked_state, "e", "k", "n") as run:
            assert run.joined
            assert (run.run_id, run.experiment_id) == (theirs, "0")
            run.log_metrics({"loss": 0.5}, step=1)
            if error is not None:
                raise error

    if error is None:
        body()
    else:
        with pytest.raises(error):
            body()
    assert run_of(theirs).info.status == "RUNNING"
    assert run_of(theirs).data.metrics == {"loss": 0.5}
    assert [one.name for one in MlflowClient().search_experiments()] == ["Default"]


def test_a_run_that_is_not_there_cannot_be_joined(tracked_state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the store."""
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    with (
        pytest.raises(RegistryError, match=r"store at sqlite:.* refused to open a run: .*0{32}"),
        tracking.open_run(tracked_state, "e", "k", "n"),
    ):
        pytest.fail("there is no such run")


def test_experiments_made_at_once_are_one(tracked_state: State) -> None:
    """Two trainings that start together share it."""
    tracking.connect(tracked_state)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: opening._experiment(tracked_state, "e"), range(8)))
    assert len(set(found)) == 1


def test_a_server_that_is_down_is_an_error(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named, with what to look at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("INCEPTION_PATIENCE", "0.3")
    with (
        pytest.raises(RegistryError, match=f"store at {address} is out of reach: .*Connection refused") as caught,
        tracking.open_run(state, "e", "k", "n"),
    ):
        pytest.fail("nobody answers")
    assert "MLFLOW_TRACKING_URI" in caught.value.remedy


def test_a_store_that_fails_within_a_run_is_an_error_that_can_go_on(
    tracked_state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a surprise: the training has its checkpoints; that the run cannot be ended either does not hide it."""
    import mlflow

    def down(*arguments: Any, **named: Any) -> None:
        raise MlflowException("the server is down")

    def training() -> None:
        with tracking.open_run(tracked_state, "e", "k", "n") as run:
            monkeypatch.setattr(mlflow, "log_metrics", down)
            monkeypatch.setattr(MlflowClient, "set_terminated", down)
            run.log_metrics({"loss": 1.0}, 1)

    with pytest.raises(RegistryError, match="refused to log the training: the server is down") as caught:
        training()
    assert "Run again: the training goes on from its last checkpoint." in caught.value.remedy


def test_parameters_are_flat_and_the_first_stay(tracked_state: State) -> None:
    """Tables by dotted names, values as text of a bounded length; a second sitting adds what is new."""
    with tracking.open_run(tracked_state, "e", "k", "n") as run:
        run.log_params({"a": {"b": {"c": 1}, "d": None}, "long": "x" * 600})
        run.log_params({"a": {"b": {"c": 2}}, "new": True})
    params = run_of(run.run_id).data.params
    assert params == {"a.b.c": "1", "a.d": "None", "long": "x" * 500, "new": "True"}


@pytest.mark.parametrize(
    ("nested", "flat"),
    [
        ({}, {}),
        ({"a": 1}, {"a": 1}),
        ({"a": {"b": 1, "c": {"d": 2}}, "e": [3]}, {"a.b": 1, "a.c.d": 2, "e": [3]}),
        ({"a": {}}, {}),
    ],
)
def test_flatten_joins_names_with_dots(nested: dict[str, Any], flat: dict[str, Any]) -> None:
    """Lists are values."""
    assert tracking.flatten(nested) == flat


def test_figures_and_files_can_be_added_to_a_run_that_has_ended(tracked_state: State, tmp_path: Path) -> None:
    """Which stays ended: the evaluation and the run card come after the training."""
    with tracking.open_run(tracked_state, "e", "k", "n") as run:
        pass
    (tmp_path / "card.html").write_text("<p>card</p>")
    tracking.log_metrics(tracked_state, run.run_id, {"test_accuracy": 0.5})
    tracking.log_card(tracked_state, run.run_id, [tmp_path / "card.html"])
    found = run_of(run.run_id)
    assert found.info.status == "FINISHED"
    assert found.data.metrics == {"test_accuracy": 0.5}
    [card] = tracked_state.artifacts.glob(f"{run.run_id}/artifacts/card/*")
    assert card.read_text() == "<p>card</p>"


def test_what_cannot_be_logged_or_fetched_is_an_error(tracked_state: State, tmp_path: Path) -> None:
    """A run that is not there, a file that is not there, a model that is not there: each is named."""
    with tracking.open_run(tracked_state, "e", "k", "n") as run:
        pass
    nowhere = "0" * 32
    with pytest.raises(RegistryError, match=f"refused figures of run {nowhere}"):
        tracking.log_metrics(tracked_state, nowhere, {"x": 1.0})
    with pytest.raises(RegistryError, match=f"files of run {run.run_id} could not be logged"):
        tracking.log_files(tracked_state, run.run_id, [tmp_path / "absent"], "f")
    with pytest.raises(RegistryError, match="model models:/m-absent cannot be fetched"):
        tracking.download(tracked_state, "models:/m-absent", tmp_path / "model")
