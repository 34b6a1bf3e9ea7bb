"""The rules that look at the challenger alone, and whether it can be compared at all."""

from __future__ import annotations

from trainer.gate.case import Case
from trainer.gate.verdict import Rule, Ruling


def scored(case: Case) -> Rule:
    """All candidates have figures that can be trusted. A flawed champion is for people to judge, not for the gate."""
    outcome: Ruling = "pass"
    examples = case.challenger.scorecard.examples
    text = f"Scored on {examples:,} test examples."
    if flaw := case.challenger.flaw or case.compared.flaw:
        outcome, text = "fail", f"The challenger cannot be judged: {flaw}."
    elif case.champion is not None and case.champion.flaw:
        outcome, text = "undecided", f"The champion cannot be compared with: {case.champion.flaw}."
    return Rule(name="scored", figure=float(examples), limit=1.0, outcome=outcome, explanation=text)


def golden(case: Case) -> Rule | None:
    """The registered challenger answers as the trained one did, where that was seen to."""
    seen = case.circumstances.golden
    if seen is None:
        return None
    same = seen.difference <= seen.tolerance
    return Rule(
        name="golden",
        figure=seen.difference,
        limit=seen.tolerance,
        outcome="pass" if same else "fail",
        explanation=f"On its {seen.images} golden images the registered model answers "
        f"{'as' if same else 'otherwise than'} the trained one did (largest difference {seen.difference:.1g}).",
    )


def comparable(case: Case) -> Rule | None:
    """There is a champion, and both were scored on what both know."""
    if case.first:
        return None
    change, ours = case.circumstances.class_change, case.compared.scorecard
    figure: float | None = None
    outcome: Ruling = "pass"
    if case.circumstances.incomparable is not None:
        outcome, text = "undecided", case.circumstances.incomparable
    elif change is None:
        text = f"Compared with the champion on the same {ours.examples:,} test examples."
    else:
        parts = [
            ("added", ", ".join(map(repr, change.added))),
            ("removed", ", ".join(map(repr, change.removed))),
            ("renamed", ", ".join(f"{old!r} to {new!r}" for old, new in change.renamed.items())),
        ]
        words = "; ".join(f"{verb} {names}" for verb, names in parts if names)
        text = f"The classes have changed since the champion ({words})."
        if not case.policy.allow_class_changes:
            outcome = "undecided"
            text += (
                " gate.allow_class_changes = true would have the two compared on the "
                f"{len(change.common):,} classes that both know."
            )
        else:
            figure = float(ours.examples)
            text += (
                f" Compared on the {len(change.common):,} classes that both know: {ours.examples:,} of "
                f"{case.challenger.scorecard.examples:,} test examples."
            )
    return Rule(name="comparable", figure=figure, limit=None, outcome=outcome, explanation=text)


def threshold(case: Case) -> Rule:
    accuracy, limit = case.challenger.scorecard.accuracy, case.policy.threshold
    met = accuracy >= limit
    text = f"Accuracy {accuracy:.4f} {'meets' if met else 'is below'} the threshold {limit:.4f}"
    return Rule(
        name="threshold",
        figure=accuracy,
        limit=limit,
        outcome="pass" if met else "fail",
        explanation=f"{text}, and there is no champion yet." if case.first and met else f"{text}.",
    )


def calibration(case: Case) -> Rule | None:
    """Expected calibration error (Guo et al. 2017, arXiv:1706.04599): probabilities that mean what they say."""
    limit, error = case.policy.max_calibration_error, case.challenger.scorecard.calibration_error
    if limit is None:
        return None
    met = error <= limit  # NaN is not
    return Rule(
        name="calibration",
        figure=error,
        limit=limit,
        outcome="pass" if met else "fail",
        explanation=f"The calibration error {error:.4f} is {'within' if met else 'above'} the {limit:.4f} allowed.",
    )
