"""`inception notify`, as it is typed, and commands that are printed to be typed again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines import cli
from pipelines.cli import _status
from pipelines.commands import options
from trainer import record
from trainer.notifications import FILE
from trainer.state import State

NOWHERE = '[[webhook]]\nurl = "http://127.0.0.1:9"\n'


def ended(state: State, tick: str, result: record.Result) -> None:
    outcome = record.Outcome(
        tick=tick, result=result, reason="So it is.", model="digits", version="1", accuracy=0.9, champion="1",
        run_key=None, fingerprint=None, mlflow_run_id=None, card=None, failed_step=None, remedy="", seconds=1.0,
    )  # fmt: skip
    record.write(state.tick(tick), outcome)


@pytest.mark.parametrize(
    ("file", "arguments", "status", "says"),
    [
        (None, [], 0, f"told: nobody. There is no {FILE} in the state folder"),
        (NOWHERE, [], 0, "told: nobody. No `on` of notifications.toml lists 'skipped'"),
        (NOWHERE, ["first"], 1, "was not sent: ConnectionError"),
        (None, ["frist"], 2, "Did you mean 'first'?"),
        ("[[webhok]]\n", [], 2, "Did you mean 'webhook'?"),
    ],
)
def test_whom_it_reaches_and_why_nobody(
    state: State, file: str | None, arguments: list[str], status: int, says: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The newest run's outcome, or that of the run that is named."""
    monkeypatch.setattr("trainer.notifications.PAUSE_SECONDS", 0.01)
    ended(state, "first", "promoted")
    ended(state, "second", "skipped")
    if file is not None:
        (state.root / FILE).write_text(file)
    assert _status(["notify", *arguments, "--state", str(state.root)]) == status
    captured = capsys.readouterr()
    assert says in captured.out + captured.err


def test_the_answer_is_one_json_object_also_where_nobody_could_be_told(
    state: State, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What went wrong is beside it, on standard error."""
    monkeypatch.setattr("trainer.notifications.PAUSE_SECONDS", 0.01)
    ended(state, "first", "promoted")
    (state.root / FILE).write_text(NOWHERE)
    assert _status(["notify", "--json", "--state", str(state.root)]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"tick": "first", "result": "promoted", "told": []}
    assert "was not sent: ConnectionError" in captured.err


def test_a_run_of_the_store_needs_no_state_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is made, as a cache."""
    monkeypatch.setenv("INCEPTION_STORE", str(tmp_path / "store"))
    ended(State(tmp_path / "store"), "first", "promoted")
    assert _status(["notify", "--state", str(tmp_path / "state")]) == 0
    assert "digits version 1: promoted" in capsys.readouterr().out


def test_a_state_folder_without_runs_is_told(state: State, capsys: pytest.CaptureFixture[str]) -> None:
    """With what to do first."""
    assert _status(["notify", "--state", str(state.root)]) == 2
    assert "inception run RECIPE" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["t1"]])
def test_an_outcome_of_another_form_is_named(
    words: list[str], state: State, capsys: pytest.CaptureFixture[str]
) -> None:
    """Asked for, or the newest one."""
    state.tick("t1").mkdir(parents=True)
    (state.tick("t1") / "outcome.json").write_text('{"tick": "t1", "of": "the future"}')
    with pytest.raises(SystemExit) as ended:
        cli.main(["notify", *words, "--state", str(state.root)])
    assert ended.value.code == 2
    assert "The outcome of the run t1 was written by another version" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("variable", "root", "named"),
    [
        (None, ".inception", False),
        (None, "other", True),
        ("elsewhere", "elsewhere", False),
        ("elsewhere", "other", True),
        ("elsewhere", ".inception", True),
    ],
)
def test_a_command_to_type_names_the_state_folder_that_was_used(
    variable: str | None, root: str, named: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless it would be found without."""
    if variable is not None:
        monkeypatch.setenv("INCEPTION_STATE", variable)
    monkeypatch.setattr(options, "_command", lambda: "inception")
    line = options.command_line(["lookup", "digits"], Path(root))
    assert line == "inception lookup digits" + (f" --state {root}" if named else "")
