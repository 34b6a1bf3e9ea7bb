"""`inception data`: what the prepared images are, and a picture of what the network sees of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.commands import options
from trainer.errors import UsageError

if TYPE_CHECKING:
    from trainer.config import Recipe
    from trainer.data.prepared import PreparedDataset

_CLASSES_SHOWN = 20
_REJECTED_SHOWN = 5


@click.command()
@click.argument("recipe")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value: train.seed=3.")
@click.option("--data-dir", metavar="DIR", help="Where TFDS finds its data: short for --set data.data_dir=DIR.")
@click.option(
    "--show", metavar="FILE", type=click.Path(path_type=Path), help="Draw what the network sees, as a PNG picture."
)
@options.state
@options.as_json
@options.debug
def data(
    recipe: str, overrides: tuple[str, ...], data_dir: str | None, show: Path | None, root: Path, as_json: bool
) -> None:
    """Show what a recipe trains on: classes, images per split, what was left out; prepared first, if need be.

    With --show, a contact sheet: rows of training images as they are and as the first epochs change them, and, where
    the recipe mixes images, some of those with the share of each label.

    \b
    Example:
      inception data configs/digits.toml
      inception data configs/digits.toml --set train.augment.rotation=45.0 --show digits.png
    """
    from trainer import config
    from trainer.quiet import hushed
    from trainer.state import State, write_atomically

    if show is not None:
        _refuse(show)
    given = [] if data_dir is None else [f"data.data_dir={json.dumps(data_dir)}"]
    parsed = config.load(recipe, [*overrides, *given])
    state = State.open(root)
    dataset = _prepared(parsed, state)
    facts = _facts(dataset)
    if show is not None:
        with hushed():
            from trainer.contact_sheet import contact_sheet

            write_atomically(show, contact_sheet(parsed, dataset))
        facts["picture"] = str(show)
    if as_json:
        options.say_json(facts)
    elif show is not None:
        click.echo(f"drawn: {show}")
    else:
        _show(facts)


def _refuse(show: Path) -> None:
    if show.suffix.lower() != ".png":
        raise UsageError(f"Received the picture's name {str(show)!r}.", "Let it end in .png.")
    if not show.parent.is_dir():
        raise UsageError(
            f"Received the picture's name {str(show)!r}, which is in {str(show.parent)!r}, which is no folder.",
            "Name a folder that is there.",
        )


def _prepared(recipe: Recipe, state: Any) -> PreparedDataset:
    from trainer import sharing
    from trainer.data.prepared import find_prepared
    from trainer.data.sources import open_source
    from trainer.prepare import prepare
    from trainer.quiet import hushed

    fingerprint = open_source(recipe.data, state).fingerprint().digest
    if find_prepared(state.data(fingerprint)) is None:
        click.echo(f"preparing the images of {recipe.data.source} …", err=True)
    with hushed():
        prepare(recipe.data, fingerprint, state, recipe.resources.workers)
        return sharing.opened_dataset(state, fingerprint)


def _facts(dataset: PreparedDataset) -> dict[str, Any]:
    manifest = dataset.manifest
    return {
        "source": manifest.source,
        "fingerprint": manifest.fingerprint,
        "path": str(dataset.path),
        "bytes": sum(file.stat().st_size for file in dataset.path.rglob("*") if file.is_file()),
        "encoding": manifest.encoding,
        "classes": manifest.classes,
        "counts": manifest.counts,
        "height": list(manifest.height),
        "width": list(manifest.width),
        "mean": list(manifest.mean),
        "std": list(manifest.std),
        "candidates": manifest.candidates,
        "rejected": [one.model_dump() for one in manifest.rejected],
        "near_duplicates": [one.model_dump() for one in manifest.near_duplicates],
        "near_duplicates_total": manifest.near_duplicates_total,
    }


def _show(facts: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    rejected = facts["rejected"]
    splits = list(facts["counts"])
    table = Table("class", *splits, box=None, pad_edge=False, header_style="dim")
    for column in table.columns[1:]:
        column.justify = "right"
    rows = list(zip(facts["classes"], *(facts["counts"][split] for split in splits), strict=True))
    for name, *counts in rows[:_CLASSES_SHOWN]:
        table.add_row(name, *(f"{count:,}" for count in counts))
    if len(rows) > _CLASSES_SHOWN:
        table.add_row(f"… {len(rows) - _CLASSES_SHOWN:,} more", *("" for _ in splits), style="dim")
    table.add_section()
    table.add_row("all", *(f"{sum(facts['counts'][split]):,}" for split in splits), style="bold")
    console.print(table)
    console.print()
    lines = [
        ("source", ", ".join(f"{key} {value}" for key, value in facts["source"].items())),
        ("images", f"{_range(facts['width'])} × {_range(facts['height'])} pixels, wide by high"),
        ("mean", ", ".join(f"{channel:.1f}" for channel in facts["mean"]) + " of 255 (red, green, blue)"),
        ("left out", f"{len(rejected):,} of {facts['candidates']:,}"),
        *(("", f"{one['path']}: {one['reason']}") for one in rejected[:_REJECTED_SHOWN]),
        ("look alike", f"{facts['near_duplicates_total']:,} pairs of a training and a test image"),
        *(("", f"{one['train']} and {one['test']}") for one in facts["near_duplicates"][:_REJECTED_SHOWN]),
        ("fingerprint", facts["fingerprint"]),
        ("lies in", f"{options.relative(facts['path'])}, {facts['bytes'] / 1e6:,.1f} MB, {facts['encoding']}"),
    ]
    for label, text in lines:
        click.echo(f"{click.style(f'{label:<13}', dim=True)}{text}")


def _range(bounds: list[int]) -> str:
    smallest, largest = bounds
    return str(smallest) if smallest == largest else f"{smallest}–{largest}"
