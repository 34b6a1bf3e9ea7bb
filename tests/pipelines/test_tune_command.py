"""`inception tune` as it is typed: bad input, a kill in the middle, and what it prints."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipelines.cli import _status
from trainer import config
from trainer.card.recipe_text import as_toml
from trainer.state import State

ROOT = Path(__file__).resolve().parents[2]
COMMAND = str(Path(sys.executable).with_name("inception"))
DIGITS = str(ROOT / "configs" / "digits.toml")
SPACE = "[parameters]\ntrain.optimizer.learning_rate = { low = 0.001, high = 0.01 }\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["configs/digit.toml", "--space", "{space}", "--trials", "1"], "There is no recipe at 'configs/digit.toml'."),
        ([DIGITS, "--space", "elsewhere.toml", "--trials", "1"], "There is no space at 'elsewhere.toml'."),
        ([DIGITS, "--space", "{space}", "--trials", "0"], "0 is not in the range x>=1."),
        ([DIGITS, "--space", "{space}", "--trials", "1", "--parallel", "0"], "0 is not in the range x>=1."),
        ([DIGITS, "--space", "{space}"], "Missing option '--trials'"),
        ([DIGITS, "--trials", "1"], "Missing option '--space'"),
        ([DIGITS, "--space", "{space}", "--trials", "1", "--set", "model.widht=1"], "Did you mean 'width'?"),
        ([DIGITS, "--space", "{bad}", "--trials", "1"], "Did you mean 'train.optimizer.learning_rate'?"),
    ],
)
def test_wrong_use_ends_with_status_2_and_says_what_to_do(
    arguments: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is prepared."""
    files = {"space": SPACE, "bad": SPACE.replace("rate", "rat")}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    words = [word.format(**{name: tmp_path / name for name in files}) for word in arguments]
    assert _status(["tune", *words, "--state", str(tmp_path / "state")]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "state" / "data").exists()


def lines_until(process: subprocess.Popen[str], start: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(start):
            return
    raise AssertionError(f"no line began with {start!r}")


def workers() -> list[psutil.Process]:
    return [p for p in psutil.process_iter(["cmdline"]) if "trainer.tuning.worker" in (p.info["cmdline"] or [])]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=lambda number: number.name)
def test_a_tuning_that_was_stopped_goes_on(
    number: signal.Signals, tmp_path: Path, digits: Any, mlflow_template: Path
) -> None:
    """Its workers end with it, the trial under way goes on from its checkpoint, and the rest is kept."""
    state = State.open(tmp_path / "state")
    shutil.copyfile(mlflow_template, state.mlflow_database)
    digits.into(state)
    recipe, varied, best = (tmp_path / name for name in ("recipe.toml", "space.toml", "best.toml"))
    recipe.write_text(as_toml(json.loads(digits.recipe("train.epochs=25").canonical())))
    varied.write_text(SPACE)
    words = [COMMAND, "tune", recipe, "--space", varied, "--trials", "2", "--state", state.root, "--output", best]
    before = {process.pid for process in workers()}
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        lines_until(process, "trial 0")
        [folder] = (state.root / "tuning").iterdir()
        while not list((folder / "checkpoints").glob("0001/*.json")):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
        out, err = process.communicate(timeout=120)
    deadline = time.monotonic() + 30
    while {one.pid for one in workers()} - before:
        assert time.monotonic() < deadline, "a worker outlives its tuning"
        time.sleep(0.1)
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert "1 trial is kept" in out
        assert "Interrupted." in err
        assert best.exists()

    done = subprocess.run([*words, "--json"], capture_output=True, text=True, check=True, timeout=500)
    tuned = json.loads(done.stdout)
    assert [(trial["number"], trial["outcome"], trial["epochs"]) for trial in tuned["trials"]] == [
        (0, "done", 25),
        (1, "done", 25),
    ]
    assert "resuming after" in max((state.root / "logs").iterdir()).read_text()
    assert (
        config.load(best).train.optimizer.learning_rate
        == (tuned["trials"][tuned["best"]]["parameters"]["train.optimizer.learning_rate"])
    )
