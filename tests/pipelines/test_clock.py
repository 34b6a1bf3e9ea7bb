"""The scheduler's jobs: what stays when the file changes, and what a restart finds."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from pipelines import clock, jobs, pending, ticks
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


FILE_OF_JOBS = jobs.FILE
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
    mark = pending.Mark(schedule="a", due=None, process=1, started=record.now())
    (pending.folder(desk.state) / pending.MARK).write_text(mark.model_dump_json())
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


HOUR = timedelta(hours=1)


@pytest.mark.parametrize("by", [LONG_AGO, None])
@pytest.mark.parametrize(("due", "left"), [(-HOUR, set()), (HOUR, {"a"})])
def test_a_tick_that_outlives_its_scheduler_is_not_run_twice(
    by: datetime | None, due: timedelta, left: set[str], desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It forgets by itself what was due when it began, also where a person runs it; what came due later stays."""
    monkeypatch.setattr(ticks, "_tick", lambda *_: tick("a"))
    pending.ask(desk.state, "a", datetime.now(UTC) + due)
    ticks.run(clock.load(desk.file)[0], desk.file, desk.state, lambda _: None, by)
    assert set(pending.asked(desk.state)) == left


def test_what_comes_due_while_its_tick_runs_outlives_a_stop(desk: Desk) -> None:
    """The tick ends well and the scheduler is stopped: the one that came due meanwhile runs at the next start."""
    desk.write(cron="* * * * * *")
    serving = Clock(desk.state, desk.file, desk.said.append)

    def long(schedule: Any, due: datetime) -> int:
        asked = pending.asked(desk.state)["a"]
        deadline = time.monotonic() + 10
        while pending.asked(desk.state)["a"] == asked and time.monotonic() < deadline:
            time.sleep(0.05)
        serving.stop()
        return 0

    serving._tick = long  # type: ignore[method-assign]
    serving.serve()
    desk.write()
    assert set(pending.asked(desk.state)) == {"a"}
    assert desk.once()
    assert desk.ran == ["a"]
    assert pending.asked(desk.state) == {}


def test_a_tick_that_still_runs_at_the_next_start_is_not_run_again(desk: Desk) -> None:
    """Its scheduler was killed: the next one waits for its end, and has nothing to do then."""
    desk.once()
    pending.ask(desk.state, "a", LONG_AGO)
    mark = pending.Mark(schedule="a", due=LONG_AGO, process=4711, started=record.now())
    (pending.folder(desk.state) / pending.MARK).write_text(mark.model_dump_json())
    lock = FileLock(pending.folder(desk.state) / pending.LOCK, thread_local=False)
    lock.acquire()

    def end(event: dict[str, Any]) -> None:
        desk.said.append(event["line"])
        pending.forget(desk.state, "a", mark.started)
        lock.release()

    def wait(schedule: Any, due: datetime) -> int:
        assert ticks.run(schedule, desk.file, desk.state, end, due) is None
        return 0

    serving = Clock(desk.state, desk.file, desk.said.append)
    serving._tick = wait  # type: ignore[method-assign]
    assert serving.once()
    assert "a: its tick still runs, as process 4711; waiting for its end" in desk.said
    assert "another tick is running: waiting for its end" in desk.said
    assert ticks.history(desk.state) == []


@pytest.mark.parametrize(("status", "why"), [(-9, "was killed by signal 9"), (2, "ended with status 2")])
def test_a_tick_that_died_without_a_word_is_remembered_and_told(
    status: int, why: str, desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    """As one that failed; it is not taken up again, which would only kill it again."""
    desk.once()
    desk.set_next("a", LONG_AGO)
    desk.status = status
    (desk.state.root / "notifications.toml").write_text('[[webhook]]\nurl = "env:NOT_SET"\n')
    assert not desk.once()
    [found] = ticks.history(desk.state, "a")
    assert found.result == "failed"
    assert why in found.reason
    assert "the environment has no NOT_SET" in capsys.readouterr().out
    desk.once()
    assert desk.ran == ["a"]


def test_a_tick_that_left_a_word_is_not_remembered_twice(desk: Desk) -> None:
    """Its own account of the failure stands."""
    desk.once()
    desk.set_next("a", LONG_AGO)

    def fail(schedule: Any, due: datetime) -> int:
        ticks._remember(desk.state, tick("a", "failed"))
        return 1

    serving = Clock(desk.state, desk.file, desk.said.append)
    serving._tick = fail  # type: ignore[method-assign]
    assert not serving.once()
    assert [one.reason for one in ticks.history(desk.state)] == ["Because, é."]


def test_a_process_that_cannot_be_had_loses_no_tick(desk: Desk) -> None:
    """A machine without a process to spare is told of, and the tick is asked for still."""
    desk.once()
    desk.set_next("a", LONG_AGO)
    serving = Clock(desk.state, desk.file, desk.said.append)

    def refused(schedule: Any, due: datetime) -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    serving._tick = refused  # type: ignore[method-assign]
    assert not serving.once()
    assert any("could not be started: [Errno 11]" in line for line in desk.said)
    assert desk.once()
    assert desk.ran == ["a"]


def test_jobs_that_are_damaged_are_named(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """With what to do, for every command; no traceback of a database."""
    desk.once()
    (pending.folder(desk.state) / FILE_OF_JOBS).write_bytes(b"no database" * 100)
    asked = ["--file", str(desk.file), "--state", str(desk.state.root)]
    for words in (["list"], ["pause", "a"], ["resume", "a"], ["serve", "--once"]):
        assert _status(["schedule", *words, *asked]) == 1
        said = capsys.readouterr().err
        assert "jobs.db cannot be used: file is not a database." in said
        assert "move it away" in said


def test_what_is_remembered_of_a_job_can_be_read_by_anybody(desk: Desk) -> None:
    """As JSON: reading it runs nothing."""
    desk.once()
    with closing(sqlite3.connect(pending.folder(desk.state) / FILE_OF_JOBS)) as database:
        [(kept,)] = database.execute("select job_state from schedules").fetchall()
    assert json.loads(kept)["schedule"] == {
        "name": "a", "recipe": "r.toml", "cron": "0 3 * * MON", "time_zone": "UTC",
    }  # fmt: skip
    assert datetime.fromisoformat(json.loads(kept)["next"]) > datetime.now(UTC)


def test_a_job_that_cannot_be_read_is_made_anew(
    desk: Desk, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Without a traceback, and the others stay."""
    desk.file.write_text(desk.file.read_text() + FILE.format(name="b", cron="0 3 * * MON", enabled="true"))
    desk.once()
    desk.set_next("b", None)
    with closing(sqlite3.connect(pending.folder(desk.state) / FILE_OF_JOBS)) as database, database:
        assert database.execute("update schedules set job_state = ? where id = 'a'", [b"junk"]).rowcount == 1
    assert desk.once()
    assert desk.jobs()["a"] > datetime.now(UTC)
    assert desk.jobs()["b"] is None
    assert "Traceback" not in capsys.readouterr().err + caplog.text


def test_trouble_with_the_disk_is_told_once_and_waited_out(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What came due meanwhile runs once, however often the note of it is refused."""
    monkeypatch.setattr(clock, "LOOK_SECONDS", 0.01)
    desk.once()
    desk.set_next("a", LONG_AGO)
    serving = Clock(desk.state, desk.file, desk.said.append)
    refusals = 5

    def update_job(store: Any, job: Any) -> None:
        nonlocal refusals
        if not desk.ran:  # the serving begins
            return
        time.sleep(0.05)  # the tick has ended by now
        refusals -= 1
        if refusals >= 0:
            raise StateError("No space is left.", "Free some.")
        serving.stop()

    monkeypatch.setattr(jobs._Store, "update_job", update_job)
    at_last = threading.Timer(20, serving.stop)
    at_last.start()
    serving.serve()
    at_last.cancel()
    assert refusals < 0
    assert desk.said.count("No space is left.\nFree some.") == 1
    assert desk.ran == ["a"]


def test_what_makes_ticks_fail_is_told_at_the_start(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recipe that says something impossible, and a notification that lacks its address."""
    (desk.file.parent / "r.toml").write_text("[train]\nepoch = 3\n")
    (desk.state.root / "notifications.toml").write_text('[[webhook]]\nurl = "env:NOT_SET"\n')
    serving = Clock(desk.state, desk.file, desk.said.append)
    serving.stop()
    serving.serve()
    assert any("its ticks will fail" in line and "Did you mean 'epochs'?" in line for line in desk.said)
    assert any("env:NOT_SET, which the environment does not have" in line for line in desk.said)


def test_a_state_folder_that_was_moved_is_served_on(desk: Desk, tmp_path: Path) -> None:
    """Jobs that were made when it lay elsewhere tick."""
    desk.once()
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
    """Another one is refused while the first lives; where cron calls every few minutes that is no failure."""
    desk.once()
    lock = pending.folder(desk.state) / "serve.lock"
    hold = f"from filelock import FileLock; lock = FileLock({str(lock)!r}); lock.acquire(); print(1, flush=1); input()"
    holding = subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holding.stdout is not None
    holding.stdout.readline()
    with pytest.raises(StateError, match="Another process serves the schedules"):
        Clock(desk.state, desk.file, desk.said.append).serve()
    desk.said.clear()
    assert desk.once()
    assert "Another process serves the schedules" in desk.said[0]
    holding.communicate(b"\n")
    assert desk.once()


def tick(schedule: str, result: Any = "skipped") -> ticks.Tick:
    now = record.now()
    return ticks.Tick(schedule=schedule, due=now, started=now, ended=now, result=result, reason="Because, é.")


def test_the_history_survives_a_line_that_was_cut_off(state: State) -> None:
    """A crash in the middle of a line costs that line alone."""
    pending.folder(state).mkdir()
    ticks._remember(state, tick("a"))
    path = pending.folder(state) / ticks.HISTORY
    with open(path, "ab") as file:
        file.write('{"schedule": "a", "reason": "é'.encode()[:-1])
    ticks._remember(state, tick("b", "promoted"))
    assert [(one.schedule, one.result) for one in ticks.history(state)] == [("a", "skipped"), ("b", "promoted")]
    assert [one.schedule for one in ticks.history(state, "b")] == ["b"]


def test_the_history_is_shown_newest_first(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """As many as were asked for; a schedule that is not there is refused with the nearest name."""
    asked = ["--file", str(desk.file), "--state", str(desk.state.root)]
    pending.folder(desk.state).mkdir(exist_ok=True)
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
    assert (pending.folder(desk.state) / "jobs.db").exists()


def test_the_history_fits_a_narrow_terminal(
    desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long reason is wrapped, and takes the place of no other column."""
    monkeypatch.setenv("COLUMNS", "80")
    pending.folder(desk.state).mkdir(exist_ok=True)
    long = tick("a", "promoted").model_copy(update={"reason": "word " * 100, "version": "12"})
    ticks._remember(desk.state, long)
    assert _status(["schedule", "history", "a", "--file", str(desk.file), "--state", str(desk.state.root)]) == 0
    first = capsys.readouterr().out.splitlines()[1]
    assert [*first.split()[2:5]] == ["a", "promoted", "12"]
