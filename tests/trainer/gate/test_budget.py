"""The error budget: what the ledger has spent, and what that means for a year of decisions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.config import Gate
from trainer.gate import Candidate, Circumstances, decide, level
from trainer.registry.protocol import Entry, Trial

Make = Callable[..., Candidate]
Draw = Callable[[np.random.Generator, NDArray[np.bool_] | None], NDArray[np.bool_]]
POLICY = Gate(threshold=0.0)
WEEKS = 52


def entry(trial: Trial | None, number: int = 1) -> Entry:
    return Entry(
        number=number,
        event="keep",
        version="1",
        previous="1",
        run_key=None,
        verdict_digest=None,
        reason="",
        tick=None,
        trial=trial,
        at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def spent(share: float, digest: str = "now", examples: int = 1000) -> Entry:
    return entry(Trial(test_digest=digest, examples=examples, level=share, p_value=None))


@pytest.mark.parametrize(
    ("entries", "policy", "expected"),
    [
        ([], {}, 0.2 / 52),
        ([entry(None)], {}, 0.2 / 52),
        ([spent(0.1)], {}, 0.1 / 52),
        ([spent(0.1), entry(None), spent(0.05)], {}, 0.05 / 52),
        ([], {"horizon": 1}, 0.05),
        ([], {"horizon": 1, "alpha": 0.5}, 0.2),
        ([spent(0.199)], {"horizon": 1}, 0.001),
        ([spent(0.3)], {}, 0.0),
        ([spent(0.1, "other")], {}, 0.1 / 52),
        ([spent(0.1, "other", 500)], {}, 0.15 / 52),
        ([spent(0.1, "other", 2000)], {}, 0.1 / 52),
        ([spent(0.1, "now", 500)], {}, 0.1 / 52),
    ],
)
def test_each_decision_may_spend_its_share_of_what_is_left(
    entries: list[Entry], policy: dict[str, float], expected: float
) -> None:
    """Never more than alpha; what was spent on fewer examples counts by their share of the present ones."""
    asked = Gate.model_validate({"threshold": 0.0, **policy})
    assert level(entries, asked, "now", 1000) == pytest.approx(expected)


@pytest.mark.parametrize("horizon", [1, 2, 52, 1000])
def test_the_budget_is_never_exceeded_and_never_exhausted(horizon: int) -> None:
    """However many decisions there are, their levels sum to less than it, and the next one has a level left."""
    policy = Gate(threshold=0.0, budget=0.2, alpha=0.15, horizon=horizon)
    entries: list[Entry] = []
    for _ in range(300):
        share = level(entries, policy, "now", 1000)
        entries.append(spent(share))
        assert share <= policy.alpha
    total = sum(one.trial.level for one in entries if one.trial)
    assert total <= 0.2 + 1e-12
    if horizon > 2:
        assert level(entries, policy, "now", 1000) > 0


def a_year(make: Make, draw: Draw, seed: int, decisions: int = WEEKS, budgeted: bool = True) -> tuple[int, list[Entry]]:
    """Challengers against whoever is champion by then: how many were promoted, and the ledger."""
    rng = np.random.default_rng(seed)
    champion = draw(rng, None)
    card = make([True]).scorecard.model_copy(update={"examples": len(champion), "test_digest": "now"})

    def candidate(correct: NDArray[np.bool_]) -> Candidate:
        return Candidate(card.model_copy(update={"accuracy": float(correct.mean())}), correct)

    entries: list[Entry] = []
    promoted = 0
    for number in range(decisions):
        challenger = draw(rng, champion)
        share = level(entries, POLICY, "now", len(champion)) if budgeted else POLICY.alpha
        verdict = decide(candidate(challenger), candidate(champion), POLICY, Circumstances(level=share))
        test = verdict.rule("significance")
        assert test is not None
        trial = Trial(test_digest="now", examples=len(champion), level=share, p_value=test.figure)
        entries.append(entry(trial, number + 1))
        if verdict.outcome == "promote":
            promoted, champion = promoted + 1, challenger
    return promoted, entries


def of_equal_difficulty(rng: np.random.Generator, _: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Answers independent of each other: as many examples to disagree on as there can be."""
    return rng.random(2000) < 0.9


DIFFICULTY = np.random.default_rng(2).beta(1.8, 0.2, 2000)
"""Chance of each example to be answered rightly: mean 0.9, most of them always, some hardly ever."""


def retrained(rng: np.random.Generator, _: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Models of one kind find the same examples hard: one of two is right on about 13 %."""
    return rng.random(2000) < DIFFICULTY


def near_tie(rng: np.random.Generator, champion: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """The champion again but for about twenty examples, as many won as lost on the average."""
    if champion is None:
        return retrained(rng, None)
    changed = champion.copy()
    for answer in (True, False):
        side = np.flatnonzero(champion == answer)
        changed[rng.choice(side, rng.poisson(10), replace=False)] = not answer
    return changed


@pytest.mark.parametrize("draw", [retrained, of_equal_difficulty, near_tie])
def test_a_year_without_a_true_difference_promotes_falsely_no_more_often_than_the_budget(
    candidate: Make, draw: Draw
) -> None:
    """Of 200 years with 52 weekly decisions at most 40 see any promotion, and each ledger has spent less than 0.2."""
    years = [a_year(candidate, draw, seed) for seed in range(200)]
    assert sum(promoted > 0 for promoted, _ in years) <= 200 * POLICY.budget
    assert all(sum(one.trial.level for one in ledger if one.trial) < POLICY.budget for _, ledger in years)


def test_asking_ten_times_as_often_promotes_falsely_no_more_often(candidate: Make) -> None:
    """520 near-ties in a year share the same budget."""
    years = [a_year(candidate, near_tie, seed, 520)[0] for seed in range(20)]
    # Binomial(20, 0.2) exceeds 9 once in four hundred times.
    assert sum(promoted > 0 for promoted in years) <= 9


def test_without_a_budget_too_many_years_promote_falsely(candidate: Make) -> None:
    """The same decisions at alpha each: what the budget is there for."""
    years = [a_year(candidate, retrained, seed, budgeted=False)[0] for seed in range(100)]
    assert sum(promoted > 0 for promoted in years) > 30


def ledger_after(decisions: int, examples: int) -> list[Entry]:
    entries: list[Entry] = []
    for _ in range(decisions):
        entries.append(spent(level(entries, POLICY, "now", examples), examples=examples))
    return entries


@pytest.mark.parametrize("before", [0, 51], ids=["first", "52nd"])
@pytest.mark.parametrize(("won", "lost"), [(0.05, 0.03), (0.92 * 0.1, 0.9 * 0.08)], ids=["of one kind", "independent"])
def test_a_gain_of_two_points_on_ten_thousand_examples_is_seen(
    candidate: Make, before: int, won: float, lost: float
) -> None:
    """0.92 against 0.90 promotes at least 95 times in 100, also as the last decision of a year."""
    rng = np.random.default_rng(0)
    share = level(ledger_after(before, 10_000), POLICY, "now", 10_000)
    card = candidate([True]).scorecard.model_copy(update={"examples": 10_000})
    both = 0.92 - won

    def one(correct: Sequence[bool] | NDArray[np.bool_]) -> Candidate:
        right = np.asarray(correct)
        return Candidate(card.model_copy(update={"accuracy": float(right.mean())}), right)

    promoted = 0
    for _ in range(200):
        side = rng.choice(4, 10_000, p=[won, lost, both, 1 - won - lost - both])
        ours, theirs = one((side == 0) | (side == 2)), one((side == 1) | (side == 2))
        promoted += decide(ours, theirs, POLICY, Circumstances(level=share)).outcome == "promote"
    assert promoted >= 190
