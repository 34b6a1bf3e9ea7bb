"""Challenger against champion, as rows of finished text: speed and size, classes, slices, examples won and lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from trainer.card.material import Material
from trainer.card.numbers import NO_CHANGE, NOTHING, Change, bytes_text, count_of, percent, points, told_apart, wilson
from trainer.record import Latency
from trainer.scorecard import Interval, Scorecard, Slice

FEW = 8
"""So many slices are taken in at a glance, and their own order (dark to bright) says more than their rank."""


@dataclass(frozen=True)
class CostRow:
    name: str
    challenger: str
    champion: str
    ratio: str
    spread: str


@dataclass(frozen=True)
class SliceRow:
    value: str
    count: int
    accuracy: str
    share: float
    interval: Interval
    champion: Interval | None
    change: Change


def accuracy_interval(card: Scorecard) -> Interval:
    """By bootstrap where the scorecard has it, else Wilson's."""
    found = card.intervals.get("accuracy")
    if found is not None:
        return found
    low, high = wilson(card.accuracy, card.examples)
    return Interval(low=low, high=high)


def interval_text(card: Scorecard | None, figure: str) -> str:
    """`97.1–98.9 %` for a share, `0.05–0.08` for another figure; empty where the scorecard has no interval of it."""
    if card is None:
        return ""
    interval = accuracy_interval(card) if figure == "accuracy" and card.examples else card.intervals.get(figure)
    if interval is None:
        return ""
    if figure in ("log_loss", "calibration_error"):
        return f"{interval.low:.4f}–{interval.high:.4f}"
    return share_range(interval)


def share_range(interval: Interval) -> str:
    return f"{100 * interval.low:.1f}–{100 * interval.high:.1f} %"


def costs(m: Material) -> list[CostRow]:
    """Time for a batch, bytes and parameters of both models."""
    e = m.evaluated
    if e is None:
        return []
    rows = [_latency(one) for one in e.latency]
    theirs = e.champion or (e.class_change.champion if e.class_change else None)
    for name, attribute, words in (("Size", "size_bytes", bytes_text), ("Parameters", "parameters", _count)):
        mine, other = getattr(e.challenger, attribute), getattr(theirs, attribute, None)
        if mine is not None:
            ratio = f"{mine / other:.2f} ×" if other else NOTHING
            rows.append(CostRow(name, words(mine), words(other) if other is not None else NOTHING, ratio, ""))
    return rows


def _count(value: int) -> str:
    return f"{value:,}"


def _latency(one: Latency) -> CostRow:
    spread = "" if one.ratio_low is None or one.ratio_high is None else f"{one.ratio_low:.2f}–{one.ratio_high:.2f}"
    return CostRow(
        f"Time for {count_of(one.batch, 'image', 'images')}",
        _milliseconds(one.challenger_ms),
        NOTHING if one.champion_ms is None else _milliseconds(one.champion_ms),
        NOTHING if one.ratio is None else f"{one.ratio:.2f} ×",
        spread,
    )


def _milliseconds(value: float) -> str:
    return f"{value:.2f} ms" if value < 10 else f"{value:,.1f} ms"


def class_changes(m: Material) -> list[str]:
    """What happened to the classes since the champion, one sentence each."""
    change = m.evaluated.class_change if m.evaluated else None
    if change is None:
        return []
    said = []
    if change.added:
        said.append(f"New, unknown to the champion: {_listed(change.added)}.")
    if change.removed:
        said.append(f"Gone, known to the champion only: {_listed(change.removed)}.")
    if change.renamed:
        said.append(f"Renamed: {_listed([f'{old} → {new}' for old, new in change.renamed.items()])}.")
    said.append(
        f"On the {count_of(len(change.common), 'class', 'classes')} both know "
        f"({count_of(change.challenger.examples, 'test example', 'test examples')}), the challenger's accuracy is "
        f"{percent(change.challenger.accuracy)} and the champion's {percent(change.champion.accuracy)}: "
        f"{points(change.challenger.accuracy, change.champion.accuracy).text} points."
    )
    return said


def _listed(names: Sequence[str], most: int = 12) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(f"“{name}”" for name in names[:most]) + more


def slices(m: Material) -> list[tuple[str, list[SliceRow]]]:
    """By column, in the order of the record; of very many the worst first.

    That of the classes is left out: “Class by class” says the same and more.
    """
    if m.evaluated is None:
        return []
    ours, theirs = m.pair or (m.evaluated.challenger, None)
    ours = m.evaluated.challenger if not ours.slices else ours
    before = {(one.column, one.value): one for one in theirs.slices} if theirs else {}
    columns: dict[str, list[SliceRow]] = {}
    for one in ours.slices:
        if one.column != "class":
            columns.setdefault(one.column, []).append(_slice(one, before.get((one.column, one.value))))
    return [
        (column, rows if len(rows) <= FEW else sorted(rows, key=lambda row: row.share))
        for column, rows in columns.items()
    ]


def _slice(one: Slice, other: Slice | None) -> SliceRow:
    return SliceRow(
        value=one.value,
        count=one.count,
        accuracy=percent(one.accuracy),
        share=one.accuracy,
        interval=_slice_interval(one),
        champion=_slice_interval(other) if other is not None else None,
        change=_change(one, other) if other is not None else NO_CHANGE,
    )


def _change(one: Slice, other: Slice) -> Change:
    sure = told_apart((one.accuracy, _slice_interval(one)), (other.accuracy, _slice_interval(other)))
    return replace(points(one.accuracy, other.accuracy), sure=sure)


def _slice_interval(one: Slice) -> Interval:
    if one.interval is not None or not one.count:
        return one.interval or Interval(low=0.0, high=1.0)
    low, high = wilson(one.accuracy, one.count)
    return Interval(low=low, high=high)


def sides(m: Material) -> str:
    """How many examples changed sides, in a sentence; empty where nothing was compared."""
    e = m.evaluated
    if e is None or m.pair is None or not (e.newly_right or e.newly_wrong):
        return ""
    net = e.newly_right - e.newly_wrong
    balance = "as many won as lost" if net == 0 else f"{abs(net):,} {'won' if net > 0 else 'lost'} on balance"
    right = count_of(e.newly_right, "test example is", "test examples are")
    return f"{right} newly right, {e.newly_wrong:,} newly wrong: {balance}."
