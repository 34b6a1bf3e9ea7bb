"""`inception models promote | rollback | retire`: what people do past the gate."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.commands import options

if TYPE_CHECKING:
    from trainer.registry.hands import Deed, Hands
    from trainer.registry.protocol import Entry, ModelVersion

reason = click.option("--reason", metavar="TEXT", default="", help="Why: it stays in the ledger.")


@click.command()
@click.argument("name")
@click.argument("version")
@reason
@options.yes
@options.state
@options.as_json
@options.debug
def promote(name: str, version: str, reason: str, yes: bool, root: Path, as_json: bool) -> None:
    """Make a version champion by force, whatever the gate said. A reason must be given.

    It is loaded and answers its golden images before.

    \b
    Example:
      inception models promote digits 3 --reason "the test set has wrong labels"
    """
    hands = opened(root, name)
    with redirect_stdout(sys.stderr):
        deed = hands.force(version, reason)
        options.confirmed(
            f"Make {_named(hands, version)} the champion of {name} past the gate? {_now(hands, deed)}", yes
        )
        entry = hands.do(deed)
    say(entry, name, as_json)


@click.command()
@click.argument("name")
@click.option("--to", "version", metavar="VERSION", help="An earlier champion; left out: the one before the present.")
@reason
@options.yes
@options.state
@options.as_json
@options.debug
def rollback(name: str, version: str | None, reason: str, yes: bool, root: Path, as_json: bool) -> None:
    """Make an earlier champion champion again: the one before, or the one that --to names.

    It is loaded and answers its golden images before. The gate holds the next challenger against it.

    \b
    Example:
      inception models rollback digits
      inception models rollback digits --to 2 --reason "version 4 is wrong about sevens"
    """
    hands = opened(root, name)
    with redirect_stdout(sys.stderr):
        deed = hands.rollback(version, reason)
        options.confirmed(f"Make {_named(hands, deed.version)} the champion of {name} again? {_now(hands, deed)}", yes)
        entry = hands.do(deed)
    say(entry, name, as_json)


@click.command()
@click.argument("name")
@click.argument("version")
@click.option("--successor", metavar="VERSION", help="Who is champion then, where the champion retires.")
@reason
@options.yes
@options.state
@options.as_json
@options.debug
def retire(name: str, version: str, successor: str | None, reason: str, yes: bool, root: Path, as_json: bool) -> None:
    """See that a version is never champion again. A reason must be given.

    Where it is the champion, nobody is then, unless --successor names one.

    \b
    Example:
      inception models retire digits 4 --reason "trained on images we may not use" --successor 2
    """
    hands = opened(root, name)
    with redirect_stdout(sys.stderr):
        deed = hands.retire(version, reason, successor)
        options.confirmed(f"Retire {_named(hands, version)} of {name} for good? {_then(hands, deed)}", yes)
        entry = hands.do(deed)
    say(entry, name, as_json)


def opened(root: Path, name: str) -> Hands:
    """The hands at a model, with the check that loads a version."""
    from trainer import registry
    from trainer.registry.hands import Hands
    from trainer.state import State

    state = State.existing(root)

    def check(version: ModelVersion) -> object:
        from trainer.quiet import hushed

        click.echo(f"loading version {version.version} and asking it its golden images …", err=True)
        with hushed():
            from trainer.judging import golden

            return golden.check(state, version)

    with redirect_stdout(sys.stderr):
        return Hands(*registry.opened(state, name), name, check)


def say(entry: Entry, name: str, as_json: bool) -> None:
    """What was done."""
    if as_json:
        options.say_json({"model": name, **entry.model_dump(mode="json")})
        return
    now = f"version {entry.version} is champion" if entry.version else "nobody is champion"
    was = "as before" if entry.version == entry.previous else f"was {entry.previous or 'nobody'}"
    what = f"version {entry.challenger} is retired, " if entry.event == "retire" else ""
    click.echo(f"{name}: {what}{now} ({was}). Entry {entry.number} of the ledger, by {entry.actor}.")


def _now(hands: Hands, deed: Deed) -> str:
    return f"Champion now: {_named(hands, deed.previous)}."


def _then(hands: Hands, deed: Deed) -> str:
    return f"Champion then: {_named(hands, deed.version)}."


def _named(hands: Hands, version: str | None) -> str:
    """A version with its accuracy; it may be gone from the registry."""
    from trainer.registry.protocol import accuracy_of

    if version is None:
        return "nobody"
    known = {one.version: accuracy_of(one) for one in hands.registry.versions(hands.name)}
    accuracy = known.get(version)
    return f"version {version}" + (f" (accuracy {accuracy:.4f})" if accuracy is not None else "")
