"""`inception variants`: the table of networks, and what each costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pipelines.commands import options

if TYPE_CHECKING:
    from trainer.models.cost import Cost
    from trainer.models.zoo import Variant


@click.command()
@click.argument("name", required=False)
@click.option("--classes", default=10, show_default=True, type=click.IntRange(2), help="Classes to classify.")
@options.as_json
@options.debug
def variants(name: str | None, classes: int, as_json: bool) -> None:
    """Show the networks that a recipe can name: parameters, multiply-adds, input, paper.

    Every figure is counted on the network itself, built as a recipe that sets nothing but the variant would build it.
    Parameters are those of training, and those of the exported model, which has no auxiliary classifiers.

    \b
    Example:
      inception variants
      inception variants googlenet --json
    """
    from trainer.models import zoo
    from trainer.quiet import hushed

    rows = [zoo.variant(name)] if name else list(zoo.VARIANTS.values())
    with hushed():
        described = [_describe(row, classes) for row in rows]
    if as_json:
        options.say_json(described[0] if name else {"variants": described})
    elif name:
        _print_one(described[0])
    else:
        _print_table(described)


def _describe(row: Variant, classes: int) -> dict[str, Any]:
    from trainer.config import Model
    from trainer.models import cost, zoo

    model = Model(variant=row.name)
    of_training = cost.of(zoo.build(model, classes))
    exported = _without_auxiliary(of_training)
    return {
        "name": row.name,
        "classes": classes,
        "training_parameters": of_training.parameters,
        "parameters": exported.parameters,
        "trainable_parameters": exported.trainable,
        "multiply_adds": exported.multiply_adds,
        "image_size": row.image_size,
        "smallest_image": row.smallest_image,
        "small_stem": row.has_small_stem,
        "options": {name: row.default(name) for name in sorted(row.options)},
        "paper": str(row.paper),
        "arxiv": row.paper.arxiv,
        "note": row.note,
    }


def _without_auxiliary(cost: Cost) -> Cost:
    from trainer.models.cost import Cost

    return Cost(tuple(layer for layer in cost.layers if not layer.name.startswith("aux")))


def _print_table(described: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("variant", "parameters", "in training", "mult-adds", "input", "arXiv"):
        table.add_column(heading, justify="left" if heading == "variant" else "right", no_wrap=True)
    for row in described:
        stem = ", 32–96" if row["small_stem"] else ""
        table.add_row(
            row["name"],
            f"{row['parameters']:,}",
            f"{row['training_parameters']:,}",
            f"{row['multiply_adds'] / 1e9:.3f} G",
            f"{row['image_size']}{stem}",
            row["arxiv"] or "a book",
        )
    Console().print(table)
    click.echo(f"Counted for {described[0]['classes']} classes; input in pixels, after the comma with the small stem.")


def _print_one(row: dict[str, Any]) -> None:
    facts = [
        ("variant", row["name"]),
        ("", row["note"]),
        ("paper", row["paper"]),
        ("input", f"{row['image_size']} pixels, at least {row['smallest_image']}"),
        ("stem = 'small'", "32 to 96 pixels" if row["small_stem"] else "none"),
        (
            "parameters",
            f"{row['parameters']:,} for {row['classes']} classes, of which {row['trainable_parameters']:,} trainable",
        ),
        ("in training", f"{row['training_parameters']:,}, auxiliary classifiers included"),
        ("multiply-adds", f"{row['multiply_adds']:,} per image"),
        ("options", "width = 1.0, " + ", ".join(f"{key} = {_toml(value)}" for key, value in row["options"].items())),
    ]
    for label, value in facts:
        click.echo(f"{click.style(f'{label:<16}', dim=True)}{value}")


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "the released network's" if value is None else repr(value)
