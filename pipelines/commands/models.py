"""`inception models` and `inception lookup`: what is registered, and what stands behind a name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.commands import options

if TYPE_CHECKING:
    from trainer.registry.lookup import Found


@click.command()
@options.state
@options.as_json
@options.debug
def models(root: Path, as_json: bool) -> None:
    """List the registered models with their champions and challengers.

    \b
    Example:
      inception models
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from trainer.registry import opened_registry
    from trainer.registry.protocol import CHALLENGER, CHAMPION
    from trainer.state import State

    registry = opened_registry(State.open(root))
    rows = []
    for name in registry.names():
        versions = registry.versions(name)
        by_alias = {alias: version for version in versions for alias in version.aliases}
        rows.append(
            {
                "name": name,
                "versions": len(versions),
                **{
                    alias: {"version": found.version, "accuracy": _number(found.tags.get("test_accuracy"))}
                    if (found := by_alias.get(alias))
                    else None
                    for alias in (CHAMPION, CHALLENGER)
                },
            }
        )
    if as_json:
        options.say_json({"models": rows})
        return
    if not rows:
        click.echo("No model is registered yet. Make one: inception run configs/digits.toml")
        return
    table = Table("model", "versions", CHAMPION, CHALLENGER, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        cells = [_version_in_words(row[alias]) for alias in (CHAMPION, CHALLENGER)]
        table.add_row(*(Text(str(cell)) for cell in (row["name"], row["versions"], *cells)))
    Console().print(table)


@click.command()
@click.argument("reference", metavar="NAME[@ALIAS|/VERSION]")
@options.state
@options.as_json
@options.debug
def lookup(reference: str, root: Path, as_json: bool) -> None:
    """Show what stands behind a model name: figures, verdict, data, run, artifact.

    Without alias or version the champion is meant.

    \b
    Example:
      inception lookup digits@champion --json
      inception lookup digits/3
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from trainer.registry import opened_registry
    from trainer.registry.lookup import lookup as verb
    from trainer.state import State

    found = verb(opened_registry(State.open(root)), reference)
    if as_json:
        options.say_json(found.model_dump(mode="json"))
        return
    table = Table.grid(padding=(0, 2))
    for label, value in _rows(found):
        table.add_row(Text(label, "dim"), Text(value))
    Console(highlight=False).print(table)


def _rows(found: Found) -> list[tuple[str, str]]:
    return [(label.replace("_", " "), str(value)) for label, value in found.model_dump(mode="json").items() if value]


def _number(text: str | None) -> float | None:
    return float(text) if text else None


def _version_in_words(version: dict[str, object] | None) -> str:
    if version is None:
        return "none"
    accuracy = version["accuracy"]
    return f"version {version['version']}" + (f", accuracy {accuracy:.4f}" if accuracy is not None else "")
