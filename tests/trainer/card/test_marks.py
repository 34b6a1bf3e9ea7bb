from __future__ import annotations

import re

import pytest

from trainer.card.marks import WIDTH, Scale, interval_mark, scale_of
from trainer.scorecard import Interval


def interval(low: float, high: float) -> Interval:
    return Interval(low=low, high=high)


@pytest.mark.parametrize(
    ("lowest", "words"),
    [
        (0.996, "99–100 %"), (0.99, "99–100 %"), (0.97, "95–100 %"), (0.93, "90–100 %"), (0.9, "90–100 %"),
        (0.85, "80–100 %"), (0.3, "30–100 %"), (0.0, "0–100 %"), (-0.1, "0–100 %"),
    ],
)  # fmt: skip
def test_a_scale_begins_below_the_lowest_interval(lowest: float, words: str) -> None:
    """Not at nothing, where good models would all look alike; an interval that is not there counts for nothing."""
    assert scale_of([interval(0.999, 1.0), None, interval(lowest, 1.0)]).words == words


def test_without_intervals_the_scale_is_the_whole() -> None:
    """There is nothing to fit."""
    assert scale_of([None]).words == "0–100 %"


@pytest.mark.parametrize("share", [-1.0, 0.0, 0.5, 1.0, 2.0])
def test_everything_is_drawn_within_the_picture(share: float) -> None:
    """An interval that reaches beyond the scale ends at its edge."""
    mark = interval_mark(share, interval(share - 0.3, share + 0.3), interval(share - 1, share + 1), Scale(0.5, 1.0))
    places = [float(x) for x in re.findall(r'(?:d="M|H|cx=")([\d.-]+)', str(mark))]
    assert len(places) == 5
    assert all(0 <= place <= WIDTH for place in places)


def test_a_mark_says_in_words_what_it_shows() -> None:
    """For those who cannot see it; the champion's interval is said where there is one."""
    alone = interval_mark(0.9, interval(0.85, 0.95), None, Scale(0.8, 1.0))
    both = interval_mark(0.9, interval(0.85, 0.95), interval(0.7, 0.8), Scale(0.8, 1.0))
    assert 'aria-label="85.0 to 95.0 %"' in alone
    assert "the champion&#39;s 70.0 to 80.0 %" in both
    assert alone.count('class="theirs"') == 0
    assert both.count('class="theirs"') == 1
