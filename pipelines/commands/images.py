"""`inception images`: what the steps run in."""

from __future__ import annotations

from pathlib import Path

import click

from pipelines.commands import options, targets

DEFAULT_FILE = Path("images.json")


@click.group()
def images() -> None:
    """List and push the container images that `make images` builds.

    \b
    Example:
      inception images list
      inception images push --environment prod
    """


@images.command("list")
@options.as_json
@options.debug
def list_(as_json: bool) -> None:
    """List the images that the Docker engine of this machine has.

    \b
    Example:
      inception images list
    """
    from dataclasses import asdict

    from rich.console import Console
    from rich.table import Table

    from pipelines.containers import engine

    with engine.opened() as client:
        found = engine.images(client)
    if as_json:
        options.say_json([asdict(image) for image in found])
        return
    if not found:
        click.echo("There are none: `make images` builds them.")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("IMAGE", "BUILT OF", "SIZE", "ID"):
        table.add_column(heading, justify="right" if heading == "SIZE" else "left")
    for image in found:
        table.add_row(image.tag, image.state, f"{image.size / 1e6:,.0f} MB", image.id.partition(":")[2][:12])
    Console().print(table)


@images.command()
@click.argument(
    "kinds", nargs=-1, metavar="[light|cpu|gpu|mlflow]...", type=click.Choice(["light", "cpu", "gpu", "mlflow"])
)
@targets.environment(required=False)
@click.option("--registry", metavar="REG", help="Where to: registry.example.com/team. Left out: the environment's.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"File for the digests. Left out: the environment's, or {DEFAULT_FILE}.",
)
@options.as_json
@options.debug
def push(
    kinds: tuple[str, ...], environment: str | None, registry: str | None, output: Path | None, as_json: bool
) -> None:
    """Tag the images by version and commit, push them, and write their digests to a file that environments read.

    All four, unless some are named. The engine signs in to the registry as `docker login` left it.

    \b
    Example:
      inception images push --environment prod
      inception images push light cpu --registry registry.example.com/vision -o configs/environments/images.json
    """
    from pipelines.containers import engine, pushing
    from pipelines.environments import digests_of, load
    from trainer import lineage
    from trainer.errors import UsageError

    if environment is not None:
        registry = registry or load(environment, pushed=False).images.registry
        output = output or digests_of(environment)
    if registry is None:
        raise UsageError(
            "There is no registry to push to.", "Name one with --registry, or as [images] registry of the environment."
        )
    registry = pushing.checked(registry)
    file = output or DEFAULT_FILE
    pushing.known(file)
    with engine.opened() as client:
        there = engine.needed(client, kinds or engine.KINDS)
        engine.of_one_commit(there.values())
        if (line := engine.age(there.values())) is not None:
            click.echo(line, err=True)
        if dirty := [image.tag for image in there.values() if image.commit.endswith(lineage.DIRTY)]:
            click.echo(f"Built with changes that no commit has: {', '.join(dirty)}.", err=True)
        addresses = {}
        for kind, image in there.items():
            addresses[kind] = pushing.push(client, image, registry, lambda line: click.echo(line, err=True))
            # One after the other: what was pushed before a failure is known.
            pushing.write(file, {kind: addresses[kind]})
    if as_json:
        options.say_json({"digests": str(file), "images": addresses})
    else:
        for address in addresses.values():
            click.echo(address)
        click.echo(f"wrote {options.relative(str(file))}", err=True)
