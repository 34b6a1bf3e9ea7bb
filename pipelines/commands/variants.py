"""`inception variants`: the table of networks."""

from __future__ import annotations

import click

from pipelines.commands import options


@click.command()
@click.argument("name", required=False)
@click.option("--classes", default=10, show_default=True, type=click.IntRange(2), help="Classes to classify.")
@options.as_json
@options.debug
def variants(name: str | None, classes: int, as_json: bool) -> None:
    """Show the networks that a recipe can name: parameters, multiply-adds, input, paper.

    \b
    Example:
      inception variants
      inception variants googlenet --json
    """
