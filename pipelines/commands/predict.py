"""`inception predict`: classes of images, from the registered model alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipelines.commands import options


@click.command()
@click.argument("reference", metavar="NAME[@ALIAS|/VERSION]")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE…", type=click.Path(path_type=Path))
@click.option("--top", default=3, show_default=True, type=click.IntRange(min=1), help="Classes to show per image.")
@options.state
@options.as_json
@options.debug
def predict(reference: str, images: tuple[Path, ...], top: int, root: Path, as_json: bool) -> None:
    """Classify image files with a registered model; without alias or version its champion.

    \b
    Example:
      inception predict digits@champion three.png
    """
    from trainer.predict import predict as verb
    from trainer.quiet import hushed
    from trainer.registry import opened_registry
    from trainer.registry.lookup import lookup
    from trainer.state import State

    state = State.existing(root)
    found = lookup(opened_registry(state), reference)
    with hushed():
        answers = verb(state, found.name, found.version, list(images), top)
    if as_json:
        options.say_json({"model": found.name, "version": found.version, "images": answers})
        return
    longest = max(len(answer["image"]) for answer in answers)
    for answer in answers:
        click.echo("  ".join([answer["image"].ljust(longest), *map(_in_words, answer["classes"])]))


def _in_words(guess: dict[str, Any]) -> str:
    return f"{guess['class']} {guess['probability']:.4f}"
