"""The jobs of the scheduler: one for each schedule, kept by APScheduler in the state folder.

    schedules/jobs.db         each schedule's next tick, and whether it is paused

APScheduler's own cron trigger counts weekdays from Monday and loses its way in the hour that autumn has twice (3.11.3,
tried); cronsim is asked instead.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.job import Job
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.triggers.base import BaseTrigger

from pipelines import ticks
from pipelines.schedules import Schedule
from trainer.state import State, reported

serving: dict[str, Callable[[str], None]] = {}
"""What runs a schedule's tick, by state folder: a job that lies in a store can name a function of a module only."""


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


class _Queue(ThreadPoolExecutor):
    """One tick after the other. The jobs' next times move on as soon as they are in it, so it remembers them itself."""

    def __init__(self, state: State) -> None:
        super().__init__(1)
        self._state = state

    def _do_submit_job(self, job: Job, run_times: list[datetime]) -> None:
        ticks.ask(self._state, job.id)
        super()._do_submit_job(job, run_times)


def add(jobs: Jobs, state: State, schedule: Schedule) -> Job:
    """Make the job of a schedule that has none yet."""
    return jobs.add_job(_fire, Cron(schedule), id=schedule.name, args=arguments(state, schedule))


def arguments(state: State, schedule: Schedule) -> list[str]:
    """What a job is called with."""
    return [str(state.root), schedule.name]


def _fire(root: str, name: str) -> None:
    serving[root](name)


@contextmanager
def opened(state: State) -> Iterator[Jobs]:
    """The jobs of a state folder. Errors: StateError."""
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    folder = ticks.folder(state)
    with reported(folder):
        folder.mkdir(parents=True, exist_ok=True)
    jobs = Jobs(
        jobstores={"default": SQLAlchemyJobStore(url=f"sqlite:///{folder / 'jobs.db'}")},
        executors={"default": _Queue(state)},
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        timezone=UTC,
    )
    jobs.start()
    try:
        yield jobs
    finally:
        jobs.shutdown()
