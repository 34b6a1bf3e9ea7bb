"""The scheduler's jobs: what stays when the file changes, and what a restart finds."""

from __future__ import annotations

import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines import clock, jobs, ticks
from pipelines.cli import _status
from pipelines.clock import Clock
from pipelines.jobs import opened
from trainer import record
from trainer.errors import StateError
from trainer.state import State

FILE = """
[[schedule]]
name = "{name}"
recipe = "r.toml"
cron = "{cron}"
enabled = {enabled}
"""


class Desk:
    """A schedule file and a state folder; the process that would run a tick is over at once."""

    def __init__(self, folder: Path, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
        self.state, self.file = state, folder / "schedules.toml"
        (folder / "r.toml").write_text("")
        self.ran: list[str] = []
        self.said: list[str] = []
        self.status = 0
        self.write()
        monkeypatch.setattr(Clock, "_tick", self._tick)

    def _tick(self, schedule: Any, due: datetime) -> int:
        self.ran.append(schedule.name)
        return self.status

    def write(self, name: str = "a", cron: str = "0 3 * * MON", enabled: str = "true") -> None:
        self.file.write_text(FILE.format(name=name, cron=cron, enabled=enabled))

    def once(self) -> bool:
        return Clock(self.state, self.file, self.said.append).once()

    def jobs(self) -> dict[str, datetime | None]:
        with opened(self.state) as jobs:
            return {job.id: job.next_run_time for job in jobs.get_jobs()}

    def set_next(self, name: str, at: datetime | None) -> None:
        with opened(self.state) as jobs:
            jobs.modify_job(name, next_run_time=at)


@pytest.fixture
def desk(tmp_path: Path, state: State, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, state, monkeypatch)


LONG_AGO = datetime.now(UTC) - timedelta(days=30)


def test_ticks_that_were_missed_are_made_up_for_by_one(desk: Desk) -> None:
    """Four Mondays were slept through: one tick, and the next one is in the future."""
    assert desk.once()
    assert desk.ran == []
    desk.set_next("a", LONG_AGO)
    assert desk.once()
    assert desk.ran == ["a"]
    assert desk.jobs()["a"] > datetime.now(UTC)
    assert desk.once()
    assert desk.ran == ["a"]


def test_a_tick_that_failed_is_told(desk: Desk) -> None:
    """`--once` ends with a status that cron and systemd see."""
    desk.once()
    desk.set_next("a", LONG_AGO)
    desk.status = 1
    assert not desk.once()


def test_a_job_that_stays_in_the_file_keeps_its_next_tick(desk: Desk) -> None:
    """A tick that came due while nobody served is not lost by reading the file again."""
    desk.once()
    desk.set_next("a", LONG_AGO)
    before = desk.jobs()["a"]
    with opened(desk.state) as jobs:
        Clock(desk.state, desk.file, desk.said.append)._sync(jobs, clock.load(desk.file))
    assert desk.jobs()["a"] == before


@pytest.mark.parametrize(
    ("change", "left"),
    [({"name": "b"}, {"b"}), ({"enabled": "false"}, set()), ({"cron": "0 4 * * MON"}, {"a"})],
)
def test_the_jobs_follow_the_file(desk: Desk, change: dict[str, str], left: set[str]) -> None:
    """What is gone or switched off has no job, and what changed ticks at its new time."""
    desk.once()
    desk.write(**change)
    desk.once()
    jobs = desk.jobs()
    assert set(jobs) == left
    if "cron" in change:
        assert jobs["a"].hour == 4


def test_a_pause_outlives_restarts_and_changes(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """Until it is resumed; then the next tick is the next one of the clock."""
    asked = ["--file", str(desk.file), "--state", str(desk.state.root)]
    assert _status(["schedule", "pause", "a", *asked]) == 0
    desk.once()
    desk.write(cron="0 4 * * MON")
    desk.once()
    assert desk.jobs() == {"a": None}
    assert _status(["schedule", "list", *asked]) == 0
    assert "paused" in capsys.readouterr().out
    assert _status(["schedule", "resume", "a", *asked]) == 0
    assert "ticks next at" in capsys.readouterr().out
    assert desk.jobs()["a"] > datetime.now(UTC)


def test_a_tick_that_was_killed_is_taken_up_again(desk: Desk) -> None:
    """Its mark was left behind: it is due at once, whatever the clock says; a paused schedule's waits."""
    desk.once()
    mark = ticks.Mark(schedule="a", due=None, process=1, started=record.now())
    (ticks.folder(desk.state) / ticks.MARK).write_text(mark.model_dump_json())
    desk.once()
    assert desk.ran == ["a"]
    assert any("did not come to an end" in line for line in desk.said)
    desk.set_next("a", None)
    desk.once()
    assert desk.ran == ["a"]


def test_ticks_that_wait_for_another_ones_end_outlive_a_stop(desk: Desk) -> None:
    """Two are due at once: the one that is stopped and the one that had not begun both run at the next start."""
    desk.write()
    desk.file.write_text(desk.file.read_text() + FILE.format(name="b", cron="0 3 * * MON", enabled="true"))
    desk.once()
    for name in ("a", "b"):
        desk.set_next(name, LONG_AGO)
    serving = Clock(desk.state, desk.file, desk.said.append)

    def stopped(schedule: Any, due: datetime) -> int:
        serving.stop()
        return 130

    serving._tick = stopped  # type: ignore[method-assign]
    serving.serve()
    assert desk.once()
    assert sorted(desk.ran) == ["a", "b"]
    assert desk.once()
    assert sorted(desk.ran) == ["a", "b"]


@pytest.mark.parametrize(("due", "left"), [(LONG_AGO, set()), (None, {"a"})])
def test_a_tick_that_outlives_its_scheduler_is_not_run_twice(
    due: datetime | None, left: set[str], desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It forgets by itself that it was asked for; one that a person runs leaves the scheduler's alone."""
    monkeypatch.setattr(ticks, "_tick", lambda *_: tick("a"))
    ticks.ask(desk.state, "a")
    ticks.run(clock.load(desk.file)[0], desk.file, desk.state, lambda _: None, due)
    assert ticks.asked(desk.state) == left


def test_a_state_folder_that_was_moved_is_served_on(desk: Desk, tmp_path: Path) -> None:
    """Jobs that were made when it lay elsewhere tick."""
    desk.once()
    jobs.serving.clear()  # as in a new process
    moved = State.open(desk.state.root.rename(tmp_path / "elsewhere"))
    desk.state = moved
    desk.set_next("a", LONG_AGO)
    serving = Clock(moved, desk.file, desk.said.append)

    def run_and_stop(schedule: Any, due: datetime) -> int:
        serving.stop()
        return desk._tick(schedule, due)

    serving._tick = run_and_stop  # type: ignore[method-assign]
    at_last = threading.Timer(20, serving.stop)
    at_last.start()
    serving.serve()
    at_last.cancel()
    assert desk.ran == ["a"]


def test_one_process_serves_a_state_folder(desk: Desk) -> None:
    """Another one is refused while the first lives."""
    desk.once()
    lock = ticks.folder(desk.state) / "serve.lock"
    hold = f"from filelock import FileLock; lock = FileLock({str(lock)!r}); lock.acquire(); print(1, flush=1); input()"
    holding = subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holding.stdout is not None
    holding.stdout.readline()
    with pytest.raises(StateError, match="Another process serves the schedules"):
        desk.once()
    holding.communicate(b"\n")
    assert desk.once()


def tick(schedule: str, result: Any = "skipped") -> ticks.Tick:
    now = record.now()
    return ticks.Tick(schedule=schedule, due=now, started=now, ended=now, result=result, reason="Because, é.")


def test_the_history_survives_a_line_that_was_cut_off(state: State) -> None:
    """A crash in the middle of a line costs that line alone."""
    ticks.folder(state).mkdir()
    ticks._remember(state, tick("a"))
    path = ticks.folder(state) / ticks.HISTORY
    with open(path, "ab") as file:
        file.write('{"schedule": "a", "reason": "é'.encode()[:-1])
    ticks._remember(state, tick("b", "promoted"))
    assert [(one.schedule, one.result) for one in ticks.history(state)] == [("a", "skipped"), ("b", "promoted")]
    assert [one.schedule for one in ticks.history(state, "b")] == ["b"]


def test_the_history_is_shown_newest_first(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """As many as were asked for; a schedule that is not there is refused with the nearest name."""
    asked = ["--file", str(desk.file), "--state", str(desk.state.root)]
    ticks.folder(desk.state).mkdir(exist_ok=True)
    for result in ("promoted", "skipped", "failed"):
        ticks._remember(desk.state, tick("a", result))
    assert _status(["schedule", "history", "a", "--last", "2", "--json", *asked]) == 0
    shown = capsys.readouterr().out
    assert shown.index('"failed"') < shown.index('"skipped"')
    assert "promoted" not in shown
    assert _status(["schedule", "history", "aa", *asked]) == 2
    assert "Did you mean 'a'?" in capsys.readouterr().err


@pytest.mark.parametrize("when", ["loaded", "served"])
def test_a_change_of_the_file_is_never_missed(when: str, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even one that comes between its first reading and the first look at it; one that cannot be read is told once."""
    serving = Clock(desk.state, desk.file, desk.said.append)
    monkeypatch.setattr(clock, "LOOK_SECONDS", 0.01)
    whole, read = clock.load, 0

    def load(file: Path) -> Any:
        nonlocal read
        found, read = whole(file), read + 1
        if read == 1 and when == "loaded":
            desk.write(name="another")
        return found

    def announce(jobs: Any) -> None:
        if when == "served" and read == 1:
            desk.write(name="another")
        if "another" in serving._schedules:
            desk.file.unlink()
            threading.Timer(0.2, serving.stop).start()

    monkeypatch.setattr(clock, "load", load)
    monkeypatch.setattr(serving, "_announce", announce)
    at_last = threading.Timer(5, serving.stop)
    at_last.start()
    serving.serve()
    at_last.cancel()
    assert set(desk.jobs()) == {"another"}
    assert len([line for line in desk.said if "There is no schedule file" in line]) == 1


def test_serve_ends_when_it_is_asked_to(desk: Desk) -> None:
    """A due tick runs, and a stop ends the serving; nothing of the scheduler stays behind."""
    desk.write(cron="* * * * * *")
    serving = Clock(desk.state, desk.file, desk.said.append)
    whole = desk._tick

    def run_and_stop(schedule: Any, due: datetime) -> int:
        serving.stop()
        return whole(schedule, due)

    serving._tick = run_and_stop  # type: ignore[method-assign]
    serving.serve()
    assert desk.ran == ["a"]
    assert (ticks.folder(desk.state) / "jobs.db").exists()


def test_the_history_fits_a_narrow_terminal(
    desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long reason is wrapped, and takes the place of no other column."""
    monkeypatch.setenv("COLUMNS", "80")
    ticks.folder(desk.state).mkdir(exist_ok=True)
    long = tick("a", "promoted").model_copy(update={"reason": "word " * 100, "version": "12"})
    ticks._remember(desk.state, long)
    assert _status(["schedule", "history", "a", "--file", str(desk.file), "--state", str(desk.state.root)]) == 0
    first = capsys.readouterr().out.splitlines()[1]
    assert [*first.split()[2:5]] == ["a", "promoted", "12"]
