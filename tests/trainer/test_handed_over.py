"""Steps on a Kubeflow Pipelines server with its MLflow plugin: every step is handed a run of its own.

The plugin's driver makes a run for every task and sets MLFLOW_TRACKING_URI, MLFLOW_WORKSPACE, MLFLOW_EXPERIMENT_ID,
MLFLOW_RUN_ID and credentials in the task's container; its launcher ends the run. So what the training puts into its run
must be found there by the steps after it, whose variables name others.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from trainer import record, tracking
from trainer.check import check
from trainer.errors import RegistryError
from trainer.evaluate import evaluate
from trainer.prepare import prepare
from trainer.promote import promote
from trainer.register import register
from trainer.registry import opened
from trainer.report import report
from trainer.state import State
from trainer.train import train

TASKS = ("check", "prepare", "train", "evaluate", "register", "promote", "report")


@pytest.fixture
def asked() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A server that knows nothing: its address, and the headers that it was shown."""
    seen: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append({key.lower(): value for key, value in self.headers.items()})
            self.send_error(404)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", seen
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("credentials", "shown"),
    [
        ({"MLFLOW_TRACKING_TOKEN": "open-sesame"}, "Bearer open-sesame"),
        (
            {"MLFLOW_TRACKING_USERNAME": "ali", "MLFLOW_TRACKING_PASSWORD": "sesame"},
            f"Basic {base64.b64encode(b'ali:sesame').decode()}",
        ),
    ],
    ids=["token", "password"],
)
def test_the_server_is_shown_workspace_and_credentials(
    asked: Any, state: State, monkeypatch: pytest.MonkeyPatch, credentials: dict[str, str], shown: str
) -> None:
    """Those of the variables; the embedded store is not made."""
    address, seen = asked
    for name, value in {"MLFLOW_TRACKING_URI": address, "MLFLOW_WORKSPACE": "vision", **credentials}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    with pytest.raises(RegistryError), tracking.open_run(state, "e", "k", "n"):
        pytest.fail("the server knows no run")
    # Whether the server has workspaces is asked without naming one.
    assert {one["authorization"] for one in seen} == {shown}
    assert "vision" in {one.get("x-mlflow-workspace") for one in seen}
    assert not state.mlflow_database.exists()


class Plugin:
    """What the plugin does: a parent run, and one for every task, in an experiment of its own choice."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
        self._environment = monkeypatch
        self.client = MlflowClient(tracking_uri=address)
        self.experiment = self.client.create_experiment("KFP-Default")
        parent = self.client.create_run(self.experiment, run_name="pipeline run").info.run_id
        self.runs = {
            task: self.client.create_run(
                self.experiment, tags={"mlflow.parentRunId": parent}, run_name=task
            ).info.run_id
            for task in TASKS
        }
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", self.experiment)

    def task(self, name: str) -> None:
        """The container of a task begins; the one before is over."""
        before = TASKS[TASKS.index(name) - 1]
        if name != TASKS[0]:
            self.client.set_terminated(self.runs[before], "FINISHED")
        self._environment.setenv("MLFLOW_RUN_ID", self.runs[name])


def pipeline(recipe: Any, state: State, begin: Any) -> record.Outcome:
    """The verbs of all steps, in their order."""
    name = recipe.registry.name
    begin("check")
    registry, ledger = opened(state, name)
    checked = check(recipe, state, registry, ledger, "tick")
    begin("prepare")
    prepared = prepare(recipe.data, checked.fingerprint, state)
    record.write(state.data(checked.fingerprint), prepared)
    key, folder = checked.run_key, state.run(checked.run_key)
    begin("train")
    trained = train(recipe, checked.fingerprint, key, state)
    begin("evaluate")
    evaluated = evaluate(recipe, checked.fingerprint, key, state, registry, ledger)
    begin("register")
    registered = register(registry, name, trained, evaluated, checked, prepared, state, "tick")
    record.write(folder, registered)
    begin("promote")
    record.write(folder, promote(registry, ledger, name, folder, registered, evaluated, recipe.gate, "tick", key))
    begin("report")
    outcome = report(state, "tick", "SUCCEEDED", lambda run, files: tracking.log_card(state, run, files))
    tracking.log_outcome(state, outcome)
    return outcome


@pytest.mark.slow
@pytest.mark.parametrize("handed_over", [True, False])
def test_figures_model_and_card_are_in_one_run(
    handed_over: bool, digits: Any, digits_state: State, mlflow_template: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The training's, whatever the other steps are handed; without the plugin, our own in the model's experiment."""
    if handed_over:
        theirs = tmp_path / "theirs.db"
        theirs.write_bytes(mlflow_template.read_bytes())
        monkeypatch.chdir(tmp_path)  # where this store puts its artifacts
        plugin = Plugin(monkeypatch, f"sqlite:///{theirs}")
    outcome = pipeline(digits.recipe(), digits_state, plugin.task if handed_over else lambda task: None)
    assert outcome.result == "promoted"
    client = MlflowClient()
    run = client.get_run(outcome.mlflow_run_id)
    assert run.data.metrics.keys() >= {"validation_accuracy", "loss"}
    assert run.data.tags["tick"] == "tick"
    assert {"card/card.html", "card/outcome.json"} <= {
        one.path for one in client.list_artifacts(run.info.run_id, "card")
    }
    version = client.get_model_version_by_alias("tiny", "champion")
    assert version.run_id == run.info.run_id
    assert [one.model_id for one in run.outputs.model_outputs] == [version.source.removeprefix("models:/")]
    if handed_over:
        assert run.info.run_id == plugin.runs["train"]
        assert run.info.status == "FINISHED"
        for task in set(TASKS) - {"train"}:
            other = client.get_run(plugin.runs[task])
            assert (other.data.metrics, other.data.params, client.list_artifacts(plugin.runs[task])) == ({}, {}, [])
        assert {one.name for one in client.search_experiments()} == {"KFP-Default", "Default"}
    else:
        assert client.get_experiment(run.info.experiment_id).name == "tiny"
        assert len(client.search_runs([run.info.experiment_id])) == 1
