"""What the gate says: a ruling per rule, and the verdict that follows from them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from trainer import config

Ruling = Literal["pass", "fail", "undecided", "not applicable"]

DECISIVE = ("significance", "improvement", "threshold")
"""Which rule's explanation stands for a promotion: the first of these that applies."""
QUALIFYING = ("comparable", "effect")
"""Rules that say more of a promotion than that there was nothing against it."""


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

    def rule(self, name: str) -> Rule | None:
        return next((rule for rule in self.rules if rule.name == name), None)


def conclude(rules: list[Rule]) -> Verdict:
    """One rule that fails keeps the champion, one that is undecided leaves the verdict open, else: promote."""
    failed = [rule.explanation for rule in rules if rule.outcome == "fail"]
    open_ = [rule.explanation for rule in rules if rule.outcome == "undecided"]
    if failed:
        return Verdict(outcome="keep", reason=" ".join(failed), rules=rules)
    if open_:
        return Verdict(outcome="undecided", reason=" ".join(open_), rules=rules)
    return Verdict(outcome="promote", reason=_why_promoted(rules), rules=rules)


def _why_promoted(rules: list[Rule]) -> str:
    passed = {rule.name: rule for rule in rules if rule.outcome == "pass"}
    reasons = [next(passed[name].explanation for name in DECISIVE if name in passed)]
    # A comparison on all test examples goes without saying, and has no figure.
    reasons += [
        rule.explanation for name in QUALIFYING if (rule := passed.get(name)) is not None and rule.figure is not None
    ]
    return " ".join(reasons)


def not_comparable(explanation: str) -> Verdict:
    """The verdict where there is no saying which champion a challenger would have to beat."""
    return conclude([Rule(name="comparable", figure=None, limit=None, outcome="undecided", explanation=explanation)])


def ineligible(explanation: str) -> Verdict:
    """The verdict on a challenger that may not become champion whatever it scores."""
    return conclude([Rule(name="eligible", figure=None, limit=None, outcome="fail", explanation=explanation)])
