"""`inception schedule`: retraining by the clock, on this machine and on clusters."""

from __future__ import annotations

import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from pipelines.commands import options, targets
from pipelines.commands.schedule_cluster import apply, plan

if TYPE_CHECKING:
    from pipelines.schedules import Schedule
    from trainer.state import State

_STYLES = {"promoted": "green", "done": "green", "skipped": "cyan", "failed": "red", "interrupted": "red"}


@click.group()
def schedule() -> None:
    """Retrain by the clock: what configs/schedules.toml says, on this machine and on clusters.

    \b
    Example:
      inception schedule serve
      inception schedule apply --environment prod
      inception schedule list
    """


schedule.add_command(plan)
schedule.add_command(apply)


@schedule.command()
@click.option("--once", is_flag=True, help="Run what has come due since the last time, and end: for cron and systemd.")
@targets.schedule_file
@options.state
@options.debug
@click.pass_context
def serve(ctx: click.Context, once: bool, file: Path, root: Path) -> None:
    """Run every schedule's ticks as they come due, until Ctrl-C or SIGTERM.

    Ticks that were missed are made up for by one; two never run at once. A tick that is stopped in the middle, or
    killed, is taken up again at the next start. The file is read again when it changes.

    \b
    Example:
      inception schedule serve
      inception schedule serve --once
    """
    from pipelines.clock import Clock
    from trainer.state import State

    clock = Clock(State.open(root), file.absolute(), click.echo)

    def stop(number: int, frame: FrameType | None) -> None:
        clock.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    if not once:
        clock.serve()
    elif not clock.once():
        ctx.exit(1)


@schedule.command("run-now")
@click.argument("name")
@click.option("--due", type=datetime.fromisoformat, hidden=True)
@targets.schedule_file
@options.state
@options.as_json
@options.debug
@click.pass_context
def run_now(ctx: click.Context, name: str, due: datetime | None, file: Path, root: Path, as_json: bool) -> None:
    """Run a schedule's tick now, whatever the clock says; on this machine, once no other tick runs.

    \b
    Example:
      inception schedule run-now digits-weekly
    """
    from rich.console import Console

    from pipelines import ticks
    from pipelines.commands import schedule_cluster
    from pipelines.progress import Progress
    from pipelines.schedules import load, named
    from trainer.interruption import interrupt
    from trainer.state import State

    chosen = named(load(file), name)
    if chosen.environment is not None:
        schedule_cluster.run_now(ctx, chosen, as_json)
        return
    signal.signal(signal.SIGTERM, interrupt)
    console = Console(file=sys.stderr if as_json else sys.stdout, highlight=False)
    with Progress(console) as progress:
        tick = ticks.run(chosen, file.parent / chosen.recipe, State.open(root), progress.show, due)
    if as_json:
        options.say_json(tick.model_dump(mode="json"))
    else:
        console.print(f"{name}: {tick.result}. {tick.reason}", markup=False, soft_wrap=True)
    if tick.result == "failed":
        ctx.exit(1)


@schedule.command("list")
@targets.schedule_file
@options.state
@options.as_json
@options.debug
def list_(file: Path, root: Path, as_json: bool) -> None:
    """List the schedules: when each ticks next, and how its last tick ended.

    \b
    Example:
      inception schedule list --json
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from pipelines.commands import schedule_cluster
    from pipelines.schedules import load
    from trainer.state import State

    state, servers = State.open(root), dict[str, Any]()
    rows = [_row(one, state) if one.environment is None else schedule_cluster.row(one, servers) for one in load(file)]
    if as_json:
        options.say_json({"schedules": rows})
        return
    table = Table("schedule", "where", "when", "next", "last tick", box=None, header_style="bold", pad_edge=False)
    for row in rows:
        last = row["last"]
        ended = f"{last['ended'][:16].replace('T', ' ')} {last['result']}" if last else "never"
        where = row["environment"] or "here"
        table.add_row(Text(row["name"]), where, row["when"], row["next"] or row["status"], ended)
    Console().print(table)


@schedule.command()
@click.argument("name")
@targets.schedule_file
@options.state
@options.debug
def pause(name: str, file: Path, root: Path) -> None:
    """Let a schedule rest until it is resumed.

    \b
    Example:
      inception schedule pause digits-weekly
    """
    from pipelines.schedules import DEFAULT_FILE

    _set_paused(name, file, root, True)
    named = [] if file == DEFAULT_FILE else ["--file", str(file)]
    click.echo(f"{name} is paused. Resume it: {options.command_line(['schedule', 'resume', name, *named], root)}")


@schedule.command()
@click.argument("name")
@targets.schedule_file
@options.state
@options.debug
def resume(name: str, file: Path, root: Path) -> None:
    """Let a schedule that was paused tick again, from its next time on.

    \b
    Example:
      inception schedule resume digits-weekly
    """
    following = _set_paused(name, file, root, False)
    click.echo(f"{name} ticks next at {following:%Y-%m-%d %H:%M:%S %Z}")


@schedule.command()
@click.argument("name", required=False)
@click.option("--last", default=20, show_default=True, type=click.IntRange(min=1), help="How many ticks to show.")
@targets.schedule_file
@options.state
@options.as_json
@options.debug
def history(name: str | None, last: int, file: Path, root: Path, as_json: bool) -> None:
    """Show the ticks of a schedule, or of all on this machine, newest first, with their verdicts.

    A pipeline server knows no verdicts: those of a cluster are read from its ledger, if the environment says where
    that is; else it is said whether there was anything to do.

    \b
    Example:
      inception schedule history digits-weekly
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    found = _history(name, last, file, root)
    if as_json:
        options.say_json({"ticks": found})
        return
    if not found:
        click.echo("No tick has come to an end yet.")
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("ended (UTC)", "schedule", "result", "version"):
        table.add_column(column, no_wrap=True)
    table.add_column("reason")
    for tick in found:
        ended = f"{datetime.fromisoformat(tick['ended']).astimezone(UTC):%Y-%m-%d %H:%M}"
        result = Text(tick["result"], _STYLES.get(tick["result"], "yellow"))
        reason = next(iter(tick["reason"].splitlines()), "")
        table.add_row(ended, Text(tick["schedule"]), result, tick.get("version") or "", Text(reason))
    Console().print(table)


def _history(name: str | None, last: int, file: Path, root: Path) -> list[dict[str, Any]]:
    """The ticks as data, newest first."""
    from pipelines import ticks
    from pipelines.commands import schedule_cluster
    from pipelines.schedules import load, named
    from trainer.state import State

    if name is not None and file.exists():
        chosen = next((one for one in load(file) if one.name == name), None)
        if chosen is not None and chosen.environment is not None:
            return schedule_cluster.history(chosen, last)
    found = ticks.history(State.existing(root), name)
    if name is not None and not found:
        named(load(file), name)
    return [tick.model_dump(mode="json") for tick in found[: -last - 1 : -1]]


def _row(one: Schedule, state: State) -> dict[str, Any]:
    from pipelines import ticks
    from pipelines.jobs import Cron, opened

    past = ticks.history(state, one.name)
    with opened(state) as jobs:
        job = jobs.get_job(one.name)
    paused = job is not None and job.next_run_time is None
    known = job is not None and Cron(one).same_times(job.trigger)
    due = job.next_run_time if known else one.after(datetime.now(UTC))
    status = "disabled" if not one.enabled else "paused" if paused else "enabled"
    return {
        "name": one.name,
        "recipe": one.recipe,
        "environment": None,
        "cron": one.cron,
        "time_zone": one.time_zone,
        "when": one.in_words(),
        "status": status,
        "next": f"{due.astimezone(one.zone):%Y-%m-%d %H:%M:%S %Z}" if status == "enabled" else None,
        "last": past[-1].model_dump(mode="json") if past else None,
    }


def _set_paused(name: str, file: Path, root: Path, paused: bool) -> datetime | None:
    """Pause or resume a job; its next tick."""
    from pipelines.commands import schedule_cluster
    from pipelines.jobs import add, opened
    from pipelines.schedules import load, named
    from trainer.errors import UsageError
    from trainer.state import State

    chosen = named(load(file), name)
    if not chosen.enabled:
        raise UsageError(f"The schedule {name!r} is not enabled.", f"Set enabled = true in {file} first.")
    if chosen.environment is not None:
        schedule_cluster.set_running(chosen, not paused)
        return chosen.after(datetime.now(UTC))
    with opened(State.open(root)) as jobs:
        if jobs.get_job(name) is None:
            add(jobs, State.open(root), chosen)
        (jobs.pause_job if paused else jobs.resume_job)(name)
        following: datetime | None = jobs.get_job(name).next_run_time
    return following
