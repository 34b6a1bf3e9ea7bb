"""The paired tests, against SciPy and against sums done by hand."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap

from trainer.config import Gate
from trainer.gate import Candidate, Circumstances, decide, examples_needed, gain_interval, mcnemar
from trainer.gate.paired import examples_for_interval

MakePair = Callable[..., tuple[Candidate, Candidate]]
COUNTS = [(0, 0), (1, 0), (0, 1), (5, 5), (10, 3), (3, 10), (300, 250), (2000, 1900), (900, 300)]


@pytest.mark.parametrize(("won", "lost"), COUNTS)
def test_mcnemar_is_the_exact_binomial_test(won: int, lost: int) -> None:
    """It is SciPy's one-sided binomial test, and the exact sum of binomial coefficients, to the last digits."""
    tosses = won + lost
    if tosses:
        theirs = float(binomtest(won, tosses, 0.5, alternative="greater").pvalue)
        assert mcnemar(won, lost) == pytest.approx(theirs, rel=1e-9)
    exact = Fraction(sum(comb(tosses, heads) for heads in range(won, tosses + 1)), 2**tosses)
    assert mcnemar(won, lost) == pytest.approx(float(exact), rel=1e-9)


@pytest.mark.parametrize(("won", "lost", "p"), [(5, 0, 1 / 32), (5, 1, 7 / 64), (8, 2, 56 / 1024), (0, 4, 1.0)])
def test_mcnemar_by_hand(won: int, lost: int, p: float) -> None:
    """Heads counted on the fingers."""
    assert mcnemar(won, lost) == pytest.approx(p)


@pytest.mark.parametrize(
    ("won", "lost", "examples"), [(30, 10, 200), (500, 300, 10_000), (5, 0, 100), (2, 40, 400), (0, 0, 50)]
)
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_interval_of_the_gain_is_the_paired_bootstrap(
    won: int, lost: int, examples: int, confidence: float
) -> None:
    """Drawing two counts gives the bounds that SciPy finds by drawing examples, but for the luck of the draw."""
    ours = np.repeat([1, 0, 1], [won, lost, examples - won - lost])
    theirs = np.repeat([0, 1, 1], [won, lost, examples - won - lost])
    reference = bootstrap(
        (ours, theirs),
        lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis),
        paired=True,
        vectorized=True,
        method="percentile",
        confidence_level=confidence,
        n_resamples=2000,
        batch=250,
        rng=np.random.default_rng(3),
    ).confidence_interval
    found = gain_interval(won, lost, examples, confidence, 20_000)
    # Four standard errors of a quantile of 2,000 draws, and one example for its steps.
    spread = np.sqrt((won + lost) / examples**2)
    allowance = 4 * spread * np.sqrt(0.025 * 0.975 / 2000) / 0.058 + 1 / examples
    assert found == pytest.approx((reference.low, reference.high), abs=allowance)


def test_the_interval_holds_the_true_gain_as_often_as_it_says() -> None:
    """Of 95 % intervals about 95 % do."""
    rng = np.random.default_rng(5)
    draws = rng.multinomial(1000, [0.08, 0.05, 0.87], size=300)
    held = [low <= 0.03 <= high for low, high in (gain_interval(b, c, 1000, 0.95, 1000) for b, c, _ in draws)]
    assert 0.91 <= np.mean(held) <= 0.98


@pytest.mark.parametrize(("won", "lost", "examples"), [(12, 10, 100), (60, 50, 1000), (30, 22, 360)])
@pytest.mark.parametrize("level", [0.05, 0.002])
def test_the_hint_of_an_undecided_verdict_is_about_right(
    pair: MakePair, won: int, lost: int, examples: int, level: float
) -> None:
    """With as many examples as the hint says, the same gain is significant about four times in five."""
    needed = examples_needed(won, lost, examples, level)
    assert needed > examples
    draws = np.random.default_rng(1).multinomial(
        needed, [won / examples, lost / examples, 1 - (won + lost) / examples], size=400
    )
    power = np.mean([mcnemar(int(b), int(c)) <= level for b, c, _ in draws])
    assert 0.72 < power < 0.88
    verdict = decide(*pair(won, lost, examples - won - lost), Gate(threshold=0.5, alpha=level))
    assert verdict.outcome == "undecided"
    assert f"about {needed:,} test examples would tell" in verdict.reason


@pytest.mark.parametrize("level", [1e-10, 1e-17, 1e-300])
def test_the_hint_holds_however_little_of_the_budget_is_left(pair: MakePair, level: float) -> None:
    """The number grows with the level's distance; it is never an error."""
    verdict = decide(*pair(12, 10, 78), Gate(threshold=0.5), Circumstances(level=level))
    assert verdict.outcome == "undecided"
    assert f"about {examples_needed(12, 10, 100, level):,} test examples would tell" in verdict.reason
    assert examples_needed(12, 10, 100, level) > examples_needed(12, 10, 100, level * 10)


@pytest.mark.parametrize(("won", "lost", "effect"), [(60, 30, 0.02), (60, 55, 0.01), (80, 20, 0.04)])
def test_the_hint_of_an_undecided_effect_is_about_right(won: int, lost: int, effect: float) -> None:
    """With as many examples as the hint says, the interval leaves the effect out about four times in five."""
    needed = examples_for_interval(won, lost, 1000, effect, 0.95)
    assert needed is not None
    draws = np.random.default_rng(2).multinomial(needed, [won / 1000, lost / 1000, 1 - (won + lost) / 1000], size=300)
    intervals = [gain_interval(int(b), int(c), needed, 0.95, 1000) for b, c, _ in draws]
    assert 0.7 < np.mean([low > effect or high < effect for low, high in intervals]) < 0.9


def test_no_number_of_examples_parts_a_gain_from_itself() -> None:
    """Where the observed gain is the effect asked for, no number is named."""
    assert examples_for_interval(30, 10, 1000, 0.02, 0.95) is None


def test_chance_alone_is_promoted_no_more_often_than_alpha_says(candidate: Callable[..., Candidate]) -> None:
    """Of models that differ by chance only, at most alpha pass the paired gate."""
    rng = np.random.default_rng(7)
    promoted = 0
    for _ in range(400):
        ours, theirs = rng.random((2, 300)) < 0.8
        promoted += decide(candidate(ours), candidate(theirs), Gate(threshold=0.0, alpha=0.1)).outcome == "promote"
    # Binomial(400, 0.1) exceeds 59 once in a thousand times.
    assert promoted <= 59
    assert promoted >= 10
