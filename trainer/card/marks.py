"""Small drawings within a table's row: intervals on a common scale, as inline SVG that takes the page's colours."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup

from trainer.scorecard import Interval

WIDTH, HEIGHT = 120, 16
_MARGIN = 3
"""Units at either end, so that a dot at the scale's end is whole."""
_LOW_ENDS = (0.99, 0.95, *(tenths / 10 for tenths in range(9, -1, -1)))


@dataclass(frozen=True)
class Scale:
    """The range of shares that all marks of one table are drawn on."""

    low: float
    high: float

    def at(self, share: float) -> float:
        span = (self.high - self.low) or 1.0
        return _MARGIN + (WIDTH - 2 * _MARGIN) * min(1.0, max(0.0, (share - self.low) / span))

    @property
    def words(self) -> str:
        return f"{100 * self.low:.0f}–{100 * self.high:.0f} %"


def scale_of(intervals: Iterable[Interval | None]) -> Scale:
    """From below the lowest end up to 1: what is good would else all lie in the last hair of a scale from 0."""
    lowest = min((one.low for one in intervals if one is not None), default=0.0)
    return Scale(next((low for low in _LOW_ENDS if low <= lowest), 0.0), 1.0)


def interval_mark(value: float, interval: Interval, before: Interval | None, scale: Scale) -> Markup:
    """A line from end to end of the interval with a dot at the value; the champion's below it, pale."""
    words = f"{100 * interval.low:.1f} to {100 * interval.high:.1f} %"
    ours = 8 if before is None else 5
    parts = [_line("ours", interval, ours, scale), _dot(value, ours, scale)]
    if before is not None:
        parts.append(_line("theirs", before, 12, scale))
        words += f", the champion's {100 * before.low:.1f} to {100 * before.high:.1f} %"
    return Markup('<svg class="mark" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, words, Markup("").join(parts)
    )


def _line(kind: str, interval: Interval, y: int, scale: Scale) -> Markup:
    left, right = scale.at(interval.low), scale.at(interval.high)
    return Markup('<path class="{}" d="M{:.1f} {}H{:.1f}"/>').format(kind, left, y, right)


def _dot(value: float, y: int, scale: Scale) -> Markup:
    return Markup('<circle cx="{:.1f}" cy="{}" r="3"/>').format(scale.at(value), y)
