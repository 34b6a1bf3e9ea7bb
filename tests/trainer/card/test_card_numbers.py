from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from scipy.stats import binomtest

from trainer.card import numbers


@pytest.mark.parametrize(("right", "examples"), [(0, 10), (10, 10), (354, 360), (1, 2), (9_876, 10_000)])
def test_the_interval_is_wilsons(right: int, examples: int) -> None:
    """It agrees with SciPy's, at both ends of the scale too."""
    expected = binomtest(right, examples).proportion_ci(0.95, method="wilson")
    assert numbers.wilson(right / examples, examples) == pytest.approx((expected.low, expected.high), abs=1e-6)


@pytest.mark.parametrize(
    ("ours", "theirs", "text", "direction"),
    [
        (0.98, 0.97, "+1.00", "better"),
        (0.97, 0.98, "−1.00", "worse"),
        (0.98, 0.98, "+0.00", "same"),
        (0.98, 0.980001, "+0.00", "same"),
        (0.98, None, numbers.NOTHING, ""),
    ],
)
def test_a_share_changes_in_points(ours: float, theirs: float | None, text: str, direction: str) -> None:
    """More is better, what rounds to nothing is the same, and without a champion there is no change."""
    assert numbers.points(ours, theirs) == numbers.Change(text, direction)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ours", "theirs", "direction"), [(0.1, 0.2, "better"), (0.2, 0.1, "worse"), (0.1, 0.1, "same")]
)
def test_a_smaller_loss_is_better(ours: float, theirs: float, direction: str) -> None:
    """Log loss and calibration error improve downwards."""
    assert numbers.drop(ours, theirs).direction == direction


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (200, "3 min 20 s"),
        (3599.9, "1 h 0 min"),
        (7500, "2 h 5 min"),
    ],
)
def test_a_duration_is_in_the_units_people_use(seconds: float, text: str) -> None:
    """Seconds, minutes or hours, and never 60 of anything."""
    assert numbers.duration(seconds) == text


def test_a_moment_is_in_utc() -> None:
    """Whatever time zone it was noted in."""
    noon = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
    assert numbers.moment(noon) == "2026-11-21 12:00 UTC"
    assert numbers.moment(noon.astimezone(timezone(timedelta(hours=5)))) == "2026-11-21 12:00 UTC"
