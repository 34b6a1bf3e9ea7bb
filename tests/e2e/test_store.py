"""Steps without a common volume: every one in a state folder of its own, an object store between them, and faults."""

from __future__ import annotations

import json
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_storage as server
import pods as cluster
import pytest
from click.testing import CliRunner

from trainer import config

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
RECIPE = Path(__file__).parents[2] / "configs" / "digits.toml"
# Checkpoints as often as can be: the training is to be met between two of them.
QUICK = [
    "train.epochs=8",
    "gate.threshold=0.3",
    "resources.checkpoint_minutes=0.0001",
    "evaluate.latency=false",
    "evaluate.resamples=0",
]


@dataclass(frozen=True)
class Story:
    """The same work twice: in one state folder, undisturbed; and in pods, through faults, with a killed training."""

    plain: dict[str, Any]
    shared: dict[str, Any]
    again: dict[str, Any]
    storage: Any
    pods: Any
    left: list[str]
    """Names of the checkpoints that the killed training had written."""

    @property
    def said(self) -> str:
        return "\n".join(self.pods.said)


def tracking(folder: Path, template: Path) -> str:
    """The address of an MLflow database for the model `digits`, with its artifacts beside it."""
    from mlflow.tracking import MlflowClient

    folder.mkdir()
    shutil.copyfile(template, folder / "mlflow.db")
    address = f"sqlite:///{folder}/mlflow.db"
    MlflowClient(tracking_uri=address).create_experiment("digits", artifact_location=(folder / "artifacts").as_uri())
    return address


class Killed(cluster.Pods):
    """The first training is killed as soon as a checkpoint of it is whole; faults wait for every step."""

    storage: Any
    left: list[str]

    def step(self, name: str, **given: Any) -> Any:
        for operation, action in (
            *(("upload", action) for action in (429, 503, "drop", "lose")),
            *(("download", action) for action in (500, "drop", "truncate", "corrupt")),
            *(("list", action) for action in (503, "drop")),
        ):
            self.storage.fault(operation, action)
        if name == "train" and not self.left:
            self._kill(self.start(name, **given))
        return super().step(name, **given)

    def _kill(self, process: Any) -> None:
        while not self.left:
            time.sleep(0.005)
            if process.poll() is not None:
                raise cluster.StepFailed(process.communicate()[0])
            self.left += [name for name in self.storage.names() if "/checkpoints/" in name and name.endswith(".json")]
        process.kill()
        self.said.append(process.communicate()[0])


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, mlflow_template: Path) -> Any:
    folder = tmp_path_factory.mktemp("store")
    recipe = config.load(str(RECIPE), QUICK).canonical()
    handler = signal.getsignal(signal.SIGTERM)  # a step takes it over
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", tracking(folder / "one", mlflow_template))
        plain = cluster.OneMachine(folder / "alone", {}).run(recipe, "t1")
    signal.signal(signal.SIGTERM, handler)
    storage = server.Storage("b")
    with server.serving(storage) as address:
        variables = {
            "STORAGE_EMULATOR_HOST": address,
            "INCEPTION_STORE": "gs://b/team",
            "MLFLOW_TRACKING_URI": tracking(folder / "two", mlflow_template),
        }
        pods = Killed(folder / "pods", variables)
        pods.storage, pods.left = storage, []
        shared = pods.run(recipe, "t1")
        again = pods.run(recipe, "t2")
        yield Story(plain, shared, again, storage, pods, pods.left)


def test_the_verdict_is_that_of_one_machine(story: Story) -> None:
    """To the last figure, although every step began with an empty folder and the training was killed."""
    assert story.shared["result"] == "promoted", story.said
    for key in ("result", "reason", "model", "version", "accuracy", "champion", "run_key", "fingerprint"):
        assert story.shared[key] == story.plain[key]


def test_a_killed_training_goes_on_from_the_store(story: Story) -> None:
    """In another pod, from the last whole checkpoint, once the killed one was silent for long enough."""
    assert story.left
    assert "nothing was heard from" in story.said
    trained = json.loads(story.storage.objects["b", f"team/runs/{story.shared['run_key']}/train.json"].content)
    assert trained["resumed_from_epoch"] is not None


def test_nothing_is_forgotten_before_its_successor_is_there(story: Story) -> None:
    """Checkpoints go after the training's document has come, the ledger comes after the verdict that it remembers."""
    asked = story.storage.asked
    run = f"team/runs/{story.shared['run_key']}"
    last = {asked: place for place, asked in enumerate(asked)}
    first = {asked: place for place, asked in reversed(list(enumerate(asked)))}
    gone = max(place for (operation, name), place in last.items() if operation == "delete" and "/checkpoints/" in name)
    assert first["upload", f"{run}/train.json"] < gone
    [verdict] = [name for name in story.storage.names() if name.startswith(f"{run}/verdict-")]
    assert first["upload", verdict] < first["upload", "team/ledger/digits.json"]


def test_the_second_tick_is_skipped(story: Story) -> None:
    """Nothing is trained, nothing is fetched of the images."""
    assert story.again["result"] == "skipped"
    assert story.again["version"] == "1"


def test_the_store_holds_what_a_state_folder_does(story: Story) -> None:
    """Records, ticks, cards, the ledger and one dataset; checkpoints, leases and what was half sent are gone."""
    run = f"team/runs/{story.shared['run_key']}"
    names = story.storage.names()
    for name in (f"{run}/card.html", f"{run}/evaluate.json", "team/ledger/digits.json", "team/ticks/t2/outcome.json"):
        assert name in names
    assert not [name for name in names if name.startswith(("team/checkpoints/", "team/leases/"))]
    assert len([name for name in names if name.endswith("images.npy")]) == 3
    assert len([name for name in names if name.startswith("team/data/")]) == 1 + 1 + 1 + 2 * 3


def test_the_card_is_found_from_anywhere(story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`inception report` on a machine that has seen none of it lists the runs, and names a card that is there."""
    from pipelines.cli import cli

    monkeypatch.setenv("INCEPTION_STORE", "gs://b/team")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", story.storage.address)
    listed = CliRunner().invoke(cli, ["report", "--state", str(tmp_path / "laptop"), "--json"])
    assert listed.exit_code == 0, listed.output
    [run] = json.loads(listed.stdout)["runs"]
    assert (run["result"], run["accuracy"]) == ("promoted", story.plain["accuracy"])
    assert (tmp_path / "laptop" / run["card"]).is_file()
    shown = CliRunner().invoke(cli, ["report", "latest", "--state", str(tmp_path / "laptop"), "--json"])
    assert "Accuracy" in Path(json.loads(shown.stdout)["card"]).read_text()
