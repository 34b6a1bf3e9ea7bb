"""`inception notify`: tell once more how a run ended, or try out whom the notifications reach."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.commands import options

if TYPE_CHECKING:
    from trainer.notifications import Notifications
    from trainer.record import Outcome


@click.command()
@click.argument("tick", required=False)
@options.state
@options.as_json
@options.debug
@click.pass_context
def notify(ctx: click.Context, tick: str | None, root: Path, as_json: bool) -> None:
    """Send the notification of a pipeline run again; of the newest one where no TICK is given.

    Whom it goes to is in notifications.toml in the state folder: see docs/schedules.md.

    \b
    Example:
      inception notify
    """
    from trainer import channels, notifications, sharing
    from trainer.record import Outcome, find
    from trainer.state import State
    from trainer.storage import store_address

    state = State.existing(root) if store_address() is None else State.open(root)
    sharing.fetch_runs(state)
    folder = _folder(state.root / "ticks", tick)
    outcome = find(folder, Outcome)
    if outcome is None:
        ctx.fail(f"The outcome of the run {folder.name} was written by another version of inception, or is damaged.")
    wanted = notifications.load(state)
    with redirect_stdout(sys.stderr):  # what could not be sent is noted beside the answer
        told = notifications.tell(state, outcome)
    if as_json:
        options.say_json({"tick": outcome.tick, "result": outcome.result, "told": told})
    else:
        click.echo(f"{channels.subject(outcome)}\ntold: {', '.join(told) or _nobody(wanted, outcome)}")
    if len(told) < len(wanted.wanting(outcome.result)):
        ctx.exit(1)


def _nobody(wanted: Notifications, outcome: Outcome) -> str:
    """Why nobody was told."""
    from trainer.notifications import FILE

    if not (wanted.webhook or wanted.email):
        return f"nobody. There is no {FILE} in the state folder, or nobody in it."
    if not wanted.wanting(outcome.result):
        return (
            f"nobody. No `on` of {FILE} lists {outcome.result!r}. To try it out name another run, by its folder in "
            "ticks/: inception notify TICK"
        )
    return "nobody"


def _folder(ticks: Path, tick: str | None) -> Path:
    """Errors: UsageError."""
    from trainer.errors import UsageError, nearest

    ended = sorted(ticks.glob("*/outcome.json"), key=_when)
    if not ended:
        raise UsageError(f"No run has come to its end in {ticks.parent}.", "Run a recipe first: inception run RECIPE.")
    known = {path.parent.name: path.parent for path in ended}
    if tick is None:
        return ended[-1].parent
    if tick not in known:
        raise UsageError(f"There is no run {tick!r} in {ticks}.", nearest(tick, list(known)[-5:]))
    return known[tick]


def _when(outcome: Path) -> float:
    """Of its run's end. What was fetched from a store is as a file younger than that."""
    from trainer.record import Outcome, find

    told = find(outcome.parent, Outcome)
    return told.at.timestamp() if told is not None and told.at is not None else outcome.stat().st_mtime
