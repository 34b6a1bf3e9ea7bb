"""The confusion matrix as a picture: PNG bytes. Right and wrong differ in hue, and in position too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from trainer.card.plots import PRINT, Theme, as_png

MATRIX_LIMIT = 100
"""More classes than this cannot be read in one matrix; then the worst-confused `WORST_CLASSES` are drawn."""
WORST_CLASSES = 20

_ANNOTATED = 25
"""Up to this many classes the cells have room for their counts."""


def shown_classes(confusion: Sequence[Sequence[int]]) -> list[int]:
    """Indices of the classes that `confusion_matrix` draws: all, or of very many the worst-confused ones.

    Worst-confused: with the most examples lost to other classes or drawn from them.
    """
    counts = np.asarray(confusion)
    if len(counts) <= MATRIX_LIMIT:
        return list(range(len(counts)))
    mistaken = counts.sum(axis=1) + counts.sum(axis=0) - 2 * np.diag(counts)
    worst = np.argsort(-mistaken, kind="stable")[:WORST_CLASSES]
    return sorted(int(index) for index in worst)


def confusion_matrix(classes: Sequence[str], confusion: Sequence[Sequence[int]], theme: Theme = PRINT) -> bytes:
    """Rows the true classes, columns the predictions; a cell's depth of colour is its share of the row.

    The diagonal is drawn in one hue and the mistakes in another, these on a square-root scale that starts well above
    nothing: one in a thousand is to be seen.
    """
    shown = shown_classes(confusion)
    totals = np.asarray(confusion).sum(axis=1)[shown]
    counts = np.asarray(confusion)[np.ix_(shown, shown)]
    shares = counts / np.maximum(totals, 1)[:, None]
    size = len(shown)

    diagonal = np.eye(size, dtype=bool)
    depth = np.where(diagonal, 0.85 * shares, np.where(counts, 0.18 + 0.82 * np.sqrt(shares), 0.0))[..., None]
    hue = np.where(diagonal[..., None], to_rgb(theme.right), to_rgb(theme.wrong))
    cells = (1 - depth) * np.asarray(to_rgb(theme.base)) + depth * hue

    annotated = size <= _ANNOTATED
    inches = size * (0.46 if annotated else 0.145)
    font = 9.0 if annotated else 6.5
    names = [_shortened(classes[index]) for index in shown]
    margin = 0.75 + 0.011 * font * max(len(name) for name in names)
    side = max(inches + margin, 3.2)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow((255 * cells).astype(np.uint8), interpolation="nearest", aspect="equal")
    axes.set_xticks(range(size), names, rotation=90 if max(map(len, names)) > 3 else 0, fontsize=font, parse_math=False)
    axes.set_yticks(range(size), names, fontsize=font, parse_math=False)
    edges = np.arange(size + 1) - 0.5
    thickness = 0.6 if annotated else 0.25
    axes.vlines(edges, edges[0], edges[-1], color=theme.faint, linewidth=thickness)
    axes.hlines(edges, edges[0], edges[-1], color=theme.faint, linewidth=thickness)
    axes.set_xlabel("predicted", color=theme.ink)
    axes.set_ylabel("true", color=theme.ink)
    axes.tick_params(length=0, colors=theme.ink)
    axes.spines[:].set_visible(False)
    if annotated:
        _annotate(axes, counts, cells, theme)
    return as_png(figure, theme)


def _annotate(axes: Axes, counts: Any, cells: Any, theme: Theme) -> None:
    """Write each count into its cell, black or white by the cell's relative luminance (ITU-R BT.709 weights)."""
    digits = len(str(counts.max()))
    size = 9.0 if digits <= 4 else 7.0
    for row, column in zip(*np.nonzero(counts), strict=True):
        bright = float(cells[row, column] @ (0.2126, 0.7152, 0.0722)) > 0.5
        axes.text(
            column, row, str(counts[row, column]), ha="center", va="center", fontsize=size,
            color="#101318" if bright else "#ffffff",
        )  # fmt: skip


def _shortened(name: str, limit: int = 18) -> str:
    # Control characters have no glyph, and a line break would push a label into its neighbour.
    flat = "".join(c if c.isprintable() else " " for c in name)
    return flat if len(flat) <= limit else f"{flat[: limit - 1]}…"
