"""`inception run --target kfp`: the pipeline, once, on a cluster, and what became of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.commands import options
from pipelines.commands.submit import begin, followed

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.client import Server
    from pipelines.remote_outcome import RemoteOutcome


def run(
    ctx: click.Context,
    recipe: str,
    overrides: tuple[str, ...],
    force: bool,
    environment: str,
    allow_tags: bool,
    root: Path,
    as_json: bool,
) -> None:
    """Start a run, show its progress, fetch its card, and end as a run here would."""
    from rich.console import Console

    from pipelines import remote_outcome
    from trainer.record import as_json as document
    from trainer.state import State

    state = State.open(root)
    begun = begin(recipe, environment, overrides, force, allow_tags)
    ended = followed(ctx, begun.server, begun.run.run_id, environment, as_json)
    outcome = remote_outcome.of(
        begun.server, ended, begun.recipe.registry.name, state, lambda line: click.echo(line, err=True)
    )
    if as_json:
        options.say_json(document(outcome))
    else:
        conclude(Console(file=sys.stdout, highlight=False), outcome, begun.server)
    if outcome.result == "failed":
        ctx.exit(1)


def conclude(console: Console, outcome: RemoteOutcome, server: Server) -> None:
    """Say how a run ended, and where its card is."""
    from rich.text import Text

    from pipelines.commands.run import STYLES

    headline = Text((outcome.result or outcome.state).upper(), f"bold {STYLES.get(outcome.result or '', '')}")
    if outcome.version is not None:
        headline.append(f"  {outcome.model} version {outcome.version}", "bold")
    if outcome.accuracy is not None:
        headline.append(f"  accuracy {outcome.accuracy:.4f}", "bold")
    console.print()
    console.print(headline)
    rows = [
        ("", outcome.reason),
        ("", outcome.remedy),
        ("run card  ", options.relative(outcome.card) or _where(outcome, server)),
        ("see       ", outcome.link),
        ("next      ", f"inception runs show {outcome.tick} --environment {server.environment.name}"),
    ]
    for label, text in rows:
        if text:
            console.print(Text.assemble("  ", (label, "dim"), text), soft_wrap=True)


def _where(outcome: RemoteOutcome, server: Server) -> str:
    """Where the card of a run lies that was not within reach."""
    state, store = server.environment.state, server.environment.store.state
    folder = f"runs/{outcome.run_key}" if outcome.run_key else f"ticks/{outcome.tick}"
    kept = f"{store.rstrip('/')}/{folder}" if store else f"on the volume {state.claim!r}, {state.mount}/{folder}"
    return f"the output `card` of the step report on the run's page; {kept}"
