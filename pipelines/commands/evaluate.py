"""`inception evaluate`: what a registered model scores on any images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.commands import options
from trainer.errors import UsageError
from trainer.output import expect, written

if TYPE_CHECKING:
    from rich.table import Table

    from trainer.judging.any_source import Images, Scored
    from trainer.registry.lookup import Found
    from trainer.scorecard import Interval, Scorecard

_CLASSES_SHOWN = 20


@click.command()
@click.argument("reference", metavar="NAME[@ALIAS|/VERSION]")
@click.option("--data", "source", required=True, metavar="SOURCE", help="digits, tfds:NAME, folder:PATH or a recipe.")
@click.option("--data-dir", metavar="DIR", help="Where TFDS finds its data.")
@click.option(
    "--split",
    type=click.Choice(["test", "train", "validation", "all"]),
    default="test",
    show_default=True,
    help="Which part of the images; `all` for images that no model was trained on.",
)
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE.json", help="Write the scorecard here too.")
@options.state
@options.as_json
@options.debug
def evaluate(
    reference: str, source: str, data_dir: str | None, split: str, out: Path | None, root: Path, as_json: bool
) -> None:
    """Score a registered model on any images; without alias or version its champion.

    Classes are matched by name. Where the source is the one that the model was trained on, its images are divided as
    they were then, so that `test` is the split it was judged on. With --out the scorecard is written as JSON with the
    answers to every image beside it (FILE.npz), which is what `inception gate` takes.

    \b
    Example:
      inception evaluate digits@champion --data digits
      inception evaluate digits/2 --data folder:scans --split all --out scans.json
    """
    from trainer.config import Evaluate
    from trainer.quiet import hushed
    from trainer.registry import opened_registry
    from trainer.registry.lookup import lookup
    from trainer.state import State, write_atomically

    if out is not None:
        _refuse(out)
    state = State.open(root)
    found = lookup(opened_registry(state), reference)
    click.echo(f"reading {source} …", err=True)
    with hushed():
        from trainer.judging import any_source

        asked = any_source.images(state, any_source.data_of(source, data_dir, [found]), split)
    click.echo(f"asking {found.name} version {found.version} about {len(asked.labels):,} images …", err=True)
    with hushed():
        file = out.with_suffix(".npz") if out is not None else Path("predictions.npz")
        scored = any_source.scored(state, found, asked, Evaluate(), file.name)
        if out is not None:
            with written(out, "--out"):
                scored.predictions.save(file)
                write_atomically(out, scored.card.model_dump_json(indent=2) + "\n")
    if as_json:
        options.say_json(
            {
                "model": found.name,
                "version": found.version,
                "source": asked.source,
                "split": asked.split,
                "seen_in_training": scored.seen,
                "scorecard": scored.card.model_dump(mode="json"),
                "written": None if out is None else str(out),
            }
        )
        return
    _show(found, asked, scored)
    if out is not None:
        click.echo(f"written: {out} and {file.name}")


def _refuse(out: Path) -> None:
    if out.suffix != ".json":
        raise UsageError(f"Received the scorecard's name {str(out)!r}.", "Let it end in .json.")
    expect(out, "--out")


def _show(found: Found, asked: Images, scored: Scored) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console, card = Console(highlight=False), scored.card
    part = "all of" if asked.split == "all" else f"the {asked.split} split of"
    console.print(
        Text(f"{found.name} version {found.version} on {card.examples:,} images: {part} {asked.source}", "bold")
    )
    if scored.seen:
        console.print(
            Text(f"{scored.seen:,} of them formed the model in its training: on those it looks too good.", "yellow")
        )
    elif scored.seen is None:
        console.print(Text("Whether it was trained on any of them is not recorded.", "yellow"))
    console.print()
    console.print(_figures(card))
    counted = sorted((one for one in card.per_class if one.count), key=lambda one: one.recall)
    console.print()
    classes = Table(
        "class", "images", "precision", "recall", "95 %", "F1", box=None, pad_edge=False, header_style="dim"
    )
    for one in counted[:_CLASSES_SHOWN]:
        classes.add_row(
            Text(one.name),
            f"{one.count:,}",
            f"{one.precision:.4f}",
            f"{one.recall:.4f}",
            between(one.recall_interval),
            f"{one.f1:.4f}",
        )
    for column in classes.columns[1:]:
        column.justify = "right"
    console.print(classes)
    if len(counted) > _CLASSES_SHOWN:
        console.print(Text(f"… {len(counted) - _CLASSES_SHOWN:,} better ones", "dim"))


def _figures(card: Scorecard) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("figure", "images", "value", "95 %", box=None, pad_edge=False, header_style="dim")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, words in (
        ("accuracy", "accuracy"),
        ("top5_accuracy", "top-5 accuracy"),
        ("log_loss", "log loss"),
        ("calibration_error", "calibration error"),
        ("macro_precision", "precision, mean of the classes"),
        ("macro_recall", "recall, mean of the classes"),
        ("macro_f1", "F1, mean of the classes"),
    ):
        value = getattr(card, name)
        if value is not None:
            table.add_row(words, f"{card.examples:,}", f"{value:.4f}", between(card.intervals.get(name)))
    if card.slices:
        table.add_section()
    for one in card.slices:
        table.add_row(
            Text(f"{one.column}: {one.value}"), f"{one.count:,}", f"{one.accuracy:.4f}", between(one.interval)
        )
    return table


def between(interval: Interval | None) -> str:
    """An interval in a table."""
    return "" if interval is None else f"{interval.low:.4f} – {interval.high:.4f}"
