"""`inception compare`: two registered models on the same images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.commands import options

if TYPE_CHECKING:
    from trainer.compare import Paired, Side


@click.command()
@click.argument("first", metavar="A[@ALIAS|/VERSION]")
@click.argument("second", metavar="B[@ALIAS|/VERSION]")
@click.option("--data", "source", metavar="SOURCE", help="digits, tfds:NAME, folder:PATH or a recipe.")
@click.option("--data-dir", metavar="DIR", help="Where TFDS finds its data.")
@click.option(
    "--split",
    type=click.Choice(["test", "train", "validation", "all"]),
    default="test",
    show_default=True,
    help="Which part of the images of --data; `all` for images that no model was trained on.",
)
@options.state
@options.as_json
@options.debug
def compare(
    first: str, second: str, source: str | None, data_dir: str | None, split: str, root: Path, as_json: bool
) -> None:
    """Say which of two registered models is better, or that the images cannot tell.

    Without --data the answers are those that both gave when they were evaluated, on the test images that both were
    asked about. The test is McNemar's, exact and two-sided: only images on which exactly one of the two is right say
    anything. Nothing is changed, and the exit status is 0 whoever is better.

    \b
    Example:
      inception compare digits@challenger digits@champion
      inception compare digits/3 digits/2 --data folder:scans --split all
    """
    from trainer.config import Evaluate
    from trainer.quiet import hushed
    from trainer.registry import opened_registry
    from trainer.registry.lookup import lookup
    from trainer.state import State

    state = State.open(root)
    registry = opened_registry(state)
    one, other = lookup(registry, first), lookup(registry, second)
    if source is not None:
        click.echo(f"reading {source} and asking both …", err=True)
    with hushed():
        from trainer import compare as verb
        from trainer.judging import any_source

        if source is None:
            paired = verb.compare_recorded(state, one, other, Evaluate().resamples)
        else:
            asked = any_source.images(state, any_source.data_of(source, data_dir, [one, other]), split)
            paired = verb.compare_on(state, one, other, asked, Evaluate())
    if as_json:
        options.say_json({**paired.model_dump(mode="json"), "conclusion": _conclusion(paired)})
    else:
        _show(paired)


def _show(paired: Paired) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from pipelines.commands.evaluate import between

    console = Console(highlight=False)
    console.print(Text(f"{paired.examples:,} images, {len(paired.classes)} classes: {paired.source}", "bold"))
    for side in (paired.first, paired.second):
        if side.seen:
            console.print(
                Text(f"{_name(side)} knows {side.seen:,} of them from its training: too good there.", "yellow")
            )
    console.print()
    table = Table("", _name(paired.first), _name(paired.second), box=None, pad_edge=False, header_style="bold")
    sides = (paired.first, paired.second)
    table.add_row("accuracy", *(f"{side.accuracy:.4f}" for side in sides))
    table.add_row("95 %", *(between(side.interval) for side in sides), style="dim")
    table.add_row("log loss", *(f"{side.log_loss:.4f}" for side in sides))
    table.add_row("calibration error", *(f"{side.calibration_error:.4f}" for side in sides))
    table.add_row("right alone", *(f"{side.right_alone:,} images" for side in sides))
    for column in table.columns[1:]:
        column.justify = "right"
    console.print(table)
    low, high = paired.difference_interval.low, paired.difference_interval.high
    console.print()
    console.print(f"difference  {paired.difference:+.4f}  (95 %: {low:+.4f} to {high:+.4f})")
    console.print(f"McNemar p   {paired.p_value:.2g}  (exact, two-sided; level {paired.level:g})")
    console.print()
    console.print(Text(_conclusion(paired), "bold green" if paired.better else "bold yellow"))


def _conclusion(paired: Paired) -> str:
    if paired.better is not None:
        better, worse = (paired.first, paired.second)[:: 1 if paired.better == "first" else -1]
        return f"{_name(better)} is better than {_name(worse)}."
    if paired.examples_needed is None:
        return "Cannot tell: the two are right equally often."
    low, high = paired.difference_interval.low, paired.difference_interval.high
    but = "" if low <= 0 <= high else " (the exact test, which decides, is stricter than the interval without 0)"
    return f"Cannot tell which is better: about {paired.examples_needed:,} images would{but}."


def _name(side: Side) -> str:
    return f"{side.name} version {side.version}"
