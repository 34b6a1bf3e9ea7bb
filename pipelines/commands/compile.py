"""`inception compile`: the pipeline as KFP YAML."""

from __future__ import annotations

from pathlib import Path

import click

from pipelines.commands import options, targets


@click.command("compile")
@click.argument("recipe", required=False)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value: train.epochs=3.")
@targets.environment(required=False)
@targets.allow_tags
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write here, not to the screen.")
@options.debug
def compile_(
    recipe: str | None, overrides: tuple[str, ...], environment: str | None, allow_tags: bool, output: Path | None
) -> None:
    """Write the pipeline as the YAML that Kubeflow Pipelines takes.

    With an environment: for that cluster's images, machines and addresses. With a RECIPE: as what the form of a run
    begins with. Equal input gives equal bytes.

    \b
    Example:
      inception compile configs/digits.toml --environment prod -o retrain.yaml
      inception compile -o retrain.yaml
    """
    from pipelines.compiling import compiled_text
    from pipelines.environments import load
    from trainer import config
    from trainer.errors import StateError, UsageError
    from trainer.state import write_atomically

    if overrides and recipe is None:
        raise UsageError("There is no recipe whose values --set could override.", "Name one: configs/digits.toml.")
    text = compiled_text(
        None if recipe is None else config.load(recipe, overrides),
        None if environment is None else load(environment),
        allow_tags,
    )
    if output is None:
        click.echo(text, nl=False)
    else:
        try:
            write_atomically(output.absolute(), text)
        except StateError as error:
            raise UsageError(f"{output} cannot be written. {error.message}", "Name another file with -o.") from error
        click.echo(f"wrote {output}", err=True)
