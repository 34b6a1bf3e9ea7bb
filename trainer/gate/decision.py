"""The decision: all rules on one challenger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from trainer import config
from trainer.errors import EvaluationError
from trainer.gate import gain, guards, standing
from trainer.gate.candidate import Candidate
from trainer.gate.case import Case, Circumstances
from trainer.gate.verdict import Rule, Verdict, conclude

NOTHING_ELSE = Circumstances()


@dataclass(frozen=True)
class Comparison:
    """A rule that holds the challenger against the champion.

    Attributes:
        name: of the rule.
        limit: what is asked for; None: nothing, and the rule is not in the verdict.
        judge: the rule itself, given the champion and the limit.
    """

    name: str
    limit: Callable[[Case], float | None]
    judge: Callable[[Case, Candidate, float], Rule]


COMPARISONS = (
    Comparison("improvement", lambda case: case.policy.min_improvement, gain.improvement),
    Comparison("effect", lambda case: case.policy.min_effect, gain.effect),
    Comparison("significance", lambda case: case.level, gain.significance),
    Comparison("class drop", lambda case: case.policy.max_class_drop, guards.class_drop),
    Comparison("latency", lambda case: case.policy.max_latency_ratio, guards.latency),
    Comparison("size", lambda case: case.policy.max_size_ratio, guards.size),
)


def decide(
    challenger: Candidate,
    champion: Candidate | None,
    policy: config.Gate,
    circumstances: Circumstances = NOTHING_ELSE,
) -> Verdict:
    """Judge a challenger against the champion, or alone where there is none yet.

    Args:
        challenger: on all test examples.
        champion: on the same; where classes have changed, on those of the classes that both know; None where there is
            none, or none to compare with.
        policy: what the challenger must show.
        circumstances: what counts beside the two.

    Errors: EvaluationError where the two were not scored on the same test examples in the same order, or where those
    had other labels.
    """
    case = Case(challenger, champion, policy, circumstances)
    usable = standing.scored(case)
    if usable.outcome != "pass":
        return conclude([usable])
    if champion is not None:
        _expect_the_same_examples(case.compared, champion)
    comparable = standing.comparable(case)
    alone = (usable, standing.golden(case), comparable, standing.threshold(case), standing.calibration(case))
    rules = [rule for rule in alone if rule is not None]
    if case.first or (comparable is not None and comparable.outcome == "pass"):
        rules += _comparisons(case)
    return conclude(rules)


def _comparisons(case: Case) -> list[Rule]:
    found = []
    for one in COMPARISONS:
        limit = one.limit(case)
        if limit is None:
            continue
        if case.champion is None:
            text = "There is no champion to compare with."
            found.append(
                Rule(name=one.name, figure=None, limit=limit, outcome="not applicable", explanation=text),
            )
        else:
            found.append(one.judge(case, case.champion, limit))
    return found


def _expect_the_same_examples(challenger: Candidate, champion: Candidate) -> None:
    ours, theirs = challenger.scorecard, champion.scorecard
    if ours.test_digest != theirs.test_digest:
        raise EvaluationError(
            f"Challenger and champion were scored on different test examples ({ours.examples} with digest "
            f"{ours.test_digest[:12]}, {theirs.examples} with digest {theirs.test_digest[:12]}).",
            "Evaluate both on the same frozen test split.",
        )
    our_truth, their_truth = challenger.truth, champion.truth
    if our_truth is None or their_truth is None:
        return
    # The digest is of what the examples are, not of what they are called.
    if relabelled := int((our_truth != their_truth).sum()):
        raise EvaluationError(
            f"{relabelled:,} of the {ours.examples:,} test examples had another label when the champion was scored.",
            "Evaluate both on the same labels.",
        )
