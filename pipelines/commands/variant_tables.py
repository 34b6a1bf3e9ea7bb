"""The facts of `inception variants` as tables, on a terminal and in Markdown."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from pipelines.commands.variant_facts import Facts

PIPED_WIDTH = 140
"""Columns for tables that go into a file or another program; a terminal has its own."""


def show_all(described: list[Facts]) -> None:
    table = _table("variant", "parameters", "in training", "mult-adds", "input", "arXiv")
    for facts in described:
        stem = ", 32–96" if facts["small_stem"] else ""
        table.add_row(
            facts["name"],
            f"{facts['parameters']:,}",
            f"{facts['training_parameters']:,}",
            f"{facts['multiply_adds'] / 1e9:.3f} G",
            f"{facts['image_size']}{stem}",
            facts["arxiv"] or "a book",
        )
    _print(table)
    click.echo(f"Counted for {described[0]['classes']} classes; input in pixels, after the comma with the small stem.")


def show_one(facts: Facts) -> None:
    """The network on the whole, then whatever else was asked for."""
    lines = [
        ("variant", facts["name"]),
        ("", facts["note"]),
        ("paper", facts["paper"]),
        ("input", f"{facts['image_size']} pixels; the paper's stem takes {facts['smallest_image']} or more"),
        ("stem = 'small'", "32 to 96 pixels" if facts["small_stem"] else "none"),
        (
            "parameters",
            f"{facts['parameters']:,} for {facts['classes']} classes, "
            f"of which {facts['trainable_parameters']:,} trainable",
        ),
        ("in training", f"{facts['training_parameters']:,}, auxiliary classifiers included"),
        ("multiply-adds", f"{facts['multiply_adds']:,} per image"),
        ("options", ", ".join(f"{key} = {_toml(value)}" for key, value in _options(facts).items())),
        ("init", ", ".join(facts["weights"]) or "no published weights fit"),
    ]
    if "plot" in facts:
        lines.append(("drawn", facts["plot"]))
    for label, value in lines:
        click.echo(f"{click.style(f'{label:<16}', dim=True)}{value}")
    if "stages" in facts:
        click.echo()
        _show_stages(facts)
    if "bottlenecks" in facts:
        click.echo()
        _show_bottlenecks(facts)


def _show_stages(facts: Facts) -> None:
    table = _table("stage", "output", "parameters", "", "mult-adds", "", "activations", "")
    for stage in facts["stages"]:
        table.add_row(stage["name"], _shape(stage["output_shape"]), *_figures(stage))
    table.add_section()
    table.add_row("total", "", *_figures(facts["total"]), style="bold")
    _print(table)
    click.echo("For one image in training, auxiliary classifiers included; activations in float32.")


def _figures(part: Facts) -> Iterable[str]:
    yield f"{part['parameters']:,}"
    yield f"{part['share_of_parameters']:.1%}"
    yield _millions(part["multiply_adds"])
    yield f"{part['share_of_multiply_adds']:.1%}"
    yield f"{part['activation_bytes'] / 1e6:.2f} MB"
    yield f"{part['share_of_activations']:.1%}"


def _show_bottlenecks(facts: Facts) -> None:
    found = facts["bottlenecks"]
    if not found:
        click.echo(f"{facts['name']} has no 1×1 convolution before a larger one.")
        return
    table = _table("1×1 reduction", "input", "channels", "kernel", "without", "the 1×1", "behind it", "saved", "")
    for one in found:
        before, between, after = one["channels"]
        table.add_row(
            one["name"].rpartition(".")[0].rpartition(".")[0],
            _shape([*one["grid"], before]),
            f"{before} → {between} → {after}",
            _shape(one["kernel"]),
            *(_millions(one[part]) for part in ("direct", "reduction", "convolution", "saved")),
            f"{one['saved'] / one['direct']:.1%}",
        )
    parts = {part: sum(one[part] for one in found) for part in ("direct", "reduction", "convolution", "saved")}
    table.add_section()
    table.add_row(
        "all", "", "", "", *map(_millions, parts.values()), f"{parts['saved'] / parts['direct']:.1%}", style="bold"
    )
    _print(table)
    click.echo("Multiply-adds for one image: without the 1×1 the larger convolution would see all the channels itself.")


def markdown(described: list[Facts]) -> str:
    """The page docs/reference/variants.md: what each network is, what it costs, which options it has."""
    classes = described[0]["classes"]
    names = sorted({option for facts in described for option in facts["options"]})
    parts = [
        "# Variants\n",
        f"The networks that a recipe can name, with their defaults and {classes} classes. Every figure is counted on "
        "the network itself.\n",
        _markdown_table(
            ["variant", "parameters", "trainable", "in training", "multiply-adds", "pixels", "small stem", "`init`"],
            [
                [
                    f"`{facts['name']}`",
                    f"{facts['parameters']:,}",
                    f"{facts['trainable_parameters']:,}",
                    f"{facts['training_parameters']:,}",
                    f"{facts['multiply_adds'] / 1e9:.3f} G",
                    f"{facts['image_size']} (from {facts['smallest_image']})",
                    "32 to 96" if facts["small_stem"] else "—",
                    ", ".join(f"`{kind}`" for kind in facts["weights"]) or "—",
                ]
                for facts in described
            ],
        ),
        "Parameters and multiply-adds are those of the exported model for one image; training adds the auxiliary "
        "classifiers. The small stem is in no paper.\n",
        "## What each is\n",
        _markdown_table(
            ["variant", "graph", "source"],
            [[f"`{facts['name']}`", facts["note"], facts["paper"]] for facts in described],
        ),
        "## Options\n",
        "Keys of `[model]` beside `variant`, `image_size` and `width`, which all have; a dash: the network has no such "
        "option, and a recipe that sets it is refused.\n",
        _markdown_table(
            ["variant", *(f"`{name}`" for name in names)],
            [
                [
                    f"`{facts['name']}`",
                    *(_toml(facts["options"][name]) if name in facts["options"] else "—" for name in names),
                ]
                for facts in described
            ],
        ),
    ]
    return "\n".join(parts)


def _markdown_table(headings: list[str], rows: list[list[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _table(*headings: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left", no_wrap=True)
    return table


def _print(table: Table) -> None:
    Console(width=None if sys.stdout.isatty() else PIPED_WIDTH).print(table)


def _options(facts: Facts) -> dict[str, Any]:
    return {"image_size": facts["image_size"], "width": facts["width"], **facts["options"]}


def _shape(shape: Iterable[int]) -> str:
    return "×".join(map(str, shape))


def _millions(number: int) -> str:
    return f"{number / 1e6:,.1f} M"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_toml(part)}' for key, part in value.items())} }}"
    return "the released network's" if value is None else repr(value)
