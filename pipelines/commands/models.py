"""`inception models` and `inception lookup`: what is registered, and what stands behind a name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.commands import options

if TYPE_CHECKING:
    from trainer.registry.lookup import Found
    from trainer.registry.protocol import ModelVersion


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

    registry = opened_registry(State.existing(root))
    rows = [_row(name, registry.versions(name)) for name in registry.names()]
    if as_json:
        options.say_json({"models": rows})
        return
    if not rows:
        click.echo("No model is registered yet. Make one: inception run configs/digits.toml")
        return
    table = Table("model", "versions", CHAMPION, CHALLENGER, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(Text(row["name"]), str(row["versions"]), _in_words(row[CHAMPION]), _in_words(row[CHALLENGER]))
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
    from trainer.registry import opened_registry
    from trainer.registry.lookup import lookup as verb
    from trainer.state import State
    from trainer.tracking import tracking_uri

    state = State.existing(root)
    found = verb(opened_registry(state), reference)
    if as_json:
        options.say_json(found.model_dump(mode="json"))
        return
    for label, value in _rows(found, tracking_uri(state)):
        click.echo(f"{click.style(f'{label:<22}', dim=True)}{value}")


def _rows(found: Found, tracking: str) -> list[tuple[str, str]]:
    """What a person asks first; the rest of the tags follows, all but the recipe, which fills a screen."""
    shown = {"run_key", "fingerprint", "test_accuracy", "verdict", "verdict_reason", "verdict_digest", "recipe"}
    rows = [
        ("model", f"{found.name} version {found.version}"),
        ("aliases", ", ".join(found.aliases) or "none"),
        ("verdict", found.verdict or "not decided yet"),
        ("", found.verdict_reason),
        ("accuracy", f"{found.accuracy:.4f}" if found.accuracy is not None else None),
        ("made", f"{found.created_at:%Y-%m-%d %H:%M} UTC"),
        ("load with", found.load_uri),
        ("from", tracking),
        ("artifact", found.model_uri),
        ("MLflow run", found.run_id),
        ("run key", found.run_key),
        ("data fingerprint", found.fingerprint),
    ]
    rows += [(tag.replace("_", " "), value) for tag, value in sorted(found.tags.items()) if tag not in shown]
    return [(label, value) for label, value in rows if value]


def _row(name: str, versions: list[ModelVersion]) -> dict[str, Any]:
    from trainer.registry.protocol import CHALLENGER, CHAMPION

    row: dict[str, Any] = {"name": name, "versions": len(versions), CHAMPION: None, CHALLENGER: None}
    for version in versions:
        accuracy = version.tags.get("test_accuracy")
        shown = {"version": version.version, "accuracy": float(accuracy) if accuracy else None}
        row |= {alias: shown for alias in version.aliases if alias in row}
    return row


def _in_words(version: dict[str, Any] | None) -> str:
    if version is None:
        return "none"
    accuracy = version["accuracy"]
    return f"version {version['version']}" + (f", accuracy {accuracy:.4f}" if accuracy is not None else "")
