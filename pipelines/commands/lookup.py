"""`inception lookup`: what stands behind a model's name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.commands import options

if TYPE_CHECKING:
    from trainer.registry import Found

WORDS = {
    "run_key": "run key",
    "fingerprint": "  data fingerprint",
    "config_digest": "  recipe digest",
    "code_digest": "  code digest",
    "git_commit": "git commit",
    "image_digest": "image",
    "kfp_run_id": "pipeline run",
    "verdict_digest": "verdict digest",
}
"""Lineage as it is shown: the run key, and under it what it is made of."""
FIGURES: dict[str, Callable[[str], str]] = {
    "test_log_loss": lambda value: f"{float(value):.4f}",
    "parameters": lambda value: f"{int(value):,}",
}


@click.command()
@click.argument("reference", metavar="NAME[@ALIAS|/VERSION]")
@options.state
@options.as_json
@options.debug
def lookup(reference: str, root: Path, as_json: bool) -> None:
    """Show what stands behind a model name: figures, verdict, address and lineage.

    Without alias or version the champion is meant.

    \b
    Example:
      inception lookup digits@champion --json
      inception lookup digits/3
    """
    from trainer.lookup import lookup as verb

    found = verb(reference, root)
    if found.doubt:
        click.echo(found.doubt, err=True)
    if as_json:
        options.say_json(found.model_dump(mode="json"))
        return
    for label, value in _rows(found):
        click.echo(f"{click.style(f'{label:<22}', dim=True)}{value}")


def _rows(found: Found) -> list[tuple[str, str]]:
    """What a person asks first; the rest of the tags follows, all but the recipe, which fills a screen."""
    shown = {"test_accuracy", "verdict", "verdict_reason", "retired", "recipe", *found.lineage}
    rows = [
        ("model", f"{found.name} version {found.version}"),
        ("aliases", ", ".join(found.aliases) or "none"),
        ("verdict", found.verdict or "not decided yet"),
        ("", found.verdict_reason),
        ("retired", found.retired),
        ("accuracy", f"{found.accuracy:.4f}" if found.accuracy is not None else None),
        ("made", f"{found.created_at:%Y-%m-%d %H:%M} UTC"),
        ("load with", found.load_uri),
        ("from", found.tracking_uri),
        ("artifact", found.model_uri),
        ("MLflow run", found.run_id),
    ]
    rows += [(WORDS.get(tag, tag.replace("_", " ")), value) for tag, value in found.lineage.items()]
    others = {tag: value for tag, value in sorted(found.tags.items()) if tag not in shown}
    rows += [(tag.replace("_", " "), _read(tag, value)) for tag, value in others.items()]
    return [(label, value) for label, value in rows if value]


def _read(tag: str, value: str) -> str:
    """A tag's value as it is best read; what a hand put there stays as it is."""
    try:
        return FIGURES[tag](value) if tag in FIGURES else value
    except ValueError:
        return value
