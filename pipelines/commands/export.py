"""`inception export`: a registered model as a file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.commands import options
from trainer.exporting.formats import FORMATS

if TYPE_CHECKING:
    from trainer.export import Exported


@click.command()
@click.argument("reference", metavar="NAME[@ALIAS|/VERSION]")
@click.option("--format", "form", required=True, type=click.Choice(list(FORMATS)), help="What to make.")
@click.option(
    "--output",
    required=True,
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="File to make: .keras, .onnx or .tflite; a folder for savedmodel and h5+json.",
)
@click.option(
    "--image-size",
    nargs=2,
    type=click.IntRange(min=8),
    metavar="HEIGHT WIDTH",
    help="The one size of image that a litert file takes; else what the network takes. The others take any size.",
)
@click.option(
    "--images",
    multiple=True,
    metavar="IMAGE",
    help="File, folder or pattern to compare on, repeatable; else the golden images of the model's training.",
)
@click.option("--overwrite", is_flag=True, help="Replace an earlier export.")
@options.state
@options.as_json
@options.debug
def export(
    reference: str,
    form: str,
    output: Path,
    image_size: tuple[int, int] | None,
    images: tuple[str, ...],
    overwrite: bool,
    root: Path,
    as_json: bool,
) -> None:
    """Write a registered model for another program; without alias or version its champion.

    What was written is loaded again by what will run it (Keras, TensorFlow, ONNX Runtime, LiteRT) and compared with
    the model on real images; it gets its name only when it answers the same. A JSON file beside it, or in the folder,
    names the classes, the input, and where it is from.

    \b
    Example:
      inception export digits@champion --format onnx --output digits.onnx
      inception export digits/3 --format litert --image-size 32 32 --output digits.tflite
    """
    from trainer.quiet import hushed
    from trainer.registry import opened_registry
    from trainer.registry.lookup import lookup
    from trainer.state import State

    state = State.existing(root)
    found = lookup(opened_registry(state), reference)
    with hushed():
        from trainer.export import export as verb

        exported = verb(state, found, form, output, image_size, images, overwrite)
    if as_json:
        paths = {"path": str(exported.path), "description": str(exported.description)}
        options.say_json({**paths, "bytes": exported.size_bytes, **exported.told})
        return
    _say(exported)


def _say(exported: Exported) -> None:
    told, compared = exported.told, exported.told["compared"]
    batch, height, width, _ = told["input"]["shape"]
    size = f"{height}×{width}, one by one" if batch else "any size, any number at once"
    click.echo(f"{exported.path}  {told['model']['name']} version {told['model']['version']} as {told['format']}")
    rows = {
        "compared": f"{compared['which']} ({compared['images']}): probabilities differ by up to "
        f"{compared['difference']:.1e}, {compared['tolerance']:g} is allowed",
        "takes": f"uint8 images, red, green, blue, {size}",
        "gives": f"probabilities of {len(told['classes'])} classes, named in {exported.description}",
        "size": f"{exported.size_bytes / 1e6:,.1f} MB",
        "load with": told["load_with"],
    }
    for label, value in rows.items():
        click.echo(f"  {click.style(f'{label:<10}', dim=True)}{value}")
