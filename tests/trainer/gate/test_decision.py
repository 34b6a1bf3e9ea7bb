"""The decision: which verdict follows from the rules, as tables."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from trainer.config import Gate
from trainer.errors import EvaluationError
from trainer.gate import Candidate, Verdict, decide
from trainer.scorecard import Predictions

PAIRED = Gate(threshold=0.5, min_improvement=0.0, alpha=0.05)
Make = Callable[..., Candidate]
MakePair = Callable[..., tuple[Candidate, Candidate]]


def rulings(verdict: Verdict) -> dict[str, str]:
    return {rule.name: rule.outcome for rule in verdict.rules}


@pytest.mark.parametrize(
    ("won", "lost", "both", "neither", "policy", "outcome", "words"),
    [
        (30, 5, 60, 5, {}, "promote", "significant: right where the champion is wrong on 30 test examples"),
        (5, 0, 95, 0, {}, "promote", "p = 0.031"),
        (4, 0, 96, 0, {}, "undecided", "may be chance"),
        (4, 0, 96, 0, {"alpha": 0.1}, "promote", "p = 0.062"),
        (4, 0, 96, 0, {"policy": "threshold"}, "promote", "beats the champion's 0.9600 by 0.0400"),
        (12, 10, 78, 0, {}, "undecided", "about "),
        (5, 5, 90, 0, {}, "keep", "a tie keeps the champion"),
        (5, 5, 90, 0, {"policy": "threshold"}, "keep", "a tie keeps the champion"),
        (0, 0, 100, 0, {}, "keep", "a tie keeps the champion"),
        (2, 20, 78, 0, {}, "keep", "is below the champion's"),
        (40, 0, 30, 30, {"threshold": 0.71}, "keep", "0.7000 is below the threshold 0.7100"),
        (40, 0, 30, 30, {"threshold": 0.70}, "promote", "significant"),
        (5, 0, 95, 0, {"min_improvement": 0.05}, "promote", "significant"),
        (5, 0, 95, 0, {"min_improvement": 0.051}, "keep", "less than the 0.0510 asked for"),
        (7, 0, 93, 0, {"min_improvement": 0.07}, "promote", "significant"),
        (1, 0, 99, 0, {"min_improvement": 0.05}, "keep", "less than"),
    ],
)
def test_the_verdict_follows_from_the_rules(
    pair: MakePair, won: int, lost: int, both: int, neither: int, policy: dict[str, object], outcome: str, words: str
) -> None:
    """Fail keeps, undecided leaves open, and only a challenger that passes every rule is promoted."""
    challenger, champion = pair(won, lost, both, neither)
    verdict = decide(challenger, champion, PAIRED.model_copy(update=policy))
    assert verdict.outcome == outcome
    assert words in verdict.reason
    outcomes = set(rulings(verdict).values())
    assert ("fail" in outcomes) == (outcome == "keep")
    assert outcomes <= {"pass", "not applicable"} if outcome == "promote" else True
    assert list(rulings(verdict)) == ["scored", "comparable", "threshold", "improvement", "significance"]


@pytest.mark.parametrize(("right", "outcome"), [(69, "keep"), (70, "promote"), (100, "promote"), (0, "keep")])
@pytest.mark.parametrize("policy", ["paired", "threshold"])
def test_the_first_model_meets_the_threshold_only(candidate: Make, right: int, outcome: str, policy: str) -> None:
    """Without a champion neither improvement nor significance applies."""
    first = candidate([True] * right + [False] * (100 - right))
    verdict = decide(first, None, Gate.model_validate({"threshold": 0.7, "policy": policy, "min_improvement": 0.2}))
    assert verdict.outcome == outcome
    assert rulings(verdict)["improvement"] == rulings(verdict)["significance"] == "not applicable"
    if outcome == "promote":
        assert "no champion yet" in verdict.reason


def test_every_rule_states_figure_and_limit(pair: MakePair) -> None:
    """The verdict can be explained from its rules alone."""
    verdict = decide(*pair(30, 5, 60, 5), Gate(threshold=0.6, min_improvement=0.1, alpha=0.01))
    rules = {rule.name: (rule.figure, rule.limit) for rule in verdict.rules}
    assert rules["scored"] == (100.0, 1.0)
    assert rules["threshold"] == (0.9, 0.6)
    assert rules["improvement"] == (0.25, 0.1)
    assert rules["significance"] == (pytest.approx(binom.sf(29, 35, 0.5)), 0.01)


@pytest.mark.parametrize("accuracy", [math.nan, math.inf, 0.123])
@pytest.mark.parametrize("first", [True, False])
def test_a_challenger_without_sound_figures_is_never_promoted(pair: MakePair, accuracy: float, first: bool) -> None:
    """NaN, infinity and an accuracy that its predictions do not give keep the champion."""
    challenger, champion = pair(50, 0, 50)
    flawed = replace(challenger, scorecard=challenger.scorecard.model_copy(update={"accuracy": accuracy}))
    verdict = decide(flawed, None if first else champion, Gate(threshold=0.0, policy="threshold"))
    assert (verdict.outcome, list(rulings(verdict))) == ("keep", ["scored"])


def test_a_challenger_scored_on_nothing_is_never_promoted(candidate: Make) -> None:
    """An empty scorecard keeps the champion, and the first model out."""
    one = candidate([True])
    empty = Candidate(one.scorecard.model_copy(update={"examples": 0}), np.zeros(0, bool))
    assert decide(empty, None, Gate(threshold=0.0)).outcome == "keep"
    assert decide(empty, one, Gate(threshold=0.0)).outcome == "keep"


def test_a_champion_without_sound_figures_leaves_the_verdict_open(pair: MakePair) -> None:
    """A broken champion is for people to judge."""
    challenger, champion = pair(50, 0, 50)
    flawed = replace(champion, scorecard=champion.scorecard.model_copy(update={"accuracy": math.nan}))
    verdict = decide(challenger, flawed, PAIRED)
    assert verdict.outcome == "undecided"
    assert "champion cannot be compared" in verdict.reason


@pytest.mark.parametrize("other", [([True] * 10, "x"), ([True] * 11, "")])
def test_other_test_examples_are_refused(candidate: Make, other: tuple[list[bool], str]) -> None:
    """Scores on different examples, or on more of them, are not compared."""
    with pytest.raises(EvaluationError, match="different test examples"):
        decide(candidate([True] * 10), candidate(*other), PAIRED)


def test_test_examples_with_other_labels_are_not_the_same(candidate: Make) -> None:
    """An example that was relabelled keeps its identity; which number a class has does not matter."""
    ours = candidate([True] * 10, labels=[0] * 5 + [1] * 5)
    relabelled = candidate([False] * 3 + [True] * 7, labels=[0] * 4 + [1] * 6)
    with pytest.raises(EvaluationError, match="1 of the 10 test examples had another label"):
        decide(ours, relabelled, PAIRED)
    renumbered = candidate([False] * 3 + [True] * 7, labels=[1] * 5 + [0] * 5, classes=("b", "a"))
    assert decide(ours, renumbered, PAIRED).outcome == "undecided"


def test_predictions_of_another_scorecard_are_refused(candidate: Make) -> None:
    """A candidate is one scorecard and the predictions it was made from."""
    other = Predictions(["z"], np.zeros(1, np.int32), np.float32([[1, 0]]))
    with pytest.raises(EvaluationError, match="other test examples than its scorecard"):
        Candidate.of(candidate([True]).scorecard, other)


TABLES = [(won, lost, both) for won in range(0, 13, 2) for lost in range(0, 13, 3) for both in (20, 200)]
RANK = {"keep": 0, "undecided": 1, "promote": 2}


@pytest.mark.parametrize("policy", ["paired", "threshold"])
def test_of_two_models_at_most_one_beats_the_other(pair: MakePair, candidate: Make, policy: str) -> None:
    """If A is promoted over B, then B is kept out by A; and the order of the examples changes nothing."""
    gate = Gate.model_validate({"threshold": 0.0, "policy": policy})
    rng = np.random.default_rng(0)
    for table in TABLES:
        a, b = pair(*table)
        forward, backward = decide(a, b, gate), decide(b, a, gate)
        assert "keep" in (forward.outcome, backward.outcome)
        if forward.outcome != "keep":
            assert backward.outcome == "keep"
        order = rng.permutation(len(a.correct))
        shuffled = decide(candidate(a.correct[order]), candidate(b.correct[order]), gate)
        assert shuffled == forward


def test_a_model_never_beats_itself(candidate: Make) -> None:
    """Whatever the policy lets pass, a tie keeps."""
    for right in range(0, 101, 10):
        model = candidate([True] * right + [False] * (100 - right))
        for policy in ("paired", "threshold"):
            gate = Gate.model_validate({"threshold": 0.0, "policy": policy, "alpha": 0.999})
            assert decide(model, model, gate).outcome == "keep"


@pytest.mark.parametrize("policy", ["paired", "threshold"])
def test_being_right_more_often_never_hurts(pair: MakePair, policy: str) -> None:
    """One more right answer of the challenger, or one more mistake of the champion, never worsens the verdict."""
    gate = Gate.model_validate({"threshold": 0.6, "policy": policy, "min_improvement": 0.02, "alpha": 0.05})
    for won, lost, both in TABLES:
        rank = RANK[decide(*pair(won, lost, both, neither=20), gate).outcome]
        assert RANK[decide(*pair(won + 1, lost, both, neither=19), gate).outcome] >= rank
        assert RANK[decide(*pair(won, max(lost - 1, 0), both + min(lost, 1), neither=20), gate).outcome] >= rank


def test_a_verdict_travels_as_json_with_its_digest(pair: MakePair) -> None:
    """Reading back gives the same verdict and digest; another decision has another digest."""
    verdict = decide(*pair(30, 5, 65), PAIRED)
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict
    assert Verdict.model_validate_json(verdict.model_dump_json()).digest() == verdict.digest()
    assert decide(*pair(30, 6, 64), PAIRED).digest() != verdict.digest()


def test_the_gate_is_imported_without_heavy_libraries() -> None:
    """Neither TensorFlow nor MLflow nor SciPy is loaded by importing the gate."""
    code = (
        "import sys, trainer.gate; print([m for m in ('tensorflow', 'keras', 'mlflow', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
