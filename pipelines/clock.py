"""The scheduler of one machine: APScheduler over the schedule file, with its jobs kept in the state folder.

    schedules/serve.lock      held by the one process that serves a state folder

Every tick runs in a process of its own (`inception schedule run-now`), so that the scheduler stays small and a tick
that dies takes nothing with it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from apscheduler.job import Job
from filelock import FileLock, Timeout

from pipelines import pending, ticks
from pipelines.jobs import Cron, Jobs, add, opened
from pipelines.schedules import Schedule, load
from pipelines.tick_process import TickProcess
from trainer import notifications
from trainer.errors import InceptionError, StateError
from trainer.state import State, reported

LOOK_SECONDS = 1.0
"""How often the scheduler looks for changes of the file, and for schedules that were paused or resumed."""

LOCK = "serve.lock"

Say = Callable[[str], None]


class Served(StateError):
    """Another process serves the state folder."""


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
        self._schedules: dict[str, Schedule] = {}
        self._began: dict[str, datetime] = {}
        self._stopping = threading.Event()
        self._seen: tuple[float, int] | None = None
        self._trouble = ""

    def stop(self) -> None:
        """Let `serve` end: the tick under way is asked to stop, and is taken up again at the next start."""
        self._stopping.set()

    def serve(self) -> None:
        """Run ticks as they come due until `stop` is called.

        Ticks that were missed meanwhile, however many, are made up for by one. Errors: StateError (another process
        serves this folder), RecipeError (a schedule file that cannot be used when the serving begins).
        """
        with _sole(self._state), opened(self._state, self._due) as jobs:
            self._seen = self._look()
            self._sync(jobs, load(self._file))
            self._announce(jobs)
            self._take_up(jobs)
            for problem in notifications.problems(self._state):
                self._say(problem)
            while not self._stopping.wait(LOOK_SECONDS):
                self._attend(jobs)

    def once(self) -> bool:
        """Run the ticks that have come due since the last time, and return whether all went well.

        Where another process serves the folder already there is nothing to do. Errors: as `serve`.
        """
        try:
            with _sole(self._state), opened(self._state) as jobs:
                return self._once(jobs)
        except Served as error:
            self._say(f"{error.message} It runs what is due.")
            return True

    def _once(self, jobs: Jobs) -> bool:
        self._sync(jobs, load(self._file))
        self._take_up(jobs)
        now = datetime.now(UTC)
        due = [job for job in jobs.get_jobs() if job.next_run_time is not None and job.next_run_time <= now]
        well = True
        for job in due:
            wanted = job.next_run_time
            pending.ask(self._state, job.id, wanted)
            job.modify(next_run_time=job.trigger.schedule.after(now))
            well &= self._run(job.trigger.schedule, wanted) == 0
            if self._stopping.is_set():
                return False
        if not due:
            self._announce(jobs)
        return well

    def _attend(self, jobs: Jobs) -> None:
        """Start what is due, by the newest file. A full disk, say, is told once, and may pass."""
        try:
            self._follow_file(jobs)
            jobs.run_due()
            self._trouble = ""
        except StateError as error:
            if str(error) != self._trouble:
                self._say(str(error))
            self._trouble = str(error)

    def _due(self, name: str, due: datetime) -> None:
        """A schedule's time has come."""
        schedule, began = self._schedules.get(name), self._began.get(name)
        if began is not None and due <= began:
            pending.forget(self._state, name, began)  # it came up again because the disk refused to note that it ran
        elif schedule is not None and not self._stopping.is_set():
            try:
                self._run(schedule, due)
            except InceptionError as error:
                self._say(f"{name}: {error}")

    def _run(self, schedule: Schedule, due: datetime) -> int:
        """Run one tick that was asked for, and forget that unless it was stopped; its exit status.

        Errors: StateError (it failed without a word, and that cannot be noted).
        """
        began = self._began[schedule.name] = datetime.now(UTC)
        self._say(f"{began:%Y-%m-%d %H:%M:%S} UTC  {schedule.name}: its tick begins")
        try:
            status = self._tick(schedule, due)
        except OSError as error:
            self._say(f"{schedule.name}: its process could not be started: {error}")
            return 1
        if status == 0 or not self._stopping.is_set():
            if status != 0:
                ticks.without_word(self._state, schedule, due, began, status)
            pending.forget(self._state, schedule.name, began)
        return status

    def _tick(self, schedule: Schedule, due: datetime) -> int:
        """Run one tick in a process of its own; its exit status."""
        return TickProcess(schedule.name, due, self._file, self._state).wait(self._stopping, self._say)

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
                add(jobs, schedule)
            elif trigger.same_times(job.trigger):
                job.modify(trigger=trigger)
            else:
                paused = job.next_run_time is None
                job.reschedule(trigger)
                if paused:
                    job.pause()

    def _follow_file(self, jobs: Jobs) -> None:
        seen = self._look()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            schedules = load(self._file)
        except (OSError, InceptionError) as error:
            self._say(f"{error}\nThe schedules stay as they were.")
            return
        try:
            self._sync(jobs, schedules)
        except StateError:
            self._seen = None  # so that the next look tries once more
            raise
        self._say(f"{self._file} was read again")
        self._announce(jobs)

    def _look(self) -> tuple[float, int] | None:
        """What changes with the file: taken before it is read, so that no change is missed. None: it is not there."""
        try:
            status = self._file.stat()
        except OSError:
            return None
        return status.st_mtime, status.st_size

    def _take_up(self, jobs: Jobs) -> None:
        """A tick that was killed, asked to stop, or still waiting for another one's end is due at once."""
        mark, running = pending.under_way(self._state), pending.running(self._state)
        if mark is not None and mark.schedule not in pending.asked(self._state):
            pending.ask(self._state, mark.schedule, mark.due or mark.started)
        for name, due in sorted(pending.asked(self._state).items()):
            job = jobs.get_job(name)
            if job is None:
                pending.forget(self._state, name, datetime.now(UTC))
            elif job.next_run_time is not None:
                if running is not None and running.schedule == name:
                    self._say(f"{name}: its tick still runs, as process {running.process}; waiting for its end")
                else:
                    self._say(f"{name}: its last tick did not come to an end; taking it up again")
                job.modify(next_run_time=due)

    def _announce(self, jobs: Jobs) -> None:
        for job in jobs.get_jobs():
            self._say(f"{job.id}: {_next(job)} ({job.trigger.schedule.in_words()})")
        for schedule in self._schedules.values():
            problem = schedule.problem(self._file.parent)
            if problem is not None:
                self._say(problem)
        if not self._schedules:
            self._say(f"{self._file} has no schedule for this machine that is enabled")


@contextmanager
def _sole(state: State) -> Iterator[None]:
    folder = pending.folder(state)
    with reported(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        try:
            lock.acquire(pending.LOOKED_AT_SECONDS)
        except Timeout:
            raise Served(
                f"Another process serves the schedules of {state.root}.",
                f"One is enough: `fuser` on its {LOCK} names it.",
            ) from None
    try:
        yield
    finally:
        lock.release()


def served(state: State) -> bool:
    """Whether a process serves the schedules of a state folder."""
    return pending.held(pending.folder(state) / LOCK)


def _next(job: Job) -> str:
    due = job.next_run_time
    if due is None:
        return "paused"
    return f"{'next' if due > datetime.now(UTC) else 'due since'} {due:%Y-%m-%d %H:%M:%S %Z}"
