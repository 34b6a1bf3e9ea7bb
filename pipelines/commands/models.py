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

    from trainer.registry import ledger_of, opened_registry
    from trainer.registry.audit import doubt
    from trainer.registry.protocol import CHALLENGER, CHAMPION
    from trainer.state import State

    state = State.existing(root)
    registry = opened_registry(state)
    rows = []
    for name in registry.names():
        moved = doubt(registry, ledger_of(state, name), name)
        rows.append(_row(name, registry.versions(name)) | {"doubt": moved})
        if moved:
            click.echo(moved, err=True)
    if as_json:
        options.say_json({"models": rows})
        return
    if not rows:
        click.echo("No model is registered yet. Make one: inception run configs/digits.toml")
        return
    table = Table("model", "versions", CHAMPION, CHALLENGER, "retired", box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(
            Text(row["name"]),
            str(row["versions"]),
            _in_words(row[CHAMPION]),
            _in_words(row[CHALLENGER]),
            ", ".join(row["retired"]) or "none",
        )
    Console().print(table)


def _row(name: str, versions: list[ModelVersion]) -> dict[str, Any]:
    from trainer.registry.protocol import CHALLENGER, CHAMPION, RETIRED_TAG, accuracy_of

    row: dict[str, Any] = {"name": name, "versions": len(versions), CHAMPION: None, CHALLENGER: None}
    for version in versions:
        shown = {"version": version.version, "accuracy": accuracy_of(version)}
        row |= {alias: shown for alias in version.aliases if alias in (CHAMPION, CHALLENGER)}
    return row | {"retired": [one.version for one in versions if RETIRED_TAG in one.tags]}


def _in_words(version: dict[str, Any] | None) -> str:
    if version is None:
        return "none"
    accuracy = version["accuracy"]
    return f"version {version['version']}" + (f", accuracy {accuracy:.4f}" if accuracy is not None else "")
