"""`inception models history | audit`: what the ledger says, and whether the registry says so too."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.commands import models_hands, options
from trainer.errors import UsageError

if TYPE_CHECKING:
    from trainer.registry.audit import Audit

_STYLES = {"promote": "green", "force": "yellow", "rollback": "yellow", "retire": "red", "keep": "dim"}
_WORDS = {"kept": "not promoted", "undecided": "undecided"}


@click.command()
@click.argument("name")
@options.state
@options.as_json
@options.debug
def history(name: str, root: Path, as_json: bool) -> None:
    """Show every decision and every change of champion, oldest first, with reason and author.

    \b
    Example:
      inception models history digits
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from trainer import registry
    from trainer.registry.audit import results
    from trainer.registry.belonging import expect_known
    from trainer.registry.protocol import champion
    from trainer.state import State

    with redirect_stdout(sys.stderr):
        known, ledger = registry.opened(State.existing(root), name)
        versions = known.versions(name)
        expect_known(known, ledger, name)
        entries = ledger.read().entries
    there = {one.version for one in versions}
    rows = [
        {
            **one.model_dump(mode="json"),
            "result": result,
            "deleted": sorted({one.version, one.previous, one.challenger} - {None, *there}),
        }
        for one, result in zip(entries, results(entries, versions), strict=True)
    ]
    if as_json:
        options.say_json({"model": name, "ledger": ledger.address, "champion": champion(entries), "entries": rows})
        return
    if not rows:
        click.echo(f"Nothing has been decided about {name} yet.")
        return
    table = Table("entry", "when (UTC)", "event", "version", "champion", "digest", "by", "reason", box=None)
    table.header_style, table.pad_edge = "bold", False
    for row in rows:
        table.add_row(
            str(row["number"]),
            row["at"][:16].replace("T", " "),
            Text(_WORDS.get(row["result"], row["event"]), _STYLES.get(row["event"], "cyan")),
            _named(row["challenger"] or row["version"], row),
            _change(row),
            (row["verdict_digest"] or "")[:8],
            Text(row["actor"] or (f"run {row['tick']}" if row["tick"] else "")),
            Text(row["reason"]),
        )
    Console(width=None if sys.stdout.isatty() else 160).print(table)


@click.command()
@click.argument("name")
@click.option("--adopt", is_flag=True, help="Let what the alias says hold from here on.")
@click.option("--restore", is_flag=True, help="Put back what the ledger says.")
@models_hands.reason
@options.yes
@options.state
@options.as_json
@options.debug
@click.pass_context
def audit(
    ctx: click.Context, name: str, adopt: bool, restore: bool, reason: str, yes: bool, root: Path, as_json: bool
) -> None:
    """Hold the registry's alias and tags against the ledger; exit status 1 where they disagree.

    An alias that was moved in MLflow's own pages stays where it is, and nobody is promoted, until --adopt (with a
    reason) or --restore says which holds.

    \b
    Example:
      inception models audit digits
      inception models audit digits --restore
      inception models audit digits --adopt --reason "moved in MLflow while the pipeline was down"
    """
    from trainer.registry import audit as verb

    if adopt and restore:
        raise UsageError("Received both --adopt and --restore.", "Give one of them.")
    hands = models_hands.opened(root, name)
    with redirect_stdout(sys.stderr):
        if adopt or restore:
            deed = verb.adopt(hands, reason) if adopt else verb.restore(hands, reason)
            begun = bool(hands.ledger.read().entries)
            wrong = verb.audit(hands.registry, hands.ledger, name).discrepancies if begun else ["Begin a new ledger."]
            then = f"version {deed.version}" if deed.version else "nobody"
            options.confirmed(f"{' '.join(wrong)} Make {then} the champion of {name}?", yes)
            verb.put_right(hands, deed)
        found = verb.audit(hands.registry, hands.ledger, name)
    if as_json:
        options.say_json({**found.model_dump(mode="json"), "agrees": found.agrees})
    else:
        _show(found)
    if not found.agrees:
        ctx.exit(1)


def _show(found: Audit) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("version", "made (UTC)", "registry: aliases", "verdict", "ledger: entries", "", box=None)
    table.header_style, table.pad_edge = "bold", False
    for one in found.versions:
        table.add_row(
            one.version,
            f"{one.created_at:%Y-%m-%d %H:%M}" if one.created_at else "deleted",
            Text(", ".join(one.aliases)),
            one.verdict or "",
            ", ".join(one.entries),
            "champion" if one.version == found.ledger_champion else "",
        )
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    click.echo()
    if found.agrees:
        click.echo(f"{found.model}: registry and ledger agree. The ledger: {options.relative(found.ledger)}")
        return
    for text in found.discrepancies:
        click.echo(text)
    click.echo(f"Say which holds: inception models audit {found.model} --restore, or --adopt --reason TEXT")


def _named(version: str | None, row: dict[str, Any]) -> str:
    return "" if version is None else f"{version} (deleted)" if version in row["deleted"] else version


def _change(row: dict[str, Any]) -> str:
    before, after = (row[key] or "nobody" for key in ("previous", "version"))
    return after if before == after else f"{before} → {after}"
