"""`inception run`: the pipeline, once: in processes of this machine, in containers of this machine, or on a cluster."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from pipelines.commands import options, targets

if TYPE_CHECKING:
    from rich.console import Console

    from trainer.record import Outcome

TARGETS = {"local": "pipelines.local", "docker": "pipelines.containers"}
"""Where a run may take place on this machine, and the module whose `run(recipe, state, show, force) -> Outcome` does it
there."""
KFP = "kfp"

STYLES = {"promoted": "green", "kept": "yellow", "undecided": "yellow", "skipped": "cyan", "failed": "red"}


@click.command()
@click.argument("recipe")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value: train.epochs=3.")
@click.option("--force", is_flag=True, help="Train again although nothing changed.")
@click.option(
    "--target",
    type=click.Choice([*TARGETS, KFP]),
    default="local",
    show_default=True,
    help="Where: in processes here, in containers here (`make images` first), or on a pipeline server.",
)
@targets.environment(required=False)
@targets.allow_tags
@options.state
@options.as_json
@options.debug
@click.pass_context
def run(
    ctx: click.Context,
    recipe: str,
    overrides: tuple[str, ...],
    force: bool,
    target: str,
    environment: str | None,
    allow_tags: bool,
    root: Path,
    as_json: bool,
) -> None:
    """Train the recipe's network on the recipe's images and promote it if it deserves it.

    RECIPE is a TOML file (see configs/). A run that finds images, recipe and code unchanged does nothing and says so.
    A run that was killed goes on where it stopped.

    \b
    Example:
      inception run configs/digits.toml --set train.epochs=3
      inception run configs/digits.toml --target docker
      inception run configs/digits.toml --target kfp --environment prod
    """
    if target == KFP:
        if environment is None:
            raise click.MissingParameter(ctx=ctx, param_hint="--environment", param_type="option")
        from pipelines.commands import run_on_cluster

        run_on_cluster.run(ctx, recipe, overrides, force, environment, allow_tags, root, as_json)
        return
    _expect_nothing_of_clusters(ctx)
    from rich.console import Console

    from pipelines.progress import Progress
    from trainer import config
    from trainer.record import as_json as document
    from trainer.state import State

    parsed = config.load(recipe, overrides)
    state = State.open(root)
    # Progress keeps to standard error where standard output belongs to the JSON object.
    # The file is named because the run sends whatever else is printed to its log.
    console = Console(file=sys.stderr if as_json else sys.stdout, highlight=False)
    place = importlib.import_module(TARGETS[target])
    with Progress(console) as progress:
        outcome: Outcome = place.run(parsed, state, progress.show, force)
    if as_json:
        options.say_json(document(outcome))
    else:
        asked = [recipe, *(word for one in overrides for word in ("--set", one))]
        _conclude(console, outcome, asked + ["--target", target] * (target != "local"), root)
    if outcome.result == "failed":
        ctx.exit(1)


def _expect_nothing_of_clusters(ctx: click.Context) -> None:
    for name in ("environment", "allow_tags"):
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(f"{option} is for a run on a cluster. Add --target {KFP}, or leave it out.", ctx)


def _conclude(console: Console, outcome: Outcome, asked: list[str], root: Path) -> None:
    from rich.text import Text

    console.print()
    console.print(Text(outcome.result.upper(), f"bold {STYLES[outcome.result]}").append(_what(outcome), "bold"))
    first, second = _next(outcome, asked, root)
    rows = [
        ("", outcome.reason),
        ("", outcome.remedy),
        ("run card  ", options.relative(outcome.card)),
        ("next      ", first),
        ("          ", second),
    ]
    for label, text in rows:
        if text:
            console.print(Text.assemble("  ", (label, "dim"), text), soft_wrap=True)


def _what(outcome: Outcome) -> str:
    """What the result is about. Beside KEPT the version alone would be read as the one that was kept."""
    figure = f"accuracy {outcome.accuracy:.4f}" if outcome.accuracy is not None else ""
    if outcome.result == "kept" and outcome.version is not None:
        stays = f"version {outcome.champion} stays champion" if outcome.champion else "nobody is champion"
        made = f"version {outcome.version}" + (f" ({figure})" if figure else "")
        return f"  {outcome.model}: {stays}, {made} was not promoted"
    made = f"{outcome.model} version {outcome.version}" if outcome.version is not None else ""
    return "".join(f"  {text}" for text in (made, figure) if text)


def _next(outcome: Outcome, asked: list[str], root: Path) -> list[str]:
    """The two commands that make sense now, as they can be typed here.

    Args:
        outcome: how the run ended.
        asked: its recipe and overrides.
        root: its state folder.
    """
    if outcome.result == "failed":
        words = [["run", *asked], ["run", *asked, "--debug"]]
    elif outcome.champion is None:
        words = [["lookup", f"{outcome.model}@challenger"], ["ui"]]
    elif outcome.result == "skipped":
        words = [["lookup", f"{outcome.model}@champion"], ["run", *asked, "--force"]]
    else:
        words = [["lookup", f"{outcome.model}@champion"], ["predict", f"{outcome.model}@champion", "IMAGE"]]
    return [options.command_line(line, root) for line in words]
