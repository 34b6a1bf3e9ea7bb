"""`inception variants`: the table of networks, what each costs and where, and a picture of its graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipelines.commands import options
from trainer.errors import UsageError

PICTURES = ("png", "svg", "pdf")
"""What a graph can be drawn as."""


@click.command()
@click.argument("name", required=False)
@click.option("--classes", default=10, show_default=True, type=click.IntRange(2), help="Classes to classify.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set an option of the network: stem=small."
)
@click.option("--layers", is_flag=True, help="Add what every stage costs, and its share of the whole.")
@click.option("--bottleneck", is_flag=True, help="Add what every 1×1 reduction saves.")
@click.option("--plot", metavar="FILE", type=click.Path(path_type=Path), help="Draw the graph: .png, .svg or .pdf.")
@click.option("--markdown", is_flag=True, help="Print the table of all networks as Markdown.")
@options.as_json
@options.debug
def variants(
    name: str | None,
    classes: int,
    overrides: tuple[str, ...],
    layers: bool,
    bottleneck: bool,
    plot: Path | None,
    markdown: bool,
    as_json: bool,
) -> None:
    """Show the networks that a recipe can name: parameters, multiply-adds, input, paper.

    Every figure is counted on the network itself, built as a recipe that sets nothing but the variant would build it.
    Parameters are those of training, and those of the exported model, which has no auxiliary classifiers.

    \b
    Example:
      inception variants
      inception variants googlenet --layers --bottleneck
      inception variants inception_v3 --set stem=small --set width=0.5 --json
      inception variants inception_v4 --plot v4.png
    """
    if name is None:
        of_one = {"--set": overrides, "--layers": layers, "--bottleneck": bottleneck, "--plot": plot}
        _refuse(of_one, "is about one network", "Name it: inception variants googlenet")
        _refuse({"--json": as_json and markdown}, "does not go with --markdown", "Leave out one of them")
        _show_all(classes, markdown, as_json)
    else:
        _refuse({"--markdown": markdown}, "prints the table of all networks", f"Leave out {name}, or --markdown")
        _show_one(name, classes, overrides, layers, bottleneck, plot, as_json)


def _refuse(asked: dict[str, Any], why: str, remedy: str) -> None:
    for option, value in asked.items():
        if value:
            raise UsageError(f"{option} {why}.", f"{remedy}.")


def _show_all(classes: int, markdown: bool, as_json: bool) -> None:
    from pipelines.commands import variant_tables
    from trainer.quiet import hushed

    with hushed():
        from pipelines.commands import variant_facts

        described = variant_facts.all_variants(classes)
    if as_json:
        options.say_json({"variants": described})
    elif markdown:
        click.echo(variant_tables.markdown(described), nl=False)
    else:
        variant_tables.show_all(described)


def _show_one(
    name: str,
    classes: int,
    overrides: tuple[str, ...],
    layers: bool,
    bottleneck: bool,
    plot: Path | None,
    as_json: bool,
) -> None:
    from pipelines.commands import variant_tables
    from trainer import config
    from trainer.models import zoo
    from trainer.quiet import hushed

    model = config.model(zoo.variant(name).name, overrides)
    if plot is not None:
        _check_place(plot)
    with hushed():
        from pipelines.commands import variant_facts

        network = zoo.outline(model, classes)
        described = variant_facts.describe(model, classes, network)
        if layers:
            described |= variant_facts.stages(network)
        if bottleneck:
            described |= variant_facts.bottlenecks(network)
        if plot is not None:
            _draw(network, plot)
            described["plot"] = str(plot)
    if as_json:
        options.say_json(described)
    else:
        variant_tables.show_one(described)


def _check_place(plot: Path) -> None:
    """Before seconds are spent on building. Errors: UsageError."""
    if _format(plot) not in PICTURES:
        endings = ", ".join(f".{ending}" for ending in PICTURES)
        raise UsageError(f"Received the picture's name {str(plot)!r}.", f"End it with one of {endings}.")
    if plot.is_dir() or not plot.absolute().parent.is_dir():
        what = "is a folder" if plot.is_dir() else f"lies in {str(plot.parent)!r}, which is no folder"
        raise UsageError(f"The picture {str(plot)!r} {what}.", "Name a file in a folder that is there.")


def _draw(network: Any, plot: Path) -> None:
    from trainer.graph import drawing, modules
    from trainer.state import write_atomically

    write_atomically(plot, drawing.draw(modules.of(network), _format(plot)))


def _format(plot: Path) -> str:
    return plot.suffix.lstrip(".").lower()
