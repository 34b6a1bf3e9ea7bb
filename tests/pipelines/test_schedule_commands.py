"""`inception schedule` for schedules on this machine, as it is typed."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from pipelines import clock, pending, ticks
from pipelines.cli import _status
from pipelines.jobs import opened
from trainer import record
from trainer.state import State

NIGHTLY = """
[[schedule]]
name = "nightly"
recipe = "r.toml"
cron = "30 2 * * *"
time_zone = "Europe/Berlin"
"""
RECIPE = (Path(__file__).resolve().parents[2] / "configs" / "digits.toml").read_text(encoding="utf-8")

Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "r.toml").write_text(RECIPE)
    path = tmp_path / "schedules.toml"
    path.write_text(NIGHTLY)
    return path


@pytest.fixture
def ask(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Exit status, standard output and standard error of a command on a state folder that is not there yet."""

    def asked(*words: str) -> tuple[int, str, str]:
        status = _status(["schedule", *words, "--file", str(file), "--state", str(tmp_path / "state")])
        return status, *capsys.readouterr()

    return asked


def test_the_list_only_looks(ask: Ask, tmp_path: Path) -> None:
    """Before anything ran there is no state folder, and none comes of it; that nobody serves is said."""
    status, out, _ = ask("list")
    assert status == 0
    assert "never" in out
    assert "Nobody serves the schedules of this machine now: " in out
    assert "schedule serve --file" in out
    assert not (tmp_path / "state").exists()


def test_the_list_says_what_is_going_on(ask: Ask, tmp_path: Path) -> None:
    """Whether a process serves, which tick runs and since when, and the next one on the schedule's own clock."""
    state = State.open(tmp_path / "state")
    pending.folder(state).mkdir()
    mark = pending.Mark(schedule="nightly", due=None, process=1, started=datetime(2026, 11, 21, 17, 0, tzinfo=UTC))
    (pending.folder(state) / pending.MARK).write_text(mark.model_dump_json())
    [row] = json.loads(ask("list", "--json")[1])["schedules"]
    assert row["running"] is None
    with FileLock(pending.folder(state) / pending.LOCK), FileLock(pending.folder(state) / clock.LOCK):
        found = json.loads(ask("list", "--json")[1])
        out = ask("list")[1]
    [row] = found["schedules"]
    assert found["served"]
    assert row["running"] == "2026-11-21T17:00:00+00:00"
    following = datetime.fromisoformat(row["next"])
    assert (following.hour, following.minute) == (2, 30)
    assert following.utcoffset() in (timedelta(hours=1), timedelta(hours=2))
    assert "nightly: a tick runs since 2026-11-21 17:00 UTC" in out
    assert "Nobody serves" not in out


def test_a_file_without_schedules_is_said_to_be_one(ask: Ask, file: Path) -> None:
    """An empty table says nothing."""
    file.write_text("# nothing yet\n")
    assert "has no schedule yet" in ask("list")[1]
    assert json.loads(ask("list", "--json")[1]) == {"schedules": [], "served": False}


def test_the_list_names_a_recipe_that_no_tick_can_use(ask: Ask, file: Path) -> None:
    """And lists the schedule all the same."""
    (file.parent / "r.toml").write_text("[train]\nepoch = 3\n")
    status, out, err = ask("list")
    assert status == 0
    assert "nightly" in out
    assert "nightly: its ticks will fail" in err
    assert "Did you mean 'epochs'?" in json.loads(ask("list", "--json")[1])["schedules"][0]["problem"]


def test_a_tick_that_was_missed_is_listed_as_due(ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not as the next one, in the past."""
    monkeypatch.setenv("COLUMNS", "160")
    ask("pause", "nightly")
    ask("resume", "nightly")
    with opened(State.open(tmp_path / "state")) as jobs:
        jobs.modify_job("nightly", next_run_time=datetime(2026, 11, 1, 2, 30, tzinfo=UTC))
    assert "due since 2026-11-01 03:30:00 CET" in ask("list")[1]


def test_a_tick_that_cannot_begin_is_told_to_those_who_want_to_know(ask: Ask, file: Path, tmp_path: Path) -> None:
    """A recipe that went bad fails before there is a report step; the answer stays one JSON object."""
    (file.parent / "r.toml").write_text("[train]\nepoch = 3\n")
    state = State.open(tmp_path / "state")
    (state.root / "notifications.toml").write_text('[[webhook]]\nurl = "env:NOT_SET"\n')
    status, out, err = ask("run-now", "nightly", "--json")
    assert status == 1
    assert json.loads(out)["result"] == "failed"
    assert "was not sent: the environment has no NOT_SET" in err
    assert [one.result for one in ticks.history(state)] == ["failed"]


@pytest.mark.parametrize(
    ("words", "says"),
    [([], "Run the same command again"), (["--due", "2026-11-21T03:00:00+00:00"], "nightly: stopped. It is taken up")],
)
def test_a_tick_that_was_stopped_says_who_takes_it_up(
    words: list[str], says: str, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scheduler, where it had asked for it; else the one who did."""

    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ticks, "run", stopped)
    status, out, err = ask("run-now", "nightly", *words)
    assert status == 130
    assert says in out + err


def test_the_history_gives_the_first_reason(ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not only that there are some; as JSON all of them, and moments in a form that programs read."""
    monkeypatch.setenv("COLUMNS", "160")
    state = State.open(tmp_path / "state")
    pending.folder(state).mkdir()
    reason, now = "r.toml has 2 problems:\n  train: missing.\n  gate: missing.", record.now()
    failed = ticks.Tick(schedule="nightly", due=None, started=now, ended=now, result="failed", reason=reason)
    ticks._remember(state, failed)
    assert (
        "r.toml has 2 problems: train: missing.\n" in "\n".join(map(str.rstrip, ask("history")[1].splitlines())) + "\n"
    )
    [found] = json.loads(ask("history", "--json")[1])["ticks"]
    assert found["reason"] == reason
    assert datetime.fromisoformat(found["ended"]) == now
