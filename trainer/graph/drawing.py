"""Draws a network's graph, module by module, as a picture: matplotlib only, nothing to install beside.

Modules stand under one another in columns that are read from left to right; what passes between them is written on
the arrows. Lengths are inches, y grows downwards. Colours are Okabe and Ito's (2008), as in the run card.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch

from trainer.graph import layout
from trainer.graph.modules import Flow, Graph, Kind, Module, Split, Step

PIXELS_PER_INCH = 160
INK, FAINT, PANEL = "#1f2430", "#667085", "#f5f7fa"
COLOURS: dict[Kind, tuple[str, str]] = {
    "convolution": ("#d3e6f4", "#0072b2"),
    "pooling": ("#fbe0d0", "#d55e00"),
    "dense": ("#f9efc0", "#a98600"),
    "join": ("#cfeee3", "#009e73"),
    "other": ("#ffffff", "#98a2b3"),
}
"""Ground and edge."""

CIRCLE, MARGIN = 0.11, 0.3
TITLE_FONT = 11.0


def draw(graph: Graph, file_format: str = "png") -> bytes:
    """The picture of a network. `file_format` is `png`, `svg` or `pdf`."""
    columns = layout.in_columns(graph.modules)
    widths = [max(layout.module_width(module) for module in column) for column in columns]
    title, foot = _title(graph), _foot(graph)
    width = max(
        sum(widths) + layout.GUTTER * (len(columns) - 1) + 2 * MARGIN,
        max(map(len, (title, foot))) * layout.CHARACTER * 8 + 2 * MARGIN,
    )
    height = layout.TITLE + max(layout.column_height(column) for column in columns) + layout.FOOT
    figure = Figure(figsize=(width, height), facecolor="white")
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.axis("off")
    pen = _Pen(axes)
    pen.text(MARGIN, 0.3, title, TITLE_FONT, bold=True, align="left")
    pen.text(MARGIN, height - 0.22, foot, layout.STEP_FONT, colour=FAINT, align="left")
    left = (width - sum(widths) - layout.GUTTER * (len(columns) - 1)) / 2
    leaving: tuple[float, float, float] | None = None
    for column, breadth in zip(columns, widths, strict=True):
        leaving = _column(pen, column, left, breadth, leaving)
        left += breadth + layout.GUTTER
    buffer = io.BytesIO()
    # Without its date, the same graph makes the same file.
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(file_format)
    figure.savefig(buffer, format=file_format, dpi=PIXELS_PER_INCH, metadata=metadata)
    return buffer.getvalue()


@dataclass(frozen=True)
class _Pen:
    """What is drawn with, in one style."""

    axes: Axes

    def text(
        self,
        x: float,
        y: float,
        words: str,
        size: float,
        *,
        colour: str = INK,
        bold: bool = False,
        align: str = "center",
    ) -> None:
        weight = "bold" if bold else "normal"
        style: dict[str, Any] = {
            "size": size,
            "color": colour,
            "ha": align,
            "va": "center",
            "weight": weight,
            "parse_math": False,
        }
        self.axes.text(x, y, words, **style)

    def line(self, *points: tuple[float, float]) -> None:
        self.axes.plot(*zip(*points, strict=True), color=FAINT, linewidth=0.9, solid_joinstyle="round")

    def arrow(self, *points: tuple[float, float]) -> None:
        """Along the points, with its head at the last."""
        *way, before, end = points
        if way:
            self.line(*way, before)
        style = {"arrowstyle": "-|>,head_width=0.14,head_length=0.28", "color": FAINT, "linewidth": 0.9}
        self.axes.annotate("", xy=end, xytext=before, arrowprops=style | {"shrinkA": 0, "shrinkB": 0})

    def box(self, x: float, y: float, width: float, height: float, ground: str, edge: str, rounding: float) -> None:
        """`x` is the middle, `y` the top."""
        self.axes.add_patch(
            FancyBboxPatch(
                (x - width / 2 + rounding, y + rounding),
                width - 2 * rounding,
                height - 2 * rounding,
                boxstyle=f"round,pad={rounding}",
                facecolor=ground,
                edgecolor=edge,
                linewidth=0.8,
            )
        )

    def circle(self, x: float, y: float, ground: str, edge: str) -> None:
        self.axes.add_patch(Circle((x, y), CIRCLE, facecolor=ground, edgecolor=edge, linewidth=0.8, zorder=3))


def _column(
    pen: _Pen, column: Sequence[Module], left: float, width: float, leaving: tuple[float, float, float] | None
) -> tuple[float, float, float]:
    """Draw a column from the left edge on.

    `leaving` is where the last module of the column before ends: x, y, and the right edge of that column. Returned is
    the same of this one.
    """
    x, y = left + width / 2, layout.TITLE
    for number, module in enumerate(column):
        below = y + layout.BETWEEN_MODULES
        if module.auxiliary:
            pen.arrow((x, below - 0.26), (x, below))
        else:
            if number == 0 and leaving is not None:
                gutter = leaving[2] + layout.GUTTER / 2
                around = (leaving[0], leaving[1] + 0.16), (gutter, leaving[1] + 0.16), (gutter, y + 0.08)
                pen.line(leaving[:2], *around, (x, y + 0.08))
            pen.arrow((x, y + 0.08 if number == 0 else y), (x, below))
        middle = below - (0.17 if module.auxiliary else 0.22)
        pen.text(x + 0.08, middle, layout.passed(module), layout.SHAPE_FONT, align="left")
        _module(pen, module, x, below)
        y = below + layout.module_height(module)
    return x, y, left + width


def _module(pen: _Pen, module: Module, x: float, y: float) -> None:
    width, height = layout.module_width(module), layout.module_height(module)
    pen.box(x, y, width, height, PANEL, "#cfd6e0", 0.07)
    left = x - width / 2 + layout.PADDING
    pen.text(left, y + 0.14, layout.name(module), layout.NAME_FONT, bold=True, align="left")
    pen.text(left, y + 0.3, layout.cost(module), layout.COST_FONT, colour=FAINT, align="left")
    top = y + layout.HEADING
    sum_at = _flow(pen, module.flow, x, top)
    if module.residual and sum_at is not None:
        side = x + layout.flow_size(module.flow)[0] / 2 + layout.BYPASS
        pen.arrow((x, top), (side, top), (side, sum_at), (x + CIRCLE, sum_at))


def _flow(pen: _Pen, flow: Flow, x: float, y: float) -> float | None:
    """Draw one step under the other. The height of the sum's centre is returned where there is one."""
    sum_at = None
    for index, item in enumerate(flow):
        if index:
            gap = layout.gap(flow, index)
            if gap:
                pen.arrow((x, y), (x, y + gap))
            y += gap
        if isinstance(item, Split):
            _split(pen, item, x, y)
            y += layout.split_size(item)[1]
            continue
        if item.label == "+":
            sum_at = y + layout.BOX / 2
        before = flow[index - 1] if index else None
        spanned = layout.split_size(before)[0] if isinstance(before, Split) else 0.0
        _step(pen, item, x, y, max(layout.step_width(item), spanned))
        y += layout.BOX
    return sum_at


def _step(pen: _Pen, step: Step, x: float, y: float, width: float) -> None:
    ground, edge = COLOURS[step.kind]
    if step.label == "+":
        pen.line((x, y), (x, y + layout.BOX))
        pen.circle(x, y + layout.BOX / 2, ground, edge)
    else:
        pen.box(x, y, width, layout.BOX, ground, edge, 0.04)
    pen.text(x, y + layout.BOX / 2, step.label, layout.STEP_FONT)


def _split(pen: _Pen, split: Split, x: float, y: float) -> None:
    width, height = layout.split_size(split)
    centres: list[float] = []
    left = x - width / 2
    for branch in split.branches:
        breadth, length = layout.flow_size(branch)
        centre = left + breadth / 2
        centres.append(centre)
        pen.arrow((centre, y), (centre, y + layout.FAN))
        _flow(pen, branch, centre, y + layout.FAN)
        pen.arrow((centre, y + layout.FAN + length), (centre, y + height))
        left += breadth + layout.BETWEEN_BRANCHES
    pen.line((min(centres[0], x), y), (max(centres[-1], x), y))


def _title(graph: Graph) -> str:
    exported = [module for module in graph.modules if not module.auxiliary]
    parameters = layout.short(sum(module.parameters for module in exported))
    work = layout.short(sum(module.multiply_adds for module in exported))
    rest = ", auxiliary classifiers apart" if len(exported) < len(graph.modules) else ""
    return f"{graph.name}: {parameters} parameters, {work} multiply-adds{rest}"


def _foot(graph: Graph) -> str:
    after = "batch normalisation and ReLU" if graph.batch_norm else "a bias and ReLU"
    return (
        f"Convolutions: kernel height×width, / stride, channels; {after} after each that is not linear. "
        "V: no padding, else the rim is padded."
    )
