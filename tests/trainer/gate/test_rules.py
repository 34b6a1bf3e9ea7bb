"""The rules that a policy may add, each by itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from trainer.config import Gate
from trainer.gate import Candidate, Circumstances, Verdict, decide
from trainer.record import ClassChange, Golden, Latency

Make = Callable[..., Candidate]
MakePair = Callable[..., tuple[Candidate, Candidate]]
LEVEL = Circumstances(level=0.01)


def policy(**asked: Any) -> Gate:
    return Gate.model_validate({"threshold": 0.5, **asked})


def ruling(verdict: Verdict, name: str) -> tuple[str, float | None, float | None]:
    rule = verdict.rule(name)
    assert rule is not None
    return rule.outcome, rule.figure, rule.limit


def with_card(candidate: Candidate, **figures: Any) -> Candidate:
    return replace(candidate, scorecard=candidate.scorecard.model_copy(update=figures))


EVERYTHING: dict[str, Any] = {
    "min_effect": 0.0,
    "max_class_drop": 0.1,
    "max_calibration_error": 1.0,
    "max_latency_ratio": 2.0,
    "max_size_ratio": 2.0,
}


def test_a_rule_that_is_not_asked_for_is_not_in_the_verdict(pair: MakePair) -> None:
    """Limits that are left out leave their rules out; a policy that names all has them all, in this order."""
    plain = [rule.name for rule in decide(*pair(30, 5, 65), policy()).rules]
    assert plain == ["scored", "comparable", "threshold", "improvement", "significance"]
    every = [rule.name for rule in decide(*pair(30, 5, 65), policy(**EVERYTHING)).rules]
    assert every == [
        *plain[:3],
        "calibration",
        "improvement",
        "effect",
        "significance",
        "class drop",
        "latency",
        "size",
    ]


def test_a_first_model_meets_threshold_and_calibration_alone(pair: MakePair) -> None:
    """What compares with a champion does not apply to it."""
    first, _ = pair(90, 0, 0, 10)
    verdict = decide(first, None, policy(**EVERYTHING))
    assert verdict.outcome == "promote"
    assert {rule.name for rule in verdict.rules if rule.outcome == "pass"} == {"scored", "threshold", "calibration"}
    assert {rule.outcome for rule in verdict.rules} == {"pass", "not applicable"}
    kept = decide(first, None, policy(**{**EVERYTHING, "max_calibration_error": 0.0}))
    assert kept.outcome == "keep"


@pytest.mark.parametrize(
    ("won", "lost", "min_effect", "outcome", "words"),
    [
        (60, 20, 0.01, "pass", "above the 0.0100 asked for"),
        (60, 20, 0.06, "fail", "below the 0.0600 asked for"),
        (60, 20, 0.03, "undecided", "on both sides of the 0.0300 asked for; about"),
        (60, 20, 0.04, "undecided", "only another gain would tell"),
        (60, 20, 0.0, "pass", "95 % paired bootstrap interval"),
        (0, 0, 0.0, "undecided", "lies between 0.0000 and 0.0000"),
    ],
)
def test_the_whole_interval_of_the_gain_must_lie_above_the_effect(
    pair: MakePair, won: int, lost: int, min_effect: float, outcome: str, words: str
) -> None:
    """Its lower end above passes, its upper end below fails, anything else is undecided."""
    verdict = decide(*pair(won, lost, 1000 - won - lost), policy(min_effect=min_effect))
    rule = verdict.rule("effect")
    assert rule is not None
    assert (rule.outcome, rule.figure, rule.limit) == (outcome, (won - lost) / 1000, min_effect)
    assert words in rule.explanation


def test_a_promotion_with_an_effect_says_how_large_it_is(pair: MakePair) -> None:
    """The reason has the interval beside the significance."""
    verdict = decide(*pair(60, 20, 920), policy(min_effect=0.01), LEVEL)
    assert verdict.outcome == "promote"
    assert "is significant" in verdict.reason
    assert "lies between" in verdict.reason


@pytest.mark.parametrize("rule", ["effect", "significance"])
def test_the_threshold_policy_tests_no_gain(pair: MakePair, rule: str) -> None:
    """Both tests are left out, and any gain promotes."""
    verdict = decide(*pair(1, 0, 99), policy(policy="threshold", min_effect=0.5), Circumstances(level=0.0))
    assert verdict.outcome == "promote"
    assert ruling(verdict, rule)[0] == "not applicable"


@pytest.mark.parametrize(
    ("won", "lost", "level", "outcome", "words"),
    [
        (30, 5, 0.01, "pass", "level 0.01, the error budget's share"),
        (30, 5, 0.05, "pass", "level 0.05)"),
        (8, 0, 0.004, "pass", "p = 0.0039"),
        (8, 0, 0.0038, "undecided", "may be chance"),
        (30, 5, 0.0, "undecided", "error budget of these test examples is spent"),
    ],
)
def test_significance_is_asked_at_the_level_that_the_budget_leaves(
    pair: MakePair, won: int, lost: int, level: float, outcome: str, words: str
) -> None:
    """The circumstances' level takes the place of alpha."""
    verdict = decide(*pair(won, lost, 100), policy(), Circumstances(level=level))
    found, p, limit = ruling(verdict, "significance")
    assert (found, limit) == (outcome, level)
    assert p is not None
    assert words in verdict.reason


def two_classes(candidate: Make, ours: list[int], theirs: list[int], few: int, many: int) -> tuple[Candidate, ...]:
    """Two models on `few` examples of class a and `many` of class b, so many wrong from the front of each."""
    labels = [0] * few + [1] * many
    right = [
        [index >= wrong[0] for index in range(few)] + [index >= wrong[1] for index in range(many)]
        for wrong in (ours, theirs)
    ]
    return candidate(right[0], labels=labels), candidate(right[1], labels=labels)


@pytest.mark.parametrize(
    ("ours", "theirs", "few", "limit", "outcome", "figure", "words"),
    [
        ([20, 0], [0, 100], 100, 0.1, "fail", 0.2, "'a' by 0.2000 (20 of its 100 test examples lost, 0 won"),
        ([10, 0], [0, 100], 100, 0.1, "pass", 0.1, "the largest fall is 'a' by 0.1000"),
        ([0, 0], [0, 100], 100, 0.1, "pass", 0.0, "none falls"),
        ([1, 0], [0, 100], 5, 0.1, "pass", 0.2, "but that may be chance: 'a' by 0.2000"),
        ([5, 0], [0, 100], 5, 0.1, "pass", 1.0, "but that may be chance"),
        ([6, 0], [0, 100], 6, 0.1, "fail", 1.0, "p = 0.016"),
        ([20, 0], [0, 100], 100, 0.2, "pass", 0.2, "the largest fall"),
    ],
)
def test_a_class_that_falls_blocks_only_where_its_examples_back_it(
    candidate: Make,
    ours: list[int],
    theirs: list[int],
    few: int,
    limit: float,
    outcome: str,
    figure: float,
    words: str,
) -> None:
    """A fall beyond the limit fails if McNemar's test on the class rejects "no worse", and is named if it does not."""
    challenger, champion = two_classes(candidate, ours, theirs, few, 200)
    verdict = decide(challenger, champion, policy(max_class_drop=limit, threshold=0.0))
    assert ruling(verdict, "class drop") == (outcome, pytest.approx(figure), limit)
    rule = verdict.rule("class drop")
    assert rule is not None
    assert words in rule.explanation
    assert verdict.outcome == ("keep" if outcome == "fail" else "promote")


def test_many_small_classes_do_not_block_by_noise(candidate: Make) -> None:
    """Of 100 classes of 20 examples, all equally well known, some fall by a fifth; hardly a challenger is blocked."""
    rng = np.random.default_rng(11)
    labels, classes = np.repeat(np.arange(100), 20), [str(number) for number in range(100)]
    blocked = 0
    for _ in range(60):
        ours, theirs = rng.random((2, 2000)) < 0.8
        challenger, champion = (candidate(right, labels=labels, classes=classes) for right in (ours, theirs))
        verdict = decide(challenger, champion, policy(max_class_drop=0.1))
        outcome, figure, _ = ruling(verdict, "class drop")
        assert figure is not None
        assert figure > 0.15
        blocked += outcome == "fail"
    # Binomial(60, 0.05) exceeds 9 once in a thousand times.
    assert blocked <= 9


def test_the_worst_classes_are_named_and_the_rest_counted(candidate: Make) -> None:
    """An explanation stays readable with a thousand classes."""
    classes, labels = [f"c{number}" for number in range(12)], np.repeat(np.arange(12), 50)
    challenger = candidate((labels > 8) | (np.tile(np.arange(50), 12) > 25 + labels), labels=labels, classes=classes)
    champion = candidate(labels <= 8, labels=labels, classes=classes)
    rule = decide(challenger, champion, policy(max_class_drop=0.1, threshold=0.0)).rule("class drop")
    assert rule is not None
    assert "'c8' by 0.6800" in rule.explanation
    assert "'c6'" in rule.explanation
    assert "'c5'" not in rule.explanation
    assert "and 6 more classes" in rule.explanation


@pytest.mark.parametrize(
    ("error", "outcome"), [(0.04, "pass"), (0.05, "pass"), (0.0501, "fail"), (math.nan, "fail"), (math.inf, "fail")]
)
def test_calibration_has_a_limit(pair: MakePair, error: float, outcome: str) -> None:
    """A calibration error above it keeps the champion; one that is no number too."""
    challenger, champion = pair(30, 0, 70)
    verdict = decide(with_card(challenger, calibration_error=error), champion, policy(max_calibration_error=0.05))
    assert ruling(verdict, "calibration")[0] == outcome
    assert verdict.outcome == ("promote" if outcome == "pass" else "keep")


def measured(*ratios: float | None) -> list[Latency]:
    return [
        Latency(batch=batch, rounds=20, challenger_ms=2.0, champion_ms=1.0, ratio=ratio, ratio_low=0.9, ratio_high=1.3)
        for batch, ratio in zip((1, 32), ratios, strict=False)
    ]


@pytest.mark.parametrize(
    ("ratios", "outcome", "figure"),
    [((1.0, 1.1), "pass", 1.1), ((1.3, 0.5), "fail", 1.3), ((1.2,), "pass", 1.2), ((), "undecided", None),
     ((None, None), "undecided", None)],
)  # fmt: skip
def test_the_slowest_batch_counts(
    pair: MakePair, ratios: tuple[float | None, ...], outcome: str, figure: float | None
) -> None:
    """Times above the limit keep the champion; times that were not measured leave the verdict open, and say so."""
    verdict = decide(*pair(30, 0, 70), policy(max_latency_ratio=1.2), Circumstances(latency=measured(*ratios)))
    assert ruling(verdict, "latency") == (outcome, figure, 1.2)
    assert verdict.outcome == {"pass": "promote", "fail": "keep", "undecided": "undecided"}[outcome]
    if figure is None:
        assert "not measured side by side" in verdict.reason


@pytest.mark.parametrize(
    ("ours", "theirs", "outcome", "figure"),
    [(150, 100, "pass", 1.5), (151, 100, "fail", 1.51), (None, 100, "undecided", None), (1, 0, "undecided", None)],
)
def test_size_is_relative_to_the_champion(
    pair: MakePair, ours: int | None, theirs: int | None, outcome: str, figure: float | None
) -> None:
    """Files that are too large keep the champion; sizes nobody knows leave the verdict open."""
    challenger, champion = pair(30, 0, 70)
    challenger, champion = with_card(challenger, size_bytes=ours), with_card(champion, size_bytes=theirs)
    verdict = decide(challenger, champion, policy(max_size_ratio=1.5))
    assert ruling(verdict, "size") == (outcome, figure, 1.5)


@pytest.mark.parametrize(("difference", "outcome"), [(1e-7, "promote"), (0.2, "keep")])
@pytest.mark.parametrize("first", [True, False])
def test_golden_images_count_where_they_were_shown(
    pair: MakePair, difference: float, outcome: str, first: bool
) -> None:
    """A registered model that answers otherwise than the trained one is never promoted."""
    seen = Circumstances(golden=Golden(images=8, difference=difference, tolerance=1e-5))
    challenger, champion = pair(30, 0, 70)
    verdict = decide(challenger, None if first else champion, policy(), seen)
    assert verdict.outcome == outcome
    assert ruling(verdict, "golden")[1:] == (difference, 1e-5)


def changed(pair: MakePair) -> tuple[Candidate, Circumstances]:
    """The champion and the challenger on 80 examples of the classes that both know: 30 won, none lost."""
    compared, champion = pair(30, 0, 50)
    change = ClassChange(
        added=["fox"],
        removed=["cow"],
        renamed={"kitty": "cat"},
        common=["cat", "dog"],
        challenger=compared.scorecard,
        champion=champion.scorecard,
    )
    return champion, Circumstances(class_change=change, compared=compared)


def test_changed_classes_need_consent(pair: MakePair) -> None:
    """Without it the verdict is undecided, names the classes and the key, and tests nothing."""
    challenger, _ = pair(95, 0, 0, 5)
    champion, circumstances = changed(pair)
    verdict = decide(challenger, champion, policy(), circumstances)
    assert verdict.outcome == "undecided"
    assert "(added 'fox'; removed 'cow'; renamed 'kitty' to 'cat')" in verdict.reason
    assert "gate.allow_class_changes = true" in verdict.reason
    assert [rule.name for rule in verdict.rules] == ["scored", "comparable", "threshold"]


def test_with_consent_both_are_compared_on_what_both_know(pair: MakePair) -> None:
    """The threshold sees all examples, the comparison the common ones, and the reason says so."""
    challenger, _ = pair(95, 0, 0, 5)
    champion, circumstances = changed(pair)
    verdict = decide(challenger, champion, policy(allow_class_changes=True), circumstances)
    assert verdict.outcome == "promote"
    assert ruling(verdict, "threshold")[1] == 0.95
    assert ruling(verdict, "improvement")[1] == 30 / 80
    assert "on the 2 classes that both know: 80 of 100 test examples" in verdict.reason
    assert "significant" in verdict.reason


@pytest.mark.parametrize(("accuracy", "outcome"), [(90, "undecided"), (40, "keep")])
def test_a_champion_that_cannot_be_compared_with_leaves_the_verdict_open(
    pair: MakePair, accuracy: int, outcome: str
) -> None:
    """It says why; only a challenger that fails by itself is kept."""
    challenger, _ = pair(accuracy, 0, 0, 100 - accuracy)
    verdict = decide(challenger, None, policy(**EVERYTHING), Circumstances(incomparable="It was trained on the test."))
    assert verdict.outcome == outcome
    assert ("It was trained on the test." in verdict.reason) == (outcome == "undecided")
    assert ruling(verdict, "comparable")[0] == "undecided"
    assert "no champion yet" not in str(verdict)


def test_without_predictions_what_needs_pairs_is_undecided(pair: MakePair) -> None:
    """Figures that scorecards hold are judged all the same."""
    challenger, champion = (Candidate(one.scorecard, None) for one in pair(30, 0, 70))
    verdict = decide(challenger, champion, policy(min_effect=0.0, max_class_drop=0.1))
    outcomes = {rule.name: rule.outcome for rule in verdict.rules}
    assert verdict.outcome == "undecided"
    assert outcomes["threshold"] == outcomes["improvement"] == outcomes["class drop"] == "pass"
    assert outcomes["effect"] == outcomes["significance"] == "undecided"
    assert decide(champion, challenger, policy()).outcome == "keep"
    assert ruling(decide(champion, challenger, policy(max_class_drop=0.1)), "class drop")[0] == "undecided"
