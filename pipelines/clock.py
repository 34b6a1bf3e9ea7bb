"""The scheduler of one machine: APScheduler over the schedule file, with its jobs kept in the state folder.

    schedules/jobs.db         each schedule's next tick, and whether it is paused
    schedules/serve.lock      held by the one process that serves a state folder

Every tick runs in a process of its own (`inception schedule run-now`), so that the scheduler stays small and a tick
that dies takes nothing with it. APScheduler's own cron trigger counts weekdays from Monday and loses its way in the
hour that autumn has twice (3.11.3, tried); cronsim is asked instead.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.job import Job
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.triggers.base import BaseTrigger
from filelock import FileLock, Timeout

from pipelines import ticks
from pipelines.schedules import Schedule, load
from trainer.errors import InceptionError, StateError
from trainer.state import State, reported

LOOK_SECONDS = 1.0
"""How often the scheduler looks for changes of the file, and for schedules that were paused or resumed."""
GRACE_SECONDS = 60.0
"""How long a tick that was asked to stop may take to put its work in order."""

Say = Callable[[str], None]


class Cron(BaseTrigger):
    """A schedule's cron expression in its time zone, as APScheduler asks for it."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        return self.schedule.after(previous_fire_time or now)

    def same_times(self, other: BaseTrigger) -> bool:
        """Whether the other one ticks at the same times."""
        mine = self.schedule
        return isinstance(other, Cron) and (mine.cron, mine.time_zone) == (
            other.schedule.cron,
            other.schedule.time_zone,
        )


class Jobs(BaseScheduler):
    """The jobs of a state folder. Due ones run when `run_due` is called, and only then.

    APScheduler's own loops look for due jobs once more after they were shut down, and lose them (3.11.3, tried).
    """

    def shutdown(self, wait: bool = True) -> None:
        super().shutdown(wait)

    def wakeup(self) -> None:
        """The loop of `Clock.serve` looks often enough."""

    def run_due(self) -> None:
        self._process_jobs()


class Clock:
    """Serves the schedules of a file on one state folder.

    Args:
        state: the state folder.
        file: the schedule file.
        say: is told in words what happens.
    """

    def __init__(self, state: State, file: Path, say: Say) -> None:
        self._state = state
        self._file = file
        self._say = say
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._read: tuple[float, int] | None = None

    def stop(self) -> None:
        """Let `serve` end: the tick under way is asked to stop, and is taken up again at the next start."""
        self._stopping.set()

    def serve(self) -> None:
        """Run ticks as they come due until `stop` is called.

        Ticks that were missed meanwhile, however many, are made up for by one. Errors: StateError (another process
        serves this folder), RecipeError (a schedule file that cannot be used when the serving begins).
        """
        with _sole(self._state), opened(self._state) as jobs:
            self._sync(jobs, load(self._file))
            self._take_up(jobs)
            self._announce(jobs)
            while not self._stopping.wait(LOOK_SECONDS):
                self._follow_file(jobs)
                jobs.run_due()
            self._stop_child()

    def once(self) -> bool:
        """Run the ticks that have come due since the last time, and return whether all went well.

        Errors: as `serve`.
        """
        with _sole(self._state), opened(self._state) as jobs:
            self._sync(jobs, load(self._file))
            self._take_up(jobs)
            now = datetime.now(UTC)
            due = [job for job in jobs.get_jobs() if job.next_run_time is not None and job.next_run_time <= now]
            well = True
            for job in due:
                asked = job.next_run_time
                job.modify(next_run_time=job.trigger.schedule.after(now))
                well &= self._tick(job.trigger.schedule, asked) == 0
                if self._stopping.is_set():
                    return False
            if not due:
                self._announce(jobs)
            return well

    def _tick(self, schedule: Schedule, due: datetime) -> int:
        """Run one tick in a process of its own; its exit status."""
        words = ["schedule", "run-now", schedule.name, "--due", due.isoformat()]
        places = ["--file", str(self._file), "--state", str(self._state.root)]
        command = [sys.executable, "-c", "from pipelines.cli import main; main()", *words, *places]
        self._child = subprocess.Popen(command, start_new_session=True)
        try:
            while True:
                try:
                    return self._child.wait(LOOK_SECONDS)
                except subprocess.TimeoutExpired:
                    if self._stopping.is_set():
                        self._stop_child()
        finally:
            self._child = None

    def _stop_child(self) -> None:
        child = self._child
        if child is None:
            return
        self._say("stopping the tick under way …")
        child.terminate()
        try:
            child.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()

    def _due(self, name: str) -> None:
        """A schedule's time has come; again where it came once more while its tick ran."""
        schedule = self._schedules[name]
        while not self._stopping.is_set():
            began = datetime.now(UTC)
            self._tick(schedule, schedule.before(began))
            if schedule.after(began) > datetime.now(UTC):
                return

    def _sync(self, jobs: Jobs, schedules: list[Schedule]) -> None:
        """Make the jobs those of the file. A job that stays keeps its next tick, and its pause."""
        here = [schedule for schedule in schedules if schedule.enabled and schedule.environment is None]
        self._schedules = {schedule.name: schedule for schedule in here}
        for job in jobs.get_jobs():
            if job.id not in self._schedules:
                job.remove()
        for name, schedule in self._schedules.items():
            job, trigger = jobs.get_job(name), Cron(schedule)
            if job is None:
                add(jobs, self._state, schedule)
            elif trigger.same_times(job.trigger):
                job.modify(trigger=trigger)
            else:
                paused = job.next_run_time is None
                job.reschedule(trigger)
                if paused:
                    job.pause()
        _serving[str(self._state.root)] = self

    def _follow_file(self, jobs: Jobs) -> None:
        try:
            status = self._file.stat()
            seen = (status.st_mtime, status.st_size)
            if seen == self._read:
                return
            first, self._read = self._read is None, seen
            if not first:
                self._sync(jobs, load(self._file))
                self._say(f"{self._file} was read again")
                self._announce(jobs)
        except (OSError, InceptionError) as error:
            self._say(f"{error}\nThe schedules stay as they were.")

    def _take_up(self, jobs: Jobs) -> None:
        """A tick that was killed, or asked to stop, is due at once."""
        mark = ticks.under_way(self._state)
        job = jobs.get_job(mark.schedule) if mark is not None else None
        if job is not None and job.next_run_time is not None:
            self._say(f"{job.id}: its last tick did not come to an end; taking it up again")
            job.modify(next_run_time=datetime.now(UTC))

    def _announce(self, jobs: Jobs) -> None:
        for job in jobs.get_jobs():
            self._say(f"{job.id}: {_next(job)} ({job.trigger.schedule.in_words()})")
        if not self._schedules:
            self._say(f"{self._file} has no schedule that is enabled")


def add(jobs: Jobs, state: State, schedule: Schedule) -> Job:
    """Make the job of a schedule that has none yet."""
    return jobs.add_job(_fire, Cron(schedule), id=schedule.name, args=[str(state.root), schedule.name])


_serving: dict[str, Clock] = {}
"""The clock that serves a state folder in this process: a job that lies in a store can name its function only."""


def _fire(root: str, name: str) -> None:
    _serving[root]._due(name)


@contextmanager
def opened(state: State) -> Iterator[Jobs]:
    """The jobs of a state folder. Errors: StateError."""
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    folder = ticks.folder(state)
    with reported(folder):
        folder.mkdir(parents=True, exist_ok=True)
    jobs = Jobs(
        jobstores={"default": SQLAlchemyJobStore(url=f"sqlite:///{folder / 'jobs.db'}")},
        executors={"default": ThreadPoolExecutor(1)},
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        timezone=UTC,
    )
    jobs.start()
    try:
        yield jobs
    finally:
        jobs.shutdown()


@contextmanager
def _sole(state: State) -> Iterator[None]:
    folder = ticks.folder(state)
    with reported(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "serve.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise StateError(
            f"Another process serves the schedules of {state.root}.",
            "One is enough: `fuser` on its serve.lock names it.",
        ) from None
    try:
        yield
    finally:
        lock.release()


def _next(job: Job) -> str:
    return "paused" if job.next_run_time is None else f"next {job.next_run_time:%Y-%m-%d %H:%M:%S %Z}"
