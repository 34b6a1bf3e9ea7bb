"""The decision, pure: does the challenger deserve to be champion?

Each rule looks at the two candidates under the recipe's policy and says pass, fail, undecided or not applicable, with
its figure and its limit. The verdict follows from the rules: one that fails keeps the champion, one that is undecided
leaves the verdict undecided, and only a challenger that meets them all is promoted. A new rule is a function and a row
in `RULES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from trainer import config
from trainer.errors import EvaluationError
from trainer.scorecard import Predictions, Scorecard, identity_digest

Ruling = Literal["pass", "fail", "undecided", "not applicable"]

POWER = 0.8
"""Chance of a significant result that the hint of an undecided verdict plans for."""


class Rule(BaseModel):
    """One rule of the policy as it was applied."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    figure: float | None
    """What was found; None where there was nothing to find."""
    limit: float | None
    """What the policy asks for."""
    outcome: Ruling
    explanation: str


class Verdict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    outcome: Literal["promote", "keep", "undecided"]
    reason: str
    """In words: what decided it, every failed rule included."""
    rules: list[Rule]

    def digest(self) -> str:
        """SHA-256 of the verdict's canonical JSON: what ledger and registry remember of it."""
        return config.sha256_text(config.canonical_json(self.model_dump(mode="json")))


@dataclass(frozen=True, eq=False)
class Candidate:
    """A model as the gate sees it: its scorecard, and on which test examples it was right.

    Attributes:
        scorecard: the figures.
        correct: bool (N,), in the order of the identities that `scorecard.test_digest` digests.
    """

    scorecard: Scorecard
    correct: NDArray[np.bool_]

    @classmethod
    def of(cls, scorecard: Scorecard, predictions: Predictions) -> Candidate:
        """Errors: EvaluationError where the predictions are not those that the scorecard was made from."""
        if identity_digest(predictions.identities) != scorecard.test_digest:
            raise EvaluationError(
                f"The predictions of {scorecard.predictions!r} are on other test examples than its scorecard.",
                "Delete both and evaluate again.",
            )
        return cls(scorecard, predictions.correct)

    @classmethod
    def load(cls, scorecard: Scorecard, folder: Path) -> Candidate:
        """With the predictions that lie beside the scorecard's document. Errors: StateError, EvaluationError."""
        return cls.of(scorecard, Predictions.load(folder / scorecard.predictions))

    @property
    def flaw(self) -> str | None:
        """Why these figures can carry no decision; None where they can."""
        card = self.scorecard
        if card.examples == 0 or len(self.correct) == 0:
            return "it was scored on no examples"
        if not math.isfinite(card.accuracy):
            return f"its accuracy is {card.accuracy}"
        if card.examples != len(self.correct) or abs(card.accuracy - float(self.correct.mean())) > 1e-9:
            return "its accuracy is not the one its predictions give"
        return None


def decide(challenger: Candidate, champion: Candidate | None, policy: config.Gate) -> Verdict:
    """Judge a challenger against the champion, or alone where there is none yet.

    Errors: EvaluationError where the two were not scored on the same test examples in the same order.
    """
    usable = _scored(challenger, champion)
    if usable.outcome != "pass":
        return _verdict([usable])
    if champion is not None and challenger.scorecard.test_digest != champion.scorecard.test_digest:
        raise EvaluationError(
            f"Challenger and champion were scored on different test examples ({challenger.scorecard.examples} with "
            f"digest {challenger.scorecard.test_digest[:12]}, {champion.scorecard.examples} with digest "
            f"{champion.scorecard.test_digest[:12]}).",
            "Evaluate both on the same frozen test split.",
        )
    return _verdict([usable, *(rule(challenger, champion, policy) for rule in RULES)])


def not_comparable(outcome: Literal["fail", "undecided"], explanation: str) -> Verdict:
    """The verdict on a challenger that could not be held against the present champion."""
    return _verdict([Rule(name="comparable", figure=None, limit=None, outcome=outcome, explanation=explanation)])


def _verdict(rules: list[Rule]) -> Verdict:
    failed = [rule for rule in rules if rule.outcome == "fail"]
    open_ = [rule for rule in rules if rule.outcome == "undecided"]
    if failed:
        return Verdict(outcome="keep", reason=" ".join(rule.explanation for rule in failed), rules=rules)
    if open_:
        return Verdict(outcome="undecided", reason=open_[0].explanation, rules=rules)
    decisive = [rule for rule in rules if rule.outcome == "pass"][-1]
    return Verdict(outcome="promote", reason=decisive.explanation, rules=rules)


def _scored(challenger: Candidate, champion: Candidate | None) -> Rule:
    """Both candidates have figures that can be trusted. A flawed champion is for people to judge, not for the gate."""
    outcome: Ruling = "pass"
    text = f"Scored on {challenger.scorecard.examples:,} test examples."
    if challenger.flaw:
        outcome, text = "fail", f"The challenger cannot be judged: {challenger.flaw}."
    elif champion is not None and champion.flaw:
        outcome, text = "undecided", f"The champion cannot be compared with: {champion.flaw}."
    examples = float(challenger.scorecard.examples)
    return Rule(name="scored", figure=examples, limit=1.0, outcome=outcome, explanation=text)


def _threshold(challenger: Candidate, champion: Candidate | None, policy: config.Gate) -> Rule:
    accuracy = challenger.scorecard.accuracy
    met = accuracy >= policy.threshold
    text = f"Accuracy {accuracy:.4f} {'meets' if met else 'is below'} the threshold {policy.threshold:.4f}."
    return Rule(
        name="threshold",
        figure=accuracy,
        limit=policy.threshold,
        outcome="pass" if met else "fail",
        explanation=text if champion is not None or not met else f"{text[:-1]}, and there is no champion yet.",
    )


def _improvement(challenger: Candidate, champion: Candidate | None, policy: config.Gate) -> Rule:
    """At least `min_improvement` more accurate, and in any case more accurate: ties keep."""
    limit = policy.min_improvement
    if champion is None:
        return _not_applicable("improvement", limit, "There is no champion to improve on.")
    examples = len(challenger.correct)
    gained = int(challenger.correct.sum()) - int(champion.correct.sum())
    # Counted in whole examples; the small allowance keeps 0.07 × 100 = 7.000…1 from asking for an eighth.
    met = gained > 0 and gained >= limit * examples - 1e-6
    ours, theirs = challenger.scorecard.accuracy, champion.scorecard.accuracy
    if met:
        text = f"Accuracy {ours:.4f} beats the champion's {theirs:.4f} by {gained / examples:.4f}."
    elif gained == 0:
        text = f"Accuracy {ours:.4f} equals the champion's, and a tie keeps the champion."
    elif gained < 0:
        text = f"Accuracy {ours:.4f} is below the champion's {theirs:.4f}."
    else:
        text = (
            f"Accuracy {ours:.4f} beats the champion's {theirs:.4f} by {gained / examples:.4f}, "
            f"less than the {limit:.4f} asked for."
        )
    return Rule(
        name="improvement",
        figure=gained / examples,
        limit=limit,
        outcome="pass" if met else "fail",
        explanation=text,
    )


def _significance(challenger: Candidate, champion: Candidate | None, policy: config.Gate) -> Rule:
    """The exact McNemar test (McNemar 1947, Psychometrika 12) on the examples where exactly one of the two is right.

    One-sided, because the question is: the hypothesis to reject is "the challenger is no better". `alpha` is then the
    chance that a challenger that is no better gets past this rule.
    """
    if policy.policy == "threshold":
        return _not_applicable("significance", policy.alpha, "The policy 'threshold' asks for no significance.")
    if champion is None:
        return _not_applicable("significance", policy.alpha, "There is no champion to compare with.")
    won = int((challenger.correct & ~champion.correct).sum())
    lost = int((champion.correct & ~challenger.correct).sum())
    count = f"right where the champion is wrong on {won} test examples, the reverse on {lost}"
    if won <= lost:
        return _not_applicable("significance", policy.alpha, f"No gain to test: {count}.")
    p = mcnemar(won, lost)
    beats = f"Accuracy {challenger.scorecard.accuracy:.4f} is above the champion's {champion.scorecard.accuracy:.4f}"
    if p <= policy.alpha:
        text = f"{beats}, and the gain is significant: {count} (p = {p:.2g}, level {policy.alpha:g})."
    else:
        needed = examples_needed(won, lost, len(challenger.correct), policy.alpha)
        text = (
            f"{beats}, but that may be chance: {count} (p = {p:.2g}, level {policy.alpha:g}); "
            f"about {needed:,} test examples would tell."
        )
    outcome: Ruling = "pass" if p <= policy.alpha else "undecided"
    return Rule(name="significance", figure=p, limit=policy.alpha, outcome=outcome, explanation=text)


RULES: tuple[Callable[[Candidate, Candidate | None, config.Gate], Rule], ...] = (
    _threshold,
    _improvement,
    _significance,
)


def mcnemar(won: int, lost: int) -> float:
    """One-sided exact p-value: the chance of at least `won` of `won + lost` tosses of a fair coin."""
    if won + lost == 0:
        return 1.0
    from scipy.stats import binomtest  # half a second to import, and the command line's help needs none of it

    return float(binomtest(won, won + lost, 0.5, alternative="greater").pvalue)


def examples_needed(won: int, lost: int, examples: int, alpha: float) -> int:
    """About how many test examples would make the observed gain significant, with a chance of `POWER`.

    Connor 1987 (Biometrics 43, 207-211), sample size for the paired design; one-sided. `won` must exceed `lost`.
    """
    discordant, gain = (won + lost) / examples, (won - lost) / examples
    z_alpha, z_power = NormalDist().inv_cdf(1 - alpha), NormalDist().inv_cdf(POWER)
    root = z_alpha * math.sqrt(discordant) + z_power * math.sqrt(discordant - gain**2)
    return max(examples + 1, math.ceil((root / gain) ** 2))


def _not_applicable(name: str, limit: float, explanation: str) -> Rule:
    return Rule(name=name, figure=None, limit=limit, outcome="not applicable", explanation=explanation)
