"""`inception schedule`: retraining by the clock, on this machine and on clusters."""

from __future__ import annotations

import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import click

from pipelines.commands import options, targets
from pipelines.commands.schedule_cluster import apply, plan


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
    from contextlib import nullcontext, redirect_stdout

    from rich.console import Console

    from pipelines import ticks
    from pipelines.commands import schedule_cluster
    from pipelines.progress import Progress
    from pipelines.schedules import load, named
    from trainer.interruption import INTERRUPTED, interrupt
    from trainer.state import State

    chosen = named(load(file), name)
    if chosen.environment is not None:
        schedule_cluster.run_now(ctx, chosen, as_json)
        return
    signal.signal(signal.SIGTERM, interrupt)
    console = Console(file=sys.stderr if as_json else sys.stdout, highlight=False)
    try:
        # Notes belong to no step and would come before the JSON object.
        with redirect_stdout(sys.stderr) if as_json else nullcontext(), Progress(console) as progress:
            tick = ticks.run(chosen, file, State.open(root), progress.show, due)
    except KeyboardInterrupt:
        if due is None:
            raise
        console.print(f"{name}: stopped. It is taken up again when the scheduler starts.", markup=False)
        ctx.exit(INTERRUPTED)
    if tick is None:
        console.print(f"{name}: the tick that ended meanwhile was this one.", markup=False)
        return
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
    from pipelines.clock import served
    from pipelines.commands import schedule_cluster, schedule_here, schedule_tables
    from pipelines.schedules import load
    from trainer.state import State

    state, servers, found = State(root.absolute()), dict[str, Any](), load(file)
    here = iter(schedule_here.rows([one for one in found if one.environment is None], file, state))
    rows = [next(here) if one.environment is None else schedule_cluster.row(one, servers) for one in found]
    is_served = served(state)
    if as_json:
        options.say_json({"schedules": rows, "served": is_served})
        return
    if not rows:
        click.echo(f"{file} has no schedule yet. See docs/schedules.md.")
        return
    schedule_tables.draw_list(rows)
    if not is_served and any(row["environment"] is None and row["status"] == "enabled" for row in rows):
        words = ["schedule", "serve", *_named(file)]
        click.echo(f"Nobody serves the schedules of this machine now: {options.command_line(words, root)}")


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
    _set_running(name, file, root, False)
    words = ["schedule", "resume", name, *_named(file)]
    click.echo(f"{name} is paused. Resume it: {options.command_line(words, root)}")


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
    following = _set_running(name, file, root, True)
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
    from pipelines.commands import schedule_tables

    found = _history(name, last, file, root)
    if as_json:
        options.say_json({"ticks": found})
        return
    if not found:
        click.echo("No tick has come to an end yet.")
        return
    schedule_tables.draw_history(found)


def _history(name: str | None, last: int, file: Path, root: Path) -> list[dict[str, Any]]:
    """The ticks as data, newest first."""
    from pipelines.commands import schedule_cluster, schedule_here
    from pipelines.schedules import load

    if name is not None and file.exists():
        chosen = next((one for one in load(file) if one.name == name), None)
        if chosen is not None and chosen.environment is not None:
            return schedule_cluster.history(chosen, last)
    return schedule_here.history(name, last, file, root)


def _named(file: Path) -> list[str]:
    """The schedule file, in words to type, unless it would be found without."""
    from pipelines.schedules import DEFAULT_FILE

    return [] if file == DEFAULT_FILE else ["--file", str(file)]


def _set_running(name: str, file: Path, root: Path, running: bool) -> datetime | None:
    """Pause or resume a schedule; its next tick."""
    from pipelines.commands import schedule_cluster, schedule_here
    from pipelines.schedules import load, named
    from trainer.errors import UsageError

    chosen = named(load(file), name)
    if not chosen.enabled:
        raise UsageError(f"The schedule {name!r} is not enabled.", f"Set enabled = true in {file} first.")
    if chosen.environment is None:
        return schedule_here.set_running(chosen, root, running)
    schedule_cluster.set_running(chosen, running)
    return chosen.after(datetime.now(UTC))
