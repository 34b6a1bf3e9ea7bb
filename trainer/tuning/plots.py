"""A study in pictures: its history, what matters, and the curves of its trials. Each is returned as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import accumulate
from statistics import median

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from trainer.card.plots import PIXELS_PER_INCH, PRINT
from trainer.tuning.results import Tried
from trainer.tuning.space import Metric

_WIDTH = 7.2
_REACH = 4.0
"""A trial further from the best one than this many times the median trial is drawn at the picture's edge: one that
failed at once would leave no room for the differences between the good ones."""

Curve = Mapping[int, float]
"""The metric by epoch."""


def history(trials: Sequence[Tried], metric: Metric) -> bytes:
    """The metric of every trial, and the best so far."""
    figure = Figure(figsize=(_WIDTH, 3.6), layout="constrained")
    axes = figure.add_subplot()
    done = {trial.number: trial.value for trial in trials if trial.outcome == "done" and trial.value is not None}
    pruned = {trial.number: trial.value for trial in trials if trial.outcome == "pruned" and trial.value is not None}
    others = [trial.number for trial in trials if trial.outcome in ("refused", "failed")]
    better = max if metric == "validation_accuracy" else min
    lower, upper = _window(list(done.values()), metric)
    if done:
        leading = list(accumulate(done.values(), better))
        axes.step(
            [*done, trials[-1].number + 0.5], [*leading, leading[-1]], where="post", color=PRINT.right, linewidth=1.8,
            label="best so far",
        )  # fmt: skip
    for points, fill, edge, label in (
        (done, PRINT.right, PRINT.right, "done"),
        (pruned, "none", PRINT.wrong, "pruned"),
    ):
        for outside in (False, True):
            chosen = {n: value for n, value in points.items() if (not lower <= value <= upper) == outside}
            if chosen:
                axes.scatter(
                    list(chosen), [min(max(value, lower), upper) for value in chosen.values()], facecolors=fill,
                    edgecolors=edge, s=28, marker=("^" if metric == "validation_loss" else "v") if outside else "o",
                    label=f"{label}, further off" if outside else label, zorder=3, clip_on=False,
                )  # fmt: skip
    if others:
        axes.scatter(
            others, [0.02] * len(others), color=PRINT.wrong, marker="x", s=30, zorder=3, clip_on=False,
            transform=axes.get_xaxis_transform(), label="refused or failed",
        )  # fmt: skip
    axes.set_xlabel("trial", color=PRINT.ink)
    axes.set_xlim(trials[0].number - 0.5, trials[-1].number + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, min_n_ticks=1))
    _dress(axes, metric)
    _title(axes, "History")
    _legend(axes)
    return _png(figure)


def _window(values: Sequence[float], metric: Metric) -> tuple[float, float]:
    """Between which values points are drawn where they belong."""
    if not values:
        return float("-inf"), float("inf")
    best = max(values) if metric == "validation_accuracy" else min(values)
    reach = _REACH * abs(best - median(values)) or float("inf")
    return (best - reach, float("inf")) if metric == "validation_accuracy" else (float("-inf"), best + reach)


def importance(shares: Mapping[str, float], metric: Metric, trials: int) -> bytes:
    """How much of the differences between so many trials each key accounts for."""
    figure = Figure(figsize=(_WIDTH, 1.0 + 0.36 * max(len(shares), 1)), layout="constrained")
    axes = figure.add_subplot()
    keys = list(shares)[::-1]
    bars = axes.barh(keys, [shares[key] for key in keys], color=PRINT.right, height=0.62)
    axes.bar_label(bars, [_percent(shares[key]) for key in keys], padding=4, color=PRINT.ink, fontsize=9)
    axes.set_xlim(0, 1.12 * max(shares.values(), default=1.0))
    axes.xaxis.set_visible(False)
    axes.tick_params(colors=PRINT.ink, labelsize=9, length=0)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.spines["left"].set_color(PRINT.faint)
    _title(axes, f"What {metric.replace('_', ' ')} depends on, as {trials} trials say")
    return _png(figure)


def curves(trials: Sequence[Tried], reported: Mapping[int, Curve], best: int | None, metric: Metric) -> bytes:
    """The metric of every trial over its epochs.

    Args:
        trials: all of them.
        reported: the curve of each, by its number.
        best: the number of the one that is drawn in full colour.
        metric: what is drawn.
    """
    figure = Figure(figsize=(_WIDTH, 3.6), layout="constrained")
    axes = figure.add_subplot()
    named: set[str] = set()
    for trial in sorted(trials, key=lambda trial: trial.number == best):
        curve = reported[trial.number]
        kind = f"trial {best}, the best" if trial.number == best else trial.outcome
        if not curve:
            continue
        epochs = sorted(curve)
        leads = trial.number == best
        axes.plot(
            epochs, [curve[epoch] for epoch in epochs],
            color=PRINT.right if leads else PRINT.wrong if kind == "pruned" else PRINT.ink,
            linewidth=2.2 if leads else 1.1, alpha=1.0 if leads else 0.45,
            linestyle="--" if kind == "pruned" else "-", marker="o", markersize=2.5,
            label=None if kind in named else kind,
        )  # fmt: skip
        named.add(kind)
    axes.set_xlabel("epoch", color=PRINT.ink)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    _dress(axes, metric)
    _title(axes, "Curves")
    _legend(axes)
    return _png(figure)


def _legend(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            frameon=False, labelcolor=PRINT.ink, fontsize=9, loc="upper left", bbox_to_anchor=(0, -0.16), ncols=5
        )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _title(axes: Axes, words: str) -> None:
    axes.set_title(words, loc="left", color=PRINT.ink, fontsize=11, fontweight="bold")


def _dress(axes: Axes, metric: Metric) -> None:
    axes.set_ylabel(metric.replace("_", " "), color=PRINT.ink)
    if metric == "validation_accuracy":
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %" if value <= 1 else ""))
    axes.grid(axis="y", color=PRINT.faint, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=PRINT.ink, labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(PRINT.faint)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=PIXELS_PER_INCH, facecolor=PRINT.paper)
    return buffer.getvalue()
