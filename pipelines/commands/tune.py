"""`inception tune`: the best values of a recipe, by trying."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.commands import options

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from trainer.state import State
    from trainer.tuning.results import Tuned

_SHOWN = 20


@click.command()
@click.argument("recipe")
@click.option("--space", "space_file", required=True, metavar="FILE", help="What may vary (see configs/spaces/).")
@click.option("--trials", type=click.IntRange(min=1), required=True, help="How many in all, earlier ones included.")
@click.option("--parallel", type=click.IntRange(min=1), default=1, show_default=True, help="How many at once.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value: train.epochs=3.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the best recipe here too.")
@options.state
@options.as_json
@options.debug
def tune(
    recipe: str,
    space_file: str,
    trials: int,
    parallel: int,
    overrides: tuple[str, ...],
    output: Path | None,
    root: Path,
    as_json: bool,
) -> None:
    """Try values of a recipe and write the best ones down as a recipe of their own.

    RECIPE is a TOML file (see configs/), the space says which of its values may be others. Every trial trains on the
    training split and is judged on the validation split; the test split is not touched and nothing is registered.
    Trials that look hopeless are stopped early. A tuning that was killed goes on where it stopped, and with more
    --trials a finished one does too.

    \b
    Example:
      inception tune configs/digits.toml --space configs/spaces/digits.toml --trials 6
    """
    from rich.console import Console

    from pipelines.events import Follower
    from pipelines.trials import Trials
    from trainer import config
    from trainer.state import State
    from trainer.tune import tune as verb
    from trainer.tuning import space

    parsed = config.load(recipe, overrides)
    varied = space.load(space_file)
    state = State.open(root)
    # The file is named because what else is printed goes to the log.
    console = Console(file=sys.stderr if as_json else sys.stdout, highlight=False)
    with _log(state) as (log, events), Trials(console) as drawn, Follower(events, drawn.show), _interruptible():
        tuned = verb(parsed, varied, trials, state, log, parallel, output)
    if as_json:
        options.say_json(tuned.model_dump(mode="json"))
    else:
        _conclude(console, tuned, root)


@contextmanager
def _log(state: State) -> Iterator[tuple[Path, Path]]:
    """Where this process and its workers print to, and where the events of this process appear."""
    from trainer.events import EVENTS_VARIABLE
    from trainer.state import reported

    log = state.logs / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    with reported(log):
        log.parent.mkdir(parents=True, exist_ok=True)
        file = open(log, "a", encoding="utf-8", buffering=1)  # noqa: SIM115
    with file, redirect_stdout(file), tempfile.TemporaryDirectory() as folder:
        events = Path(folder) / "events.jsonl"
        os.environ[EVENTS_VARIABLE] = str(events)
        try:
            yield log, events
        finally:
            del os.environ[EVENTS_VARIABLE]


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM ends the work as Ctrl-C does: with the workers' checkpoints written."""
    from trainer.interruption import interrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _conclude(console: Console, tuned: Tuned, root: Path) -> None:
    from rich.text import Text

    console.print()
    console.print(_table(tuned))
    assert tuned.value is not None
    assert tuned.recipe is not None
    console.print()
    console.print(Text(f"trial {tuned.best}  {tuned.metric.replace('_', ' ')} {tuned.value:.4f}", "bold green"))
    if tuned.importance:
        shares = ", ".join(f"{key} {100 * share:.0f} %" for key, share in list(tuned.importance.items())[:5])
        console.print(Text.assemble("  ", ("depends on  ", "dim"), shares), soft_wrap=True)
    rows = [
        ("recipe      ", options.relative(tuned.recipe)),
        ("pictures    ", options.relative(tuned.folder)),
        ("next        ", options.command_line(["run", options.relative(tuned.recipe)], root)),
    ]
    for label, text in rows:
        console.print(Text.assemble("  ", (label, "dim"), text), soft_wrap=True)


def _table(tuned: Tuned) -> Table:
    """The trials, best first: what was finished, then the others."""
    from rich.table import Table
    from rich.text import Text

    from trainer.tuning.results import short_names, shown

    keys = sorted(tuned.trials[0].parameters, key=lambda key: -tuned.importance.get(key, 0.0))
    names = short_names(keys)
    table = Table(
        "trial", "", tuned.metric.removeprefix("validation_"), "epochs", box=None, header_style="bold", pad_edge=False
    )
    for key in keys:
        table.add_column(names[key], justify="right")
    sign = -1 if tuned.metric == "validation_accuracy" else 1
    ranked = sorted(
        tuned.trials, key=lambda t: (t.outcome != "done", t.value is None, sign * (t.value or 0.0), t.number)
    )
    for trial in ranked[:_SHOWN]:
        style = "bold green" if trial.number == tuned.best else "" if trial.outcome == "done" else "dim"
        value = "" if trial.value is None else f"{trial.value:.4f}"
        cells = [str(trial.number), trial.outcome, value, str(trial.epochs)]
        cells += [shown(trial.parameters[key]) for key in keys]
        table.add_row(*(Text(cell) for cell in cells), style=style)
    if len(ranked) > _SHOWN:
        table.add_row("…", f"{len(ranked) - _SHOWN} more in tuning.json")
    return table
