"""What a pipeline step has around its verb: failures become documents, words and an exit status."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from trainer import record
from trainer.errors import DataError, InceptionError, StateError, TrainingError
from trainer.state import State
from trainer.steps import INTERRUPTED, step

STEP = """
import sys, time
from trainer.steps import step
with step("train", sys.argv[1], run_key="k") as state:
    print("working", flush=True)
    time.sleep(60)
    print("slept", flush=True)
"""


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    """A step takes SIGTERM over, which would outlive the test."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def fail(state: State, error: BaseException, **identity: str) -> int:
    with pytest.raises(SystemExit) as ended, step("train", str(state.root), **identity):
        raise error
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_a_step_gives_the_state_folder_and_says_what_it_does(
    state: State, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Begin and end with the time it took, in words and as events that carry the run's identity."""
    monkeypatch.setenv("INCEPTION_EVENTS", str(tmp_path / "events"))
    with step("train", str(state.root), tick="t", run_key="k") as opened:
        assert opened == state
    first, last = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    assert (first["step"], first["status"], first["run_key"], first["tick"]) == ("train", "started", "k", "t")
    assert (last["step"], last["status"]) == ("train", "done")
    assert last["seconds"] >= 0
    begin, end = capsys.readouterr().out.splitlines()
    assert begin == "train …"
    assert end.startswith("train done in 0.")


@pytest.mark.parametrize(
    ("identity", "folder"),
    [
        ({"run_key": "k"}, "runs/k"),
        ({"run_key": "k", "tick": "t"}, "runs/k"),
        ({"fingerprint": "f"}, "data/f.failed"),
        ({"tick": "t"}, "ticks/t"),
    ],
)
def test_a_failure_is_recorded_where_the_step_has_its_identity(
    identity: dict[str, str], folder: str, state: State, capsys: pytest.CaptureFixture[str]
) -> None:
    """Message and remedy on the log without a traceback, which goes into the document; status 1."""
    assert fail(state, TrainingError("It diverged.", "Lower the rate."), **identity) == 1
    failure = record.read(state.root / folder, record.Failure)
    assert (failure.step, failure.message, failure.remedy) == ("train", "It diverged.", "Lower the rate.")
    assert "Traceback" in failure.traceback
    assert "test_steps.py" in failure.traceback
    said = capsys.readouterr()
    assert said.out == "train …\ntrain failed: It diverged.\nLower the rate.\n"
    assert said.err == ""


@pytest.mark.parametrize(
    ("error", "says", "remedy"),
    [
        (DataError("No images.", "Add some."), "No images.", "Add some."),
        (ZeroDivisionError("by zero"), "train met an unexpected ZeroDivisionError: by zero", "--debug"),
        (OSError(errno.ENOSPC, "full", "/state/x"), "No space is left to write /state/x.", "Free some space"),
        (OSError(errno.EDQUOT, "quota"), "No space is left to write ", "Free some space"),
        (PermissionError(errno.EACCES, "denied", "/state/x"), "/state/x may not be written: denied.", "permission"),
        (OSError(errno.EROFS, "read-only", "/state/x"), "/state/x may not be written: read-only.", "permission"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), "train met an unexpected ConnectionRefused", "--debug"),
        (FileNotFoundError(errno.ENOENT, "gone", "/x"), "train met an unexpected FileNotFoundError", "--debug"),
        (TimeoutError("slow"), "train met an unexpected TimeoutError: slow", "--debug"),
        (StateError("Bad folder.", "Mend it."), "Bad folder.", "Mend it."),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_every_failure_says_what_to_do(error: Exception, says: str, remedy: str, state: State) -> None:
    """The system's refusals about storage become the state folder's; any other surprise is named as one."""
    assert fail(state, error, run_key="k") == 1
    failure = record.read(state.run("k"), record.Failure)
    assert failure.message.startswith(says)
    assert remedy in failure.remedy
    assert "test_steps.py" in failure.traceback
    assert type(error).__name__ in failure.traceback


def test_the_traceback_is_shown_on_request(
    state: State, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--debug` reaches a step by the environment."""
    monkeypatch.setenv("INCEPTION_DEBUG", "1")
    fail(state, ValueError("x"), run_key="k")
    assert "Traceback (most recent call last)" in capsys.readouterr().out


def test_a_failure_is_an_event(state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the whole document, for whoever draws."""
    monkeypatch.setenv("INCEPTION_EVENTS", str(tmp_path / "events"))
    fail(state, TrainingError("It diverged.", "Lower the rate."), run_key="k")
    last = json.loads((tmp_path / "events").read_text().splitlines()[-1])
    assert (last["kind"], last["status"]) == ("step", "failed")
    assert record.Failure.model_validate(last["failure"]) == record.read(state.run("k"), record.Failure)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interruption_is_a_failure_that_can_go_on(number: signal.Signals, state: State) -> None:
    """Ctrl-C, or the end of a pod: status 130, a document that says so, and no traceback on the log."""
    process = subprocess.Popen(
        [sys.executable, "-c", STEP, str(state.root)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "train …\n"
    assert process.stdout.readline() == "working\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == INTERRUPTED
    assert out == "train failed: train was interrupted.\nRun again: it goes on from here.\n"
    assert err == ""
    failure = record.read(state.run("k"), record.Failure)
    assert failure.message == "train was interrupted."
    assert "time.sleep" in failure.traceback or "KeyboardInterrupt" in failure.traceback


def test_no_space_for_real_is_recorded_when_there_is_space(state: State, run_python: Callable[..., Any]) -> None:
    """A file that grows over what the system grants ends the step; the small document still finds room."""
    code = (
        "import resource, sys\n"
        "from trainer.steps import step\n"
        "with step('train', sys.argv[1], run_key='k') as state:\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "    (state.root / 'large').write_bytes(bytes(100_000))\n"
    )
    done = run_python(code, str(state.root))
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert "train failed: No space is left to write " in done.stdout
    assert "Free some space" in record.read(state.run("k"), record.Failure).remedy


def test_a_state_folder_that_will_not_do_fails_the_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """There is nowhere to record it, so the log alone says it."""
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as ended, step("check", str(tmp_path / "file"), tick="t"):
        pytest.fail("the step must not begin")
    assert ended.value.code == 1
    said = capsys.readouterr()
    assert "is not a folder that can hold the state" in said.out
    assert "Traceback" not in said.out + said.err


def test_a_failure_that_cannot_be_recorded_is_still_told(state: State, capsys: pytest.CaptureFixture[str]) -> None:
    """Together with why it could not be recorded."""
    (state.root / "runs").write_text("in the way")
    assert fail(state, TrainingError("It diverged.", "Lower the rate."), run_key="k") == 1
    said = capsys.readouterr().out
    assert "train failed: It diverged." in said
    assert "the failure could not be recorded: " in said


def test_an_inception_error_without_a_remedy_is_one_line() -> None:
    """With one, the remedy is the second."""
    assert str(InceptionError("Message.")) == "Message."
    assert str(InceptionError("Message.", "Remedy.")) == "Message.\nRemedy."


def test_steps_import_nothing_heavy(run_python: Callable[..., Any]) -> None:
    """What every step has around it costs none of them a second."""
    code = (
        "import sys, trainer.steps, trainer.config, trainer.record, trainer.check, trainer.tracking, trainer.train\n"
        "import trainer.evaluate, trainer.predict, trainer.training.schedules, trainer.training.precision\n"
        "print(sorted({'tensorflow', 'keras', 'mlflow', 'kfp', 'matplotlib', 'sklearn'} & set(sys.modules)))\n"
    )
    done = run_python(code, PYTHONPATH=os.environ.get("PYTHONPATH", ""))
    assert done.stdout.strip() == "[]", done.stderr
