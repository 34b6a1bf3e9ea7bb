"""What the schedule commands do for a schedule on this machine; `schedule_cluster` does it for one on a cluster."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.schedules import Schedule
    from trainer.state import State


def rows(schedules: list[Schedule], file: Path, state: State) -> list[dict[str, Any]]:
    """The schedules of this machine as data. Writes nothing: before the first `serve` there are no jobs."""
    from pipelines import jobs, pending, ticks

    found: dict[str, Any] = {}
    if (pending.folder(state) / jobs.FILE).is_file():
        with jobs.opened(state) as kept:
            found = {job.id: job for job in kept.get_jobs()}
    past = {tick.schedule: tick for tick in ticks.history(state)}
    running = pending.running(state)
    rows = []
    for one in schedules:
        job, last = found.get(one.name), past.get(one.name)
        paused = job is not None and job.next_run_time is None
        known = job is not None and jobs.Cron(one).same_times(job.trigger)
        due = job.next_run_time if job is not None and known else one.after(datetime.now(UTC))
        status = "disabled" if not one.enabled else "paused" if paused else "enabled"
        now = running is not None and running.schedule == one.name
        rows.append(
            {
                "name": one.name,
                "recipe": one.recipe,
                "environment": None,
                "cron": one.cron,
                "time_zone": one.time_zone,
                "when": one.in_words(),
                "status": status,
                "next": due.astimezone(one.zone).isoformat() if status == "enabled" else None,
                "running": running.started.isoformat() if running is not None and now else None,
                "problem": one.problem(file.parent),
                "last": last.model_dump(mode="json") if last else None,
            }
        )
    return rows


def set_running(schedule: Schedule, root: Path, running: bool) -> datetime | None:
    """Pause or resume a schedule; its next tick."""
    from pipelines.jobs import add, opened
    from trainer.state import State

    with opened(State.open(root)) as jobs:
        if jobs.get_job(schedule.name) is None:
            add(jobs, schedule)
        (jobs.resume_job if running else jobs.pause_job)(schedule.name)
        following: datetime | None = jobs.get_job(schedule.name).next_run_time
    return following


def history(name: str | None, last: int, file: Path, root: Path) -> list[dict[str, Any]]:
    """The ticks as data, newest first."""
    from pipelines import ticks
    from pipelines.schedules import load, named
    from trainer.state import State

    found = ticks.history(State.existing(root), name)
    if name is not None and not found:
        named(load(file), name)
    return [tick.model_dump(mode="json") for tick in found[: -last - 1 : -1]]
