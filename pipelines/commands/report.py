"""`inception report`: all runs on one page, or the card of one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.commands import options
from trainer.errors import StateError

if TYPE_CHECKING:
    from trainer.state import State


@click.command()
@click.argument("run", metavar="[RUN_KEY|TICK|latest]", required=False)
@click.option("--open", "opened", is_flag=True, help="Show the page in the browser.")
@click.option("--anew", is_flag=True, help="Make the card again from the run's record, though there is one.")
@options.state
@options.as_json
@options.debug
def report(run: str | None, opened: bool, anew: bool, root: Path, as_json: bool) -> None:
    """Write the index page over all runs, or find the card of one run, and say where it lies.

    Where INCEPTION_STORE names a store that runs share, all runs in it are listed; what that takes is fetched into the
    state folder first.

    Without an argument the index page is made anew: every run of the state folder with result, figures and a link to
    its card, by model, and who has been champion. With a run key (or its beginning), the id of a pipeline run or
    `latest`, that run's card is named; it is made from the record where it is missing.

    \b
    Example:
      inception report --open
      inception report latest --open
    """
    from trainer.state import State
    from trainer.storage import store_address

    # Also with an MLflow server in use, where other commands need none: the runs lie here.
    if store_address() is None and not root.is_dir():
        raise StateError(
            f"There is no state folder at {root}.",
            "Name the folder that `inception run` wrote with --state DIR, or run a recipe first.",
        )
    state = State.existing(root) if store_address() is None else State.open(root)
    if run is None:
        _index(state, opened, as_json)
    else:
        _card(state, run, opened, anew, as_json)


def _index(state: State, opened: bool, as_json: bool) -> None:
    from trainer.index.page import refresh

    runs = refresh(state)
    worked = [run for run in runs if run.result != "skipped"]
    shown = opened and _shown(state.index)
    if as_json:
        rows = [run.as_json() for run in worked]
        options.say_json({"index": str(state.index), "opened": shown, "skipped": len(runs) - len(worked), "runs": rows})
        return
    click.echo(options.relative(str(state.index)))
    for one in worked[:5]:
        click.echo(f"  {one.at:%Y-%m-%d %H:%M}  {one.result:<10} {one.model or '?'}  {one.reason}")
    if not worked:
        click.echo("  There is no run yet. Make one: inception run configs/digits.toml")


def _card(state: State, run: str, opened: bool, anew: bool, as_json: bool) -> None:
    from trainer.index.finding import card, find

    found = find(state, run)
    path = card(state, found, anew)
    shown = opened and _shown(path)
    if as_json:
        options.say_json({**found.as_json(), "card": str(path), "opened": shown})
        return
    click.echo(options.relative(str(path)))


def _shown(path: Path) -> bool:
    """Whether a browser took the page; where there is none, the path is all there is to say."""
    import webbrowser

    try:
        shown = webbrowser.open(path.as_uri())
    except webbrowser.Error:
        shown = False
    if not shown:
        click.echo("There is no browser here: open the file below on a machine that has one.", err=True)
    return shown
