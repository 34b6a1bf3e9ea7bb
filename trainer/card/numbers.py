"""Figures as text.

Shares are given in per cent and their changes in percentage points: "0.9812 against 0.9789" takes longer to read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from trainer.scorecard import Interval

Direction = Literal["better", "worse", "same", ""]
"""Which way a change goes; empty where there is nothing to compare with."""

NOTHING = "—"


@dataclass(frozen=True)
class Change:
    text: str
    direction: Direction
    sure: bool = True
    """False where the intervals of the two figures leave room for chance."""


NO_CHANGE = Change(NOTHING, "")


def percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def wilson(share: float, examples: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927, J. Am. Stat. Assoc. 22): holds near 0 and 1 and on few examples."""
    z = 1.959964
    centre = share + z * z / (2 * examples)
    half = z * math.sqrt(share * (1 - share) / examples + z * z / (4 * examples * examples))
    scale = 1 + z * z / examples
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def duration(seconds: float) -> str:
    """`8 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.4f}"


def signed(value: float, digits: int) -> str:
    """With its sign, and a minus as wide as the plus."""
    return f"{value:+.{digits}f}".replace("-", "−")


def points(ours: float, theirs: float | None) -> Change:
    """The change of a share, in percentage points."""
    if theirs is None:
        return NO_CHANGE
    change = round(100 * (ours - theirs), 2) or 0.0  # never a negative nothing
    return Change(signed(change, 2), "better" if change > 0 else "worse" if change < 0 else "same")


def told_apart(one: tuple[float, Interval], other: tuple[float, Interval]) -> bool:
    """Whether each of two figures lies outside the other's interval."""
    (value, interval), (other_value, other_interval) = one, other
    return not (interval.low <= other_value <= interval.high or other_interval.low <= value <= other_interval.high)


def drop(ours: float, theirs: float | None) -> Change:
    """The change of a figure that is better when lower."""
    if theirs is None:
        return NO_CHANGE
    change = round(ours - theirs, 4) or 0.0
    return Change(signed(change, 4), "better" if change < 0 else "worse" if change > 0 else "same")


def bytes_text(size: int) -> str:
    """`812 kB`, `8.4 MB`: decimal units, as disks and networks are sold."""
    value, units = float(size), iter(("B", "kB", "MB", "GB"))
    unit = next(units)
    while value >= 999.5 and unit != "GB":
        value, unit = value / 1000, next(units)
    return f"{value:.3g} {unit}"


def count_of(number: int, one: str, many: str) -> str:
    """`1 image`, `2,000 images`."""
    return f"{number:,} {one if number == 1 else many}"
