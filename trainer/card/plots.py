"""The run card's pictures: learning curves and reliability diagram. Each is returned as PNG bytes.

Colours are Okabe and Ito's (2008), which people with the common colour-vision deficiencies can tell apart. Only
matplotlib's object interface is used: no global figure, no backend to choose, and so nothing shared between two cards
drawn at once.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator, ScalarFormatter

from trainer.record import Epoch
from trainer.scorecard import Bin

Panel = Literal["accuracy", "loss", "learning_rate"]

PANELS: tuple[Panel, ...] = ("accuracy", "loss", "learning_rate")
TITLES = {"accuracy": "Accuracy", "loss": "Loss", "learning_rate": "Learning rate"}

PIXELS_PER_INCH = 192
"""Twice the 96 of a CSS inch, so that the pictures stay sharp on a good screen."""

FEW = 20
"""A bin with fewer examples than this is drawn pale: its accuracy is anybody's guess."""

_LOG_RATIO = 20
"""Losses that differ by more than this factor are drawn on a logarithmic axis."""


@dataclass(frozen=True)
class Theme:
    """Colours of one mode; `paper` None is transparent."""

    paper: str | None
    base: str
    """What lies under the picture: matrix cells start from it."""
    ink: str
    faint: str
    right: str
    wrong: str


LIGHT = Theme(paper=None, base="#ffffff", ink="#1f2430", faint="#d5d9e0", right="#0072b2", wrong="#d55e00")
DARK = Theme(paper=None, base="#171b22", ink="#e3e7ee", faint="#3b424e", right="#56b4e9", wrong="#f0893e")
PRINT = Theme(paper="#ffffff", base="#ffffff", ink="#1f2430", faint="#d5d9e0", right="#0072b2", wrong="#d55e00")
"""For files that are shown on a ground nobody knows."""


def curves(
    epochs: Sequence[Epoch], theme: Theme = PRINT, panels: Sequence[Panel] = PANELS, chosen: Sequence[int] = ()
) -> bytes:
    """Accuracy and loss of training and validation, and the learning rate, over the epochs, side by side.

    Args:
        epochs: of one network, or of all members of an ensemble: these as thin lines, and their mean.
        chosen: for every member the epoch whose weights are kept; it is marked where a later one followed.
    """
    members = [[e for e in epochs if e.member == member] for member in sorted({e.member for e in epochs})]
    figure = Figure(figsize=(4.7 * len(panels), 3.3), layout="constrained")
    for number, panel in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), number + 1)
        if panel == "learning_rate":
            lines = [_lines(axes, members, panel, "", theme.ink, "-")]
        else:
            lines = [
                _lines(axes, members, panel, "training", theme.right, "-"),
                _lines(axes, members, f"validation_{panel}", "validation", theme.wrong, "--"),
            ]
            _mark_kept(axes, members, f"validation_{panel}", chosen, theme)
        _mark_phases(axes, members[0], theme)
        _scale(axes, panel, [value for values in lines for value in values])
        axes.set_xlim(0.5, max(e.epoch for e in epochs) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
        axes.set_title(TITLES[panel], loc="left", color=theme.ink, fontsize=11, fontweight="bold")
        axes.set_xlabel("epoch", color=theme.ink)
        dress(axes, theme)
        if panel != "learning_rate":
            axes.legend(frameon=False, labelcolor=theme.ink, loc="best", fontsize=9)
    return as_png(figure, theme)


def _lines(
    axes: Axes, members: Sequence[Sequence[Epoch]], field: str, label: str, colour: str, style: str
) -> list[float]:
    """Draw a figure of every member, and their mean. Returns all values drawn."""
    drawn = [([e.epoch for e in member], [float(getattr(e, field)) for e in member]) for member in members]
    alone = len(drawn) == 1
    for numbers, values in drawn:
        axes.plot(
            numbers, values, color=colour, linestyle=style, linewidth=1.8 if alone else 0.7, alpha=1 if alone else 0.55,
            marker="o" if alone and len(numbers) <= 30 else "", markersize=3.5, label=label if alone else None,
        )  # fmt: skip
    if not alone:
        # Beyond the first member's end the mean would be that of others, and jump.
        shared = min(len(values) for _, values in drawn)
        mean = np.mean([values[:shared] for _, values in drawn], axis=0)
        name = f"{label}, mean of {len(drawn)}" if label else None
        axes.plot(
            drawn[0][0][:shared], mean, color=colour, linestyle=style, linewidth=1.8, label=name,
            marker="o" if shared <= 30 else "", markersize=3.5,
        )  # fmt: skip
    return [value for _, values in drawn for value in values]


def _mark_phases(axes: Axes, epochs: Sequence[Epoch], theme: Theme) -> None:
    for before, after in pairwise(epochs):
        if after.phase != before.phase:
            axes.axvline(after.epoch - 0.5, color=theme.ink, linewidth=1, linestyle=":")
            axes.annotate(
                after.phase, (after.epoch - 0.5, 1), xycoords=("data", "axes fraction"), xytext=(4, -10),
                textcoords="offset points", fontsize=8, color=theme.ink,
            )  # fmt: skip


def _mark_kept(axes: Axes, members: Sequence[Sequence[Epoch]], field: str, chosen: Sequence[int], theme: Theme) -> None:
    """A ring around the epoch whose weights are kept, where the training went on after it."""
    kept = [
        epoch
        for member, number in zip(members, chosen, strict=False)
        for epoch in member
        if epoch.epoch == number != member[-1].epoch
    ]
    if kept:
        name = f"kept: epoch {kept[0].epoch}" if len(members) == 1 else "kept epochs"
        axes.plot(
            [e.epoch for e in kept], [getattr(e, field) for e in kept], color=theme.ink, linestyle="", marker="o",
            markersize=9, markerfacecolor="none", markeredgewidth=1.5, label=name,
        )  # fmt: skip


def _scale(axes: Axes, panel: Panel, values: Sequence[float]) -> None:
    lowest, highest = min(values), max(values)
    if panel == "learning_rate":
        axes.set_ylim(0, 1.1 * highest or 1)
    elif panel == "loss" and lowest > 0 and highest > _LOG_RATIO * lowest:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    elif highest - lowest < 0.02:
        # One epoch, or a plateau: without some room around them, differences of nothing would fill the panel.
        axes.set_ylim(lowest - 0.05, highest + 0.05)
    if panel == "accuracy":
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %" if value <= 1 else ""))


def reliability(bins: Sequence[Bin], theme: Theme = PRINT) -> bytes:
    """How often the model is right (bars) against how sure it was (lines), and how many examples say so."""
    percent = FuncFormatter(lambda value, _: f"{100 * value:.0f} %")
    figure = Figure(figsize=(5.2, 4.2), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    left = [b.lower for b in bins]
    width = [b.upper - b.lower for b in bins]
    colours = [(theme.right, 0.75 if b.count >= FEW else 0.3) for b in bins]
    upper.bar(left, [b.accuracy for b in bins], width, align="edge", color=colours)
    upper.bar([0], [0], color=theme.right, alpha=0.75, label="accuracy")  # the legend's, whatever the first bin's tone
    upper.hlines(
        [b.confidence for b in bins], left, [b.upper for b in bins], color=theme.wrong, linewidth=2.2,
        label="confidence",
    )  # fmt: skip
    upper.plot([0, 1], [0, 1], color=theme.ink, linewidth=0.9, linestyle=":", label="perfect calibration")
    upper.set_ylim(0, 1.02)
    upper.set_ylabel("accuracy", color=theme.ink)
    upper.yaxis.set_major_formatter(percent)
    lower.bar(left, [b.count for b in bins], width, align="edge", color=theme.right, alpha=0.4)
    # Most examples of a good model lie in the last bin; linear bars would hide all the others.
    lower.set_yscale("symlog", linthresh=1)
    lower.yaxis.set_major_formatter(ScalarFormatter())
    lower.set_xlim(0, 1)
    lower.set_ylabel("examples", color=theme.ink)
    lower.set_xlabel("confidence", color=theme.ink)
    lower.xaxis.set_major_formatter(percent)
    for axes in (upper, lower):
        dress(axes, theme)
    upper.legend(
        frameon=False, labelcolor=theme.ink, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, fontsize=9,
        borderaxespad=0.2,
    )  # fmt: skip
    return as_png(figure, theme)


def dress(axes: Axes, theme: Theme) -> None:
    axes.set_facecolor("none")
    axes.grid(axis="y", color=theme.faint, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=theme.ink, labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(theme.faint)


def as_png(figure: Figure, theme: Theme) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A class name in a script that the font lacks shows as boxes in the picture; the tables have it in full.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(buffer, format="png", dpi=PIXELS_PER_INCH, facecolor=theme.paper or "none")
    return buffer.getvalue()
