"""What a pipeline step has around its verb: failures become documents, words and an exit status."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from trainer import record
from trainer.errors import DataError, ForeignCheckpoint, InceptionError, RecipeError, StateError, TrainingError
from trainer.interruption import Interrupted, interruption
from trainer.state import State
from trainer.steps import step

STEP = """
import sys, time
from trainer.steps import step
with step("train", sys.argv[1], run_key="k") as state:
    print("working", flush=True)
    time.sleep(60)
    print("slept", flush=True)
"""

HEEDING = """
import sys, time
from trainer.events import emit
from trainer.interruption import interruption
from trainer.steps import step
with step("train", sys.argv[1], run_key="k") as state:
    with interruption.heeded():
        print("working", flush=True)
        while not interruption.asked:
            time.sleep(0.01)
        emit("note", "asked")
        time.sleep(float(sys.argv[2]))
        raise interruption.stopped("train", "epoch 2, step 3 of 9")
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


HEARS = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
"""Whoever runs the tests in the background has shells that make their children deaf to Ctrl-C."""


def begun(code: str, *arguments: str) -> subprocess.Popen[str]:
    """A process with a step that is at work."""
    process = subprocess.Popen(
        [sys.executable, "-c", HEARS + code, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "train …\n"
    assert process.stdout.readline() == "working\n"
    return process


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_an_interruption_is_a_failure_that_can_go_on(number: signal.Signals, status: int, state: State) -> None:
    """Ctrl-C, or the end of a pod: the shell's status, a document that says so, and no traceback on the log."""
    process = begun(STEP, str(state.root))
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == status
    assert out == "train failed: train was interrupted.\nRun again: it goes on from here.\n"
    assert err == ""
    failure = record.read(state.run("k"), record.Failure)
    assert failure.message == "train was interrupted."
    assert not failure.hopeless
    assert "Interrupt" in failure.traceback


@pytest.mark.parametrize(
    ("numbers", "how", "status"),
    [
        ([signal.SIGTERM], "preempted", 75),
        ([signal.SIGINT], "interrupted", 130),
        ([signal.SIGINT, signal.SIGTERM], "interrupted", 130),
    ],
)
def test_a_training_that_heeds_it_ends_in_order(
    numbers: list[signal.Signals], how: str, status: int, state: State
) -> None:
    """With its checkpoint written. Signals that come together are one: a terminal and a waiting command both send."""
    process = begun(HEEDING, str(state.root), "0.2")
    for number in numbers:
        process.send_signal(number)
    out, err = process.communicate(timeout=30)
    words = f"train was {how} at epoch 2, step 3 of 9; a checkpoint was written."
    assert out == f"asked\ntrain failed: {words}\nRun again: it goes on from here.\n"
    assert (process.returncode, err) == (status, "")
    assert record.read(state.run("k"), record.Failure).message == words


def test_a_step_that_nobody_reads_any_more_ends_in_order_too(state: State) -> None:
    """An interrupted orchestrator stops reading before it asks its step to stop."""
    process = begun(HEEDING, str(state.root), "0")
    assert process.stdout is not None
    process.stdout.close()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 75
    words = "train was preempted at epoch 2, step 3 of 9; a checkpoint was written."
    assert record.read(state.run("k"), record.Failure).message == words


def test_a_second_signal_interrupts_at_once(state: State) -> None:
    """Somebody is in a hurry."""
    process = begun(
        HEEDING.replace("import sys", "import trainer.interruption as i; i.TOGETHER_SECONDS = 0\nimport sys"),
        str(state.root),
        "60",
    )
    process.send_signal(signal.SIGTERM)
    assert process.stdout is not None
    assert process.stdout.readline() == "asked\n"
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 143
    assert out.startswith("train failed: train was interrupted.\n")


def test_a_signal_that_the_loop_did_not_see_interrupts_at_its_end() -> None:
    """Handlers are as they were after it."""
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted) as caught, interruption.heeded():
        os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.status == 143
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    with interruption.heeded():
        assert not interruption.asked


def test_another_thread_hears_nothing() -> None:
    """Signals are the main thread's; a training in another one goes on."""
    asked: list[bool] = []

    def heed() -> None:
        with interruption.heeded():
            asked.append(interruption.asked)

    worker = threading.Thread(target=heed)
    worker.start()
    worker.join()
    assert asked == [False]


@pytest.mark.parametrize(
    ("error", "hopeless"),
    [
        (TrainingError("It diverged.", "Lower the rate."), True),
        (RecipeError("Bad."), True),
        (ForeignCheckpoint("Another's."), False),
        (StateError("The disk is full."), False),
        (ConnectionResetError("gone"), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_a_retry_does_not_repeat_what_is_hopeless(
    error: Exception, hopeless: bool, state: State, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says the same at once and leaves the first try's document; anything else is tried again."""
    assert fail(state, error, run_key="k") == 1
    first, said = record.read(state.run("k"), record.Failure), capsys.readouterr().out
    assert first.hopeless is hopeless
    if hopeless:
        with pytest.raises(SystemExit) as ended, step("train", str(state.root), run_key="k"):
            pytest.fail("the step must not begin")
        assert ended.value.code == 1
        assert capsys.readouterr().out == said
        assert record.read(state.run("k"), record.Failure) == first
    else:
        with step("train", str(state.root), run_key="k"):
            pass
        assert record.find(state.run("k"), record.Failure) is None


def test_the_failure_of_another_step_stays(state: State) -> None:
    """A step takes back only what it left itself, and is not held up by others."""
    assert fail(state, TrainingError("It diverged."), run_key="k") == 1
    with step("evaluate", str(state.root), run_key="k"):
        pass
    assert record.read(state.run("k"), record.Failure).step == "train"


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


@pytest.mark.parametrize("kind", [StateError, ConnectionError])
def test_a_password_in_an_address_goes_no_further(
    kind: type[Exception], state: State, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither into the record, from which cards and notifications are made, nor onto the log."""
    assert fail(state, kind("https://me:hush@mlflow.example/api is out of reach."), run_key="k") == 1
    failure = record.read(state.run("k"), record.Failure)
    assert "https://…@mlflow.example/api is out of reach." in failure.message
    assert "hush" not in failure.model_dump_json() + capsys.readouterr().out
    assert str(InceptionError("models:/digits@champion at gs://b/a@b")) == "models:/digits@champion at gs://b/a@b"
