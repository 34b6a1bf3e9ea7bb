"""The rules that guard what accuracy does not show: single classes, time, size."""

from __future__ import annotations

import numpy as np

from trainer.gate.candidate import Candidate
from trainer.gate.case import Case
from trainer.gate.gain import LOST
from trainer.gate.paired import mcnemar
from trainer.gate.verdict import Rule, Ruling

NAMED = 3
"""How many classes an explanation names before it counts the rest."""
_MEGABYTE = 1e6


def class_drop(case: Case, champion: Candidate, limit: float) -> Rule:
    """No class's recall falls by more than `max_class_drop`, as far as its examples can tell.

    A class of five examples loses a fifth of its recall with one mistake, so a fall alone blocks nothing: the exact
    McNemar test on the class's own examples must also reject "no worse", at `alpha` shared among the classes
    (Bonferroni), so that a challenger which is worse nowhere is blocked with a chance of at most `alpha`, however many
    classes there are. A larger fall that may be chance passes, and is named.
    """
    ours, theirs, labels = case.compared.correct, champion.correct, case.compared.labels
    if ours is None or theirs is None or labels is None:
        return _class_drop_by_recall(case, champion, limit)
    names = case.compared.scorecard.classes
    counts = np.bincount(labels, minlength=len(names))
    lost = np.bincount(labels[theirs & ~ours], minlength=len(names))
    won = np.bincount(labels[ours & ~theirs], minlength=len(names))
    falls = (lost - won) / np.maximum(counts, 1)
    level = case.policy.alpha / max(1, int((counts > 0).sum()))
    # A fall of exactly the limit is allowed, whatever its last binary digit is.
    beyond = [int(one) for one in np.argsort(-falls, kind="stable") if falls[one] > limit + 1e-9]
    tested = {one: mcnemar(int(lost[one]), int(won[one])) for one in beyond}
    backed = [one for one in beyond if tested[one] <= level]
    worst = backed[0] if backed else int(np.argmax(falls))
    if not beyond:
        text = _nothing_falls(names[worst], float(falls[worst]), limit)
    else:
        shown = backed or beyond
        words = [
            f"{names[one]!r} by {falls[one]:.4f} ({lost[one]:,} of its {counts[one]:,} test examples lost, "
            f"{won[one]:,} won, p = {tested[one]:.2g})"
            for one in shown[:NAMED]
        ]
        more = f" and {len(shown) - NAMED:,} more classes" if len(shown) > NAMED else ""
        chance = "" if backed else ", but that may be chance"
        text = (
            f"Recall falls by more than the {limit:.4f} allowed{chance}: {', '.join(words)}{more}; "
            f"level {level:.2g} for each class."
        )
    outcome: Ruling = "fail" if backed else "pass"
    return Rule(name="class drop", figure=float(falls[worst]), limit=limit, outcome=outcome, explanation=text)


def _class_drop_by_recall(case: Case, champion: Candidate, limit: float) -> Rule:
    """From the scorecards alone: a fall within the limit is allowed, of a larger one nobody can tell."""
    before = {one.name: one.recall for one in champion.scorecard.per_class}
    falls = {one.name: before[one.name] - one.recall for one in case.compared.scorecard.per_class if one.name in before}
    name, fall = max(falls.items(), key=lambda one: one[1], default=("", 0.0))
    within = fall <= limit + 1e-9
    text = _nothing_falls(name, fall, limit)
    if not within:
        text = f"The recall of {name!r} falls by {fall:.4f}, more than the {limit:.4f} allowed. " + LOST.format(
            "whether that may be chance"
        )
    outcome: Ruling = "pass" if within else "undecided"
    return Rule(name="class drop", figure=fall, limit=limit, outcome=outcome, explanation=text)


def _nothing_falls(name: str, fall: float, limit: float) -> str:
    largest = f"the largest fall is {name!r} by {fall:.4f}" if fall > 0 else "none falls"
    return f"No class's recall falls by more than {limit:.4f}: {largest}."


def latency(case: Case, champion: Candidate, limit: float) -> Rule:
    """The slowest of the batches, by the median of its rounds."""
    measured = [(one, one.ratio) for one in case.circumstances.latency if one.ratio is not None]
    if not measured:
        text = "How long the two take was not measured side by side, so that max_latency_ratio cannot be told."
        return Rule(name="latency", figure=None, limit=limit, outcome="undecided", explanation=text)
    words = []
    for one, ratio in measured:
        spread = f" (quartiles {one.ratio_low:.2f} to {one.ratio_high:.2f})" if one.ratio_low and one.ratio_high else ""
        words.append(f"{ratio:.2f} times{spread} for a batch of {one.batch:,}")
    slowest = max(ratio for _, ratio in measured)
    met = slowest <= limit
    return Rule(
        name="latency",
        figure=slowest,
        limit=limit,
        outcome="pass" if met else "fail",
        explanation=f"Relative to the champion's time it takes {', '.join(words)}: "
        f"{'within' if met else 'more than'} the {limit:g} allowed.",
    )


def size(case: Case, champion: Candidate, limit: float) -> Rule:
    """Of the registered model's files."""
    ours, theirs = case.challenger.scorecard.size_bytes, champion.scorecard.size_bytes
    if not ours or not theirs:
        text = "The size of both models is not known, so that max_size_ratio cannot be told."
        return Rule(name="size", figure=None, limit=limit, outcome="undecided", explanation=text)
    ratio = ours / theirs
    met = ratio <= limit
    return Rule(
        name="size",
        figure=ratio,
        limit=limit,
        outcome="pass" if met else "fail",
        explanation=f"{ours / _MEGABYTE:.1f} MB is {ratio:.2f} times the champion's {theirs / _MEGABYTE:.1f} MB: "
        f"{'within' if met else 'more than'} the {limit:g} allowed.",
    )
