"""`inception models prune`: what of a model's past may go."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.commands import options

if TYPE_CHECKING:
    from trainer.retention import Item, Plan


@click.command()
@click.argument("name")
@click.option("--keep", default=10, show_default=True, type=click.IntRange(min=1), help="The newest versions to keep.")
@click.option("--apply", is_flag=True, help="Delete what is shown.")
@options.yes
@options.state
@options.as_json
@options.debug
def prune(name: str, keep: int, apply: bool, yes: bool, root: Path, as_json: bool) -> None:
    """Show which versions, runs and data are not needed any more; with --apply, delete them.

    The champion, every earlier champion that is not retired, versions with an alias and the newest ones stay, with
    their records; so does whatever a run under way refers to. The ledger forgets nothing.

    What lies in the store that INCEPTION_STORE names is not touched: let its bucket remove what is old.

    \b
    Example:
      inception models prune digits
      inception models prune digits --keep 5 --apply
    """
    from trainer import registry
    from trainer.errors import without_credentials
    from trainer.registry.belonging import expect_known
    from trainer.retention import Sweep, Tracked, plan
    from trainer.state import State
    from trainer.storage import store_address

    state = State.existing(root)
    gone: list[Item] = []
    with redirect_stdout(sys.stderr):
        known, ledger = registry.opened(state, name)
        expect_known(known, ledger, name)
        tracked = Tracked(state)
        found = plan(state, known, ledger, tracked, name, keep)
    if store := store_address():
        stays = f"What lies in {without_credentials(store)} stays"
        click.echo(f"{stays}: let its bucket remove what is old, by a lifecycle rule.", err=True)
    if not as_json:
        _show(found)
    if apply and found.items:
        with redirect_stdout(sys.stderr):
            options.confirmed(f"Delete these {len(found.items)} things of {name} ({_size(found.bytes)})?", yes)
            gone = Sweep(state, known, ledger, tracked, name, keep).carry_out(found)
    if as_json:
        options.say_json(
            {**found.model_dump(mode="json"), "bytes": found.bytes, "deleted": [one.model_dump() for one in gone]}
        )
    elif gone:
        click.echo(f"Deleted: {len(gone)} ({_size(sum(one.bytes for one in gone))}).")
    elif found.items:
        click.echo(f"Nothing was deleted. Delete them: {options.command_line(_again(name, keep), root)}")


def _again(name: str, keep: int) -> list[str]:
    return ["models", "prune", name, "--keep", str(keep), "--apply"]


def _show(found: Plan) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    stays = ", ".join(f"{version} ({why})" for version, why in found.kept.items())
    click.echo(f"Of {found.model} these versions stay: {stays or 'none'}.")
    if not found.items:
        click.echo("There is nothing to delete.")
        return
    click.echo()
    table = Table("goes", "which", "size", "why", box=None, header_style="bold", pad_edge=False)
    table.columns[2].justify = "right"
    for item in found.items:
        table.add_row(item.kind, Text(item.name[:16]), _size(item.bytes) if item.bytes else "", Text(item.reason))
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    click.echo(f"\nTogether: {_size(found.bytes)}")


def _size(count: int) -> str:
    from rich.filesize import decimal

    return decimal(count)
