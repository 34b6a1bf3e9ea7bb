"""`inception models`: what is registered."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from pipelines.commands import options
from pipelines.commands.models_hands import promote, retire, rollback
from pipelines.commands.models_ledger import audit, history
from pipelines.commands.models_prune import prune

if TYPE_CHECKING:
    from trainer.registry.protocol import ModelVersion


@click.group(invoke_without_command=True)
@options.state
@options.as_json
@options.debug
@click.pass_context
def models(ctx: click.Context, root: Path, as_json: bool) -> None:
    """List the registered models with their champions and challengers; or see to one of them.

    \b
    Example:
      inception models
      inception models history digits
      inception models rollback digits
    """
    if ctx.invoked_subcommand is None:
        _list(root, as_json)
        return
    for parameter, option in (("root", "--state"), ("as_json", "--json")):
        if ctx.get_parameter_source(parameter) == ParameterSource.COMMANDLINE:
            ctx.fail(f"Write {option} after {ctx.invoked_subcommand}.")


for _command in (history, audit, promote, rollback, retire, prune):
    models.add_command(_command)


def _list(root: Path, as_json: bool) -> None:
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
