"""The main job through the installed command, in processes of its own, on real digits."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMAND = str(Path(sys.executable).with_name("inception"))
RECIPE = "configs/digits.toml"
# Small enough for a test, good enough for the threshold.
QUICK = ("train.epochs=8", "gate.threshold=0.9")
# Long enough to be met in the middle.
LONG = ("train.epochs=24", "gate.threshold=0.9")


@pytest.fixture(autouse=True)
def ctrl_c_is_heard() -> Iterator[None]:
    """What a shell starts in the background ignores it, and so would everything that is started here."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def settings(overrides: tuple[str, ...]) -> list[str]:
    return [word for override in overrides for word in ("--set", override)]


@dataclass(frozen=True)
class Place:
    """A state folder with a home folder beside it that nobody is to touch."""

    state: Path
    home: Path

    def environment(self) -> dict[str, str]:
        kept = {
            key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "INCEPTION_", "KFP_"))
        }
        return kept | {"INCEPTION_STATE": str(self.state), "HOME": str(self.home)}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [COMMAND, *arguments],
            cwd=ROOT,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=500)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def run(self, *overrides: str) -> subprocess.CompletedProcess[str]:
        return self.call("run", RECIPE, "--json", *settings(overrides))


def place(folder: Path) -> Place:
    home = folder / "home"
    home.mkdir()
    return Place(folder / "state", home)


@dataclass(frozen=True)
class Story:
    """Three runs after one another in one state folder."""

    place: Place
    first: subprocess.CompletedProcess[str]
    again: subprocess.CompletedProcess[str]
    worse: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    at = place(tmp_path_factory.mktemp("digits"))
    return Story(at, at.run(*QUICK), at.run(*QUICK), at.run(*QUICK, "train.epochs=1"))


def outcome(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_the_first_run_promotes(story: Story) -> None:
    """A model that meets the threshold becomes champion where there is none."""
    first = outcome(story.first)
    assert first["result"] == "promoted"
    assert (first["model"], first["version"], first["champion"]) == ("digits", "1", "1")
    assert first["accuracy"] >= 0.9


def test_progress_goes_to_standard_error(story: Story) -> None:
    """With --json, standard output holds the object alone and standard error tells of steps and epochs."""
    for step in ("check", "prepare", "train", "evaluate", "register", "promote", "report"):
        assert f"{step} done" in story.first.stderr
    assert re.search(r"epoch 8/8 .* images/s", story.first.stderr)


def test_the_second_run_skips_and_says_why(story: Story) -> None:
    """Same images, recipe and code: nothing to do, and the version that was made of them is named."""
    again = outcome(story.again)
    assert again["result"] == "skipped"
    assert "Nothing changed" in again["reason"]
    assert "version 1" in again["reason"]
    assert "train" not in story.again.stderr.split("Nothing changed")[0]


def test_a_worse_challenger_is_registered_and_kept_out(story: Story) -> None:
    """After one epoch the model is worse: version 2 exists, version 1 stays champion, and the reason says why."""
    worse = outcome(story.worse)
    assert worse["result"] == "kept"
    assert (worse["version"], worse["champion"]) == ("2", "1")
    assert "below" in worse["reason"]


def test_lookup_shows_the_champion(story: Story) -> None:
    """`inception lookup` gives version, figures, verdict, fingerprint, run and artifact."""
    found = outcome(story.place.call("lookup", "digits@champion", "--json"))
    assert found["version"] == "1"
    assert found["verdict"] == "promoted"
    assert found["accuracy"] == outcome(story.first)["accuracy"]
    assert found["fingerprint"] == outcome(story.first)["fingerprint"]
    assert found["run_id"] == outcome(story.first)["mlflow_run_id"]
    assert found["model_uri"].startswith("models:/m-")


def test_lookup_shows_the_challenger(story: Story) -> None:
    """The newest version has the alias challenger, whatever became of it."""
    assert outcome(story.place.call("lookup", "digits@challenger", "--json"))["version"] == "2"


def test_models_lists_the_model(story: Story) -> None:
    """`inception models` knows it, with both aliases."""
    [model] = outcome(story.place.call("models", "--json"))["models"]
    assert (model["name"], model["versions"]) == ("digits", 2)
    assert model["champion"]["version"] == "1"


def test_predict_names_classes(story: Story, tmp_path: Path) -> None:
    """`inception predict` reads a picture of any size and names classes with probabilities; its object stands alone."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    pictures, truths = [], []
    for index in range(12):
        pixels = np.round(digits.images[index] * 255 / 16).astype(np.uint8)
        picture = tmp_path / f"{index}.png"
        Image.fromarray(pixels).resize((8 + index, 8 + index)).save(picture)
        pictures.append(str(picture))
        truths.append(str(digits.target[index]))
    answers = outcome(story.place.call("predict", "digits", *pictures, "--json"))["images"]
    assert [answer["image"] for answer in answers] == pictures
    right = sum(answer["classes"][0]["class"] == truth for answer, truth in zip(answers, truths, strict=True))
    assert right >= 10
    assert all(0 <= guess["probability"] <= 1 for answer in answers for guess in answer["classes"])


def test_the_run_card_is_there_and_in_mlflow(story: Story) -> None:
    """The card lies in the run record, stands alone, and is an artifact of the MLflow run."""
    first = outcome(story.first)
    card = Path(first["card"])
    assert "promoted" in card.read_text(encoding="utf-8").lower()
    [published] = story.place.state.glob(f"artifacts/{first['mlflow_run_id']}/artifacts/card/{card.name}")
    assert json.loads(published.with_name("outcome.json").read_text()) == first


def test_nothing_is_written_outside_the_state_folder(story: Story) -> None:
    """No library leaves a cache or a setting in the home folder."""
    assert [str(path) for path in story.place.home.rglob("*")] == []


def test_the_orchestrator_leaves_nothing_behind(story: Story) -> None:
    """What kfp needs during a run goes with the run."""
    assert list((story.place.state / "kfp").iterdir()) == []


def wait_for(process: subprocess.Popen[str], pattern: str) -> str:
    """Read the process' standard error until a line matches."""
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if re.search(pattern, line):
            return line
    raise AssertionError(f"{pattern!r} never came: {''.join(seen)}")


def start_training(at: Place) -> subprocess.Popen[str]:
    return at.start("run", RECIPE, "--json", *settings(LONG))


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """SIGKILL of every process in the middle of the training: nothing is registered, and the next run resumes."""
    at = place(tmp_path)
    process = start_training(at)
    wait_for(process, r"epoch 5/24")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert outcome(at.call("models", "--json"))["models"] == []
    done = at.run(*LONG)
    assert outcome(done)["result"] == "promoted"
    assert "resuming after epoch" in done.stderr
    assert "epoch 4/24" not in done.stderr


@pytest.mark.slow
def test_an_interrupted_run_stops_clean(tmp_path: Path) -> None:
    """SIGTERM, then Ctrl-C of the run that goes on: status 130, one message with the remedy, no process left; the third
    completes."""
    at = place(tmp_path)
    for stop, epoch in ((signal.SIGTERM, 2), (signal.SIGINT, 6)):
        process = start_training(at)
        wait_for(process, rf"epoch {epoch}/24")
        process.send_signal(stop)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 130
        assert "goes on where it stopped" in err
        assert "Traceback" not in err
        assert json.loads(out)["error"] == "Interrupted."
        time.sleep(0.5)
        left = subprocess.run(["pgrep", "-g", str(process.pid)], capture_output=True, text=True, check=False).stdout
        assert left.split() == []
    done = at.run(*LONG)
    assert outcome(done)["result"] == "promoted"
    assert "epoch 5/24" not in done.stderr


BAD_CALLS = {
    "missing recipe": (("run", "configs/digit.toml"), 2, "configs/digits.toml"),
    "wrong key": (("run", RECIPE, "--set", "train.epohcs=3"), 2, "epochs"),
    "unknown variant": (("run", RECIPE, "--set", "model.variant=googlnet"), 2, "googlenet"),
    "unknown source": (("run", RECIPE, "--set", "data.source=folders:x"), 2, "folder"),
    "unreadable folder": (("run", RECIPE, "--set", "data.source=folder:no/such/folder"), 1, "no/such/folder"),
    "unknown dataset": (("run", RECIPE, "--set", "data.source=tfds:cifr10"), 1, "cifar10"),
    "unknown model": (("lookup", "nobody"), 1, "nobody"),
    "bad reference": (("lookup", "a@b@c"), 2, "NAME@champion"),
    "unknown command": (("lokup",), 2, "lookup"),
}


@pytest.mark.parametrize(("arguments", "status", "hint"), BAD_CALLS.values(), ids=BAD_CALLS)
def test_a_mistake_gets_one_message_with_the_remedy(
    tmp_path: Path, arguments: tuple[str, ...], status: int, hint: str
) -> None:
    """The status says whose fault it is, the message what to do, and there is no traceback."""
    at = place(tmp_path)
    at.state.mkdir()
    done = at.call(*arguments)
    said = done.stdout + done.stderr
    assert done.returncode == status, said
    assert hint in said
    assert "Traceback" not in said


def test_debug_shows_the_traceback_of_a_failed_step(tmp_path: Path) -> None:
    """What failed in a step's own process is shown too."""
    done = place(tmp_path).call("run", RECIPE, "--set", "data.source=folder:no/such/folder", "--debug")
    assert done.returncode == 1
    assert "Traceback" in done.stdout + done.stderr


def test_a_state_that_is_a_file_is_refused(tmp_path: Path) -> None:
    """The message names the path and the option that mends it."""
    at = place(tmp_path)
    at.state.write_text("not a folder")
    done = at.call("run", RECIPE)
    assert done.returncode == 1
    assert "--state" in done.stderr
    assert "Traceback" not in done.stderr


def test_reading_makes_no_state(tmp_path: Path) -> None:
    """A mistyped --state is an error, not a new and empty installation."""
    at = place(tmp_path)
    done = at.call("models")
    assert done.returncode == 1
    assert "no state folder" in done.stderr
    assert not at.state.exists()


@pytest.mark.slow
def test_two_first_runs_at_once_make_one_version(tmp_path: Path) -> None:
    """The same work in the same empty folder: both end well, and nothing is doubled."""
    at = place(tmp_path)
    words = ["run", RECIPE, "--json", *settings((*QUICK, "train.epochs=2", "gate.threshold=0.5"))]
    both = [at.start(*words) for _ in range(2)]
    for process in both:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        assert json.loads(out)["version"] == "1"
    [model] = outcome(at.call("models", "--json"))["models"]
    assert model["versions"] == 1
    assert len(json.loads((at.state / "ledger" / "digits.json").read_text())["entries"]) == 1


def test_a_first_run_killed_while_it_makes_the_store_is_healed(tmp_path: Path) -> None:
    """MLflow makes its database by many migrations; one that was killed among them is not taken for a whole one."""
    at = place(tmp_path)
    process = at.start("run", RECIPE, "--json", *settings(QUICK))
    deadline = time.monotonic() + 60
    while not (at.state / ".mlflow.db.new").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (at.state / "mlflow.db").exists()
    assert outcome(at.call("models", "--json"))["models"] == []
