"""The jobs of the scheduler: one for each schedule, kept by APScheduler in the state folder.

    schedules/jobs.db         each schedule's next tick, and whether it is paused

APScheduler's own cron trigger counts weekdays from Monday and loses its way in the hour that autumn has twice (3.11.3,
tried); cronsim is asked instead.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.job import Job
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.util import datetime_to_utc_timestamp
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext

from pipelines import pending
from pipelines.schedules import Schedule
from trainer.errors import StateError
from trainer.state import State, reported

FILE = "jobs.db"

Run = Callable[[str, datetime], None]
"""Runs the tick of a schedule, by its name, that was due at a time."""

# The second one of a job waits for the first one's end; what comes due while it waits is made up for by it.
_DEFAULTS: dict[str, Any] = {"coalesce": True, "max_instances": 2, "misfire_grace_time": None}
_KEPT = {"name", "recipe", "cron", "time_zone"}


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
        """Errors: StateError."""
        self.get_jobs()  # `_process_jobs` passes over a store that cannot be read, in silence
        self._process_jobs()


class _Store(SQLAlchemyJobStore):
    """Jobs as JSON. APScheduler's own store pickles them, and reading a pickle runs whatever was written there."""

    def __init__(self, path: Path) -> None:
        super().__init__(url=f"sqlite:///{path}", tablename="schedules")

        @event.listens_for(self.engine, "handle_error")
        def report(context: ExceptionContext) -> None:
            raise StateError(
                f"{path} cannot be used: {context.original_exception}.",
                "Free some space, or give permission, if that is what it lacks. If it is damaged, move it away: the "
                "schedules then begin anew, and forget which of them were paused.",
            ) from None

    def start(self, scheduler: BaseScheduler, alias: str) -> None:
        super().start(scheduler, alias)
        # A job that cannot be read is dropped, and made anew from the file: nothing that a traceback need be shown of.
        self._logger.setLevel(logging.CRITICAL)
        self.get_all_jobs()

    def add_job(self, job: Job) -> None:
        with self.engine.begin() as connection:
            connection.execute(self.jobs_t.insert().values(id=job.id, **_row(job)))

    def update_job(self, job: Job) -> None:
        with self.engine.begin() as connection:
            connection.execute(self.jobs_t.update().values(**_row(job)).where(self.jobs_t.c.id == job.id))

    def _reconstitute_job(self, job_state: bytes) -> Job:
        kept = json.loads(job_state)
        schedule, due = Schedule.model_validate(kept["schedule"]), kept["next"]
        job = Job(
            self._scheduler,
            id=schedule.name,
            name=schedule.name,
            func=_fire,
            args=[],
            kwargs={},
            trigger=Cron(schedule),
            executor="default",
            next_run_time=due and datetime.fromisoformat(due).astimezone(schedule.zone),
            **_DEFAULTS,
        )
        job._jobstore_alias = self._alias
        return job


def _row(job: Job) -> dict[str, Any]:
    due = job.next_run_time
    kept = {
        "schedule": job.trigger.schedule.model_dump(mode="json", include=_KEPT),
        "next": due and due.isoformat(),
    }
    return {"next_run_time": datetime_to_utc_timestamp(due), "job_state": json.dumps(kept).encode()}


class _Queue(ThreadPoolExecutor):
    """One tick after the other. The jobs' next times move on as soon as they are in it, so it remembers them itself."""

    def __init__(self, state: State, run: Run) -> None:
        super().__init__(1)
        self._state = state
        self._run = run

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        name, due = job.id, run_times[-1]

        def ended(future: Future[None]) -> None:
            if future.exception() is None:
                self._run_job_success(name, [])
            else:
                self._run_job_error(name, future.exception())

        pending.ask(self._state, name, due)
        self._pool.submit(self._run, name, due).add_done_callback(ended)


def add(jobs: Jobs, schedule: Schedule) -> Job:
    """Make the job of a schedule that has none yet."""
    return jobs.add_job(_fire, Cron(schedule), id=schedule.name)


def _fire() -> None:
    """APScheduler wants a function for every job; the queue runs them all."""


def _refuse(name: str, due: datetime) -> None:
    raise AssertionError(f"{name} came due where jobs are only looked at")


@contextmanager
def opened(state: State, run: Run = _refuse) -> Iterator[Jobs]:
    """The jobs of a state folder. Errors: StateError, then and while they are used.

    Args:
        state: the state folder.
        run: what `run_due` calls, in a thread of its own, one call at a time. Left out: they are only looked at.
    """
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    folder = pending.folder(state)
    with reported(folder):
        folder.mkdir(parents=True, exist_ok=True)
    jobs = Jobs(
        jobstores={"default": _Store(folder / FILE)},
        executors={"default": _Queue(state, run)},
        job_defaults=_DEFAULTS,
        timezone=UTC,
    )
    jobs.start()
    try:
        yield jobs
    finally:
        jobs.shutdown()
