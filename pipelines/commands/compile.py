"""`inception compile`: the pipeline as KFP YAML."""

from __future__ import annotations

from pathlib import Path

import click

from pipelines.commands import options


@click.command("compile")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write here, not to the screen.")
@options.debug
def compile_(output: Path | None) -> None:
    """Write the pipeline as the YAML that Kubeflow Pipelines takes.

    \b
    Example:
      inception compile -o retrain.yaml
    """
    from pipelines.compiling import compiled_text
    from trainer.state import write_atomically

    text = compiled_text()
    if output is None:
        click.echo(text, nl=False)
    else:
        write_atomically(output.absolute(), text)
        click.echo(f"wrote {output}", err=True)
