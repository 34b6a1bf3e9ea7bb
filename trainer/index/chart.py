"""The champions' accuracy over time, as inline SVG that stretches with the page and takes its colours.

Lines keep their width however the picture is stretched (`vector-effect`), and dots are lines of no length with round
ends; words would be stretched with it, so the scales stand beside it as text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from trainer.card.numbers import percent
from trainer.index.champions import Reign

WIDTH, HEIGHT = 600, 120
_MARGIN = 8


@dataclass(frozen=True)
class Chart:
    drawing: Markup
    top: str
    """What the upper edge stands for, in words; as the next."""
    bottom: str


def chart(reigns: Sequence[Reign], until: datetime) -> Chart | None:
    """None where fewer than two champions have a known accuracy: there is no course to draw."""
    known = [reign for reign in reigns if reign.accuracy is not None]
    if len(known) < 2:
        return None
    ends = [end for reign in known for end in _ends(reign)]
    step = 0.1 if max(ends) - min(ends) > 0.1 else 0.01
    low, high = math.floor(min(ends) / step + 1e-9) * step, min(1.0, math.ceil(max(ends) / step - 1e-9) * step)
    first, span = reigns[0].at, (until - reigns[0].at).total_seconds() or 1.0

    def x(at: datetime) -> float:
        return _MARGIN + (WIDTH - 2 * _MARGIN) * (at - first).total_seconds() / span

    def y(share: float) -> float:
        return _MARGIN + (HEIGHT - 2 * _MARGIN) * (high - share) / ((high - low) or 1.0)

    parts = [_path("grid", f"M0 {y(share):.1f}H{WIDTH}", "") for share in (low, high)]
    ends_at = [reign.at for reign in reigns[1:]] + [until]
    for reign, end in zip(reigns, ends_at, strict=True):
        if reign.accuracy is None:
            continue
        here, height = x(reign.at), y(reign.accuracy)
        title = f"version {reign.version}: {percent(reign.accuracy)}, {reign.event} on {reign.at:%Y-%m-%d}"
        if reign.other_test:
            parts.append(_path("other", f"M{here:.1f} 0V{HEIGHT}", "from here on other test images"))
        parts.append(_path("reign", f"M{here:.1f} {height:.1f}H{x(end):.1f}", title))
        if reign.interval is not None:
            parts.append(_path("range", f"M{here:.1f} {y(reign.interval.low):.1f}V{y(reign.interval.high):.1f}", ""))
        parts.append(_path("dot", f"M{here:.1f} {height:.1f}h0", title))
    words = (
        f"accuracy of {len(known)} champions, {percent(known[0].accuracy or 0)} to {percent(known[-1].accuracy or 0)}"
    )
    drawing = Markup('<svg viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, words, Markup("").join(parts)
    )
    return Chart(drawing, f"{100 * high:.0f} %", f"{100 * low:.0f} %")


def _ends(reign: Reign) -> tuple[float, ...]:
    assert reign.accuracy is not None
    return (reign.interval.low, reign.interval.high) if reign.interval else (reign.accuracy,)


def _path(kind: str, line: str, title: str) -> Markup:
    inner = Markup("<title>{}</title>").format(title) if title else Markup("")
    return Markup('<path class="{}" d="{}">{}</path>').format(kind, line, inner)
