"""The rules that ask for a gain: is the challenger more accurate, by how much, and could that be chance?"""

from __future__ import annotations

from trainer.gate.candidate import Candidate
from trainer.gate.case import Case
from trainer.gate.paired import examples_for_interval, examples_needed, gain_interval, mcnemar
from trainer.gate.verdict import Rule, Ruling

LOST = "The per-example predictions are not there, so that {} cannot be told."


def improvement(case: Case, champion: Candidate, limit: float) -> Rule:
    """At least `min_improvement` more accurate, and in any case more accurate: ties keep."""
    examples = case.compared.scorecard.examples
    gained = case.compared.right - champion.right
    # Counted in whole examples; the small allowance keeps 0.07 × 100 = 7.000…1 from asking for an eighth.
    met = gained > 0 and gained >= limit * examples - 1e-6
    ours, theirs = case.compared.scorecard.accuracy, champion.scorecard.accuracy
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
    outcome: Ruling = "pass" if met else "fail"
    return Rule(name="improvement", figure=gained / examples, limit=limit, outcome=outcome, explanation=text)


def effect(case: Case, champion: Candidate, limit: float) -> Rule:
    """The paired bootstrap interval of the gain lies above `min_effect`: the true gain is that large."""
    if case.policy.policy == "threshold":
        return _not_asked("effect", limit)
    counts = discordant(case.compared, champion)
    if counts is None:
        return _lost("effect", limit, "how large the true gain is")
    won, lost = counts
    examples = case.compared.scorecard.examples
    low, high = gain_interval(won, lost, examples, case.policy.confidence, case.policy.resamples)
    gain = (won - lost) / examples
    text = (
        f"The gain of {gain:.4f} lies between {low:.4f} and {high:.4f} "
        f"({100 * case.policy.confidence:g} % paired bootstrap interval)"
    )
    outcome: Ruling
    if low > limit:
        outcome, text = "pass", f"{text}, above the {limit:.4f} asked for."
    elif high < limit:
        outcome, text = "fail", f"{text}, below the {limit:.4f} asked for."
    else:
        needed = examples_for_interval(won, lost, examples, limit, case.policy.confidence)
        hint = f"about {needed:,} test examples would tell" if needed else "only another gain would tell"
        outcome, text = "undecided", f"{text}, on both sides of the {limit:.4f} asked for; {hint}."
    return Rule(name="effect", figure=gain, limit=limit, outcome=outcome, explanation=text)


def significance(case: Case, champion: Candidate, level: float) -> Rule:
    """The exact McNemar test on the examples where exactly one of the two is right.

    One-sided, because the question is: the hypothesis to reject is "the challenger is no better". The level is then
    the chance that a challenger that is no better gets past this rule.
    """
    if case.policy.policy == "threshold":
        return _not_asked("significance", level)
    counts = discordant(case.compared, champion)
    if counts is None:
        return _lost("significance", level, "whether a gain may be chance")
    won, lost = counts
    count = f"right where the champion is wrong on {won:,} test examples, the reverse on {lost:,}"
    if won <= lost:
        text = f"No gain to test: {count}."
        return Rule(name="significance", figure=None, limit=level, outcome="not applicable", explanation=text)
    p = mcnemar(won, lost)
    ours, theirs = case.compared.scorecard, champion.scorecard
    beats = f"Accuracy {ours.accuracy:.4f} is above the champion's {theirs.accuracy:.4f}"
    whose = "" if level == case.policy.alpha else ", the error budget's share"
    found = f"{count} (p = {p:.2g}, level {level:.3g}{whose})"
    if p <= level:
        text = f"{beats}, and the gain is significant: {found}."
    elif level > 0:
        needed = examples_needed(won, lost, ours.examples, level)
        text = f"{beats}, but that may be chance: {found}; about {needed:,} test examples would tell."
    else:
        text = (
            f"{beats}, but the error budget of these test examples is spent: {found}. New test examples, or a larger "
            "gate.budget, would tell."
        )
    outcome: Ruling = "pass" if p <= level else "undecided"
    return Rule(name="significance", figure=p, limit=level, outcome=outcome, explanation=text)


def discordant(challenger: Candidate, champion: Candidate) -> tuple[int, int] | None:
    """Examples won and lost; None where either model's per-example predictions are not there."""
    ours, theirs = challenger.correct, champion.correct
    if ours is None or theirs is None:
        return None
    return int((ours & ~theirs).sum()), int((theirs & ~ours).sum())


def _not_asked(name: str, limit: float) -> Rule:
    text = f"The policy 'threshold' asks for no {name}."
    return Rule(name=name, figure=None, limit=limit, outcome="not applicable", explanation=text)


def _lost(name: str, limit: float, what: str) -> Rule:
    return Rule(name=name, figure=None, limit=limit, outcome="undecided", explanation=LOST.format(what))
