"""The scheduler of one machine: APScheduler over the schedule file, with its jobs kept in the state folder.

    schedules/serve.lock      held by the one process that serves a state folder

Every tick runs in a process of its own (`inception schedule run-now`), so that the scheduler stays small and a tick
that dies takes nothing with it.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from apscheduler.job import Job
from filelock import FileLock, Timeout

from pipelines import ticks
from pipelines.jobs import Cron, Jobs, add, arguments, opened, serving
from pipelines.schedules import Schedule, load
from trainer.errors import InceptionError, StateError
from trainer.state import State, reported

LOOK_SECONDS = 1.0
"""How often the scheduler looks for changes of the file, and for schedules that were paused or resumed."""
GRACE_SECONDS = 60.0
"""How long a tick that was asked to stop may take to put its work in order."""

Say = Callable[[str], None]


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
        self._seen: tuple[float, int] | None = None

    def stop(self) -> None:
        """Let `serve` end: the tick under way is asked to stop, and is taken up again at the next start."""
        self._stopping.set()

    def serve(self) -> None:
        """Run ticks as they come due until `stop` is called.

        Ticks that were missed meanwhile, however many, are made up for by one. Errors: StateError (another process
        serves this folder), RecipeError (a schedule file that cannot be used when the serving begins).
        """
        with _sole(self._state), opened(self._state) as jobs:
            self._seen = self._look()
            self._sync(jobs, load(self._file))
            self._take_up(jobs)
            self._announce(jobs)
            while not self._stopping.wait(LOOK_SECONDS):
                self._follow_file(jobs)
                jobs.run_due()

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
                ticks.ask(self._state, job.id)
                job.modify(next_run_time=job.trigger.schedule.after(now))
                well &= self._run(job.trigger.schedule, asked) == 0
                if self._stopping.is_set():
                    return False
            if not due:
                self._announce(jobs)
            return well

    def _run(self, schedule: Schedule, due: datetime) -> int:
        """Run one tick that was asked for, and forget that unless it was stopped or killed; its exit status."""
        status = self._tick(schedule, due)
        if status == 0 or (status > 0 and not self._stopping.is_set()):
            ticks.forget(self._state, schedule.name)
        return status

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
        schedule = self._schedules.get(name)
        while schedule is not None and not self._stopping.is_set():
            began = datetime.now(UTC)
            self._run(schedule, schedule.before(began))
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
                continue
            job.modify(args=arguments(self._state, schedule))  # the state folder may have been moved
            if trigger.same_times(job.trigger):
                job.modify(trigger=trigger)
            else:
                paused = job.next_run_time is None
                job.reschedule(trigger)
                if paused:
                    job.pause()
        serving[str(self._state.root)] = self._due

    def _follow_file(self, jobs: Jobs) -> None:
        seen = self._look()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._sync(jobs, load(self._file))
            self._say(f"{self._file} was read again")
            self._announce(jobs)
        except (OSError, InceptionError) as error:
            self._say(f"{error}\nThe schedules stay as they were.")

    def _look(self) -> tuple[float, int] | None:
        """What changes with the file: taken before it is read, so that no change is missed. None: it is not there."""
        try:
            status = self._file.stat()
        except OSError:
            return None
        return status.st_mtime, status.st_size

    def _take_up(self, jobs: Jobs) -> None:
        """A tick that was killed, asked to stop, or still waiting for another one's end is due at once."""
        mark = ticks.under_way(self._state)
        for name in sorted(ticks.asked(self._state) | ({mark.schedule} if mark is not None else set())):
            job = jobs.get_job(name)
            if job is None:
                ticks.forget(self._state, name)
            elif job.next_run_time is not None:
                self._say(f"{job.id}: its last tick did not come to an end; taking it up again")
                job.modify(next_run_time=datetime.now(UTC))

    def _announce(self, jobs: Jobs) -> None:
        for job in jobs.get_jobs():
            self._say(f"{job.id}: {_next(job)} ({job.trigger.schedule.in_words()})")
        if not self._schedules:
            self._say(f"{self._file} has no schedule that is enabled")


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
