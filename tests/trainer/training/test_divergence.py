"""When a training counts as diverged, over a table."""

from __future__ import annotations

import math

import pytest

from trainer.training.divergence import exploded
from trainer.training.learner import Score

GUESSING = math.log(10)


@pytest.mark.parametrize(
    ("loss", "cross_entropy", "diverged"),
    [
        (GUESSING, GUESSING, False),
        (0.0, 0.0, False),
        (9.9 * GUESSING, 9.9 * GUESSING, False),
        (10.1 * GUESSING, 10.1 * GUESSING, True),
        (1e6, GUESSING, False),
        (math.nan, GUESSING, True),
        (math.inf, GUESSING, True),
        (GUESSING, math.nan, True),
        (GUESSING, math.inf, True),
        (-math.inf, GUESSING, True),
    ],
    ids=[
        "guessing",
        "certain and right",
        "bad, not hopeless",
        "worse than the limit",
        "a great penalty",
        "loss not a number",
        "loss infinite",
        "cross-entropy not a number",
        "cross-entropy infinite",
        "minus infinite",
    ],
)
def test_an_explosion_is_told_by_what_guessing_costs(loss: float, cross_entropy: float, diverged: bool) -> None:
    """Ten classes and a factor of ten: ten times ln 10, of the main classifier alone."""
    assert exploded(Score(loss, cross_entropy, 0.1, 100, 0.0), 10, 10.0) is diverged


@pytest.mark.parametrize("classes", [2, 10, 1000])
@pytest.mark.parametrize("factor", [1.5, 10.0])
def test_the_limit_is_the_recipes_and_grows_with_the_classes(classes: int, factor: float) -> None:
    """loss_factor · ln K."""
    limit = factor * math.log(classes)
    assert not exploded(Score(limit, limit * 0.999, 0.0, 1, 0.0), classes, factor)
    assert exploded(Score(limit, limit * 1.001, 0.0, 1, 0.0), classes, factor)
