"""What the two models scored, as rows of finished text: overall, class by class, and what is taken for what."""

from __future__ import annotations

from dataclasses import dataclass, replace

from trainer.card.comparison import interval_text
from trainer.card.material import Material
from trainer.card.numbers import NO_CHANGE, NOTHING, Change, drop, number, percent, points, told_apart, wilson
from trainer.scorecard import ClassScore, Interval


@dataclass(frozen=True)
class FigureRow:
    name: str
    meaning: str
    challenger: str
    interval: str
    """Empty where the scorecard has none; as the next."""
    champion: str
    champion_interval: str
    change: Change


@dataclass(frozen=True)
class ClassRow:
    name: str
    count: int
    precision: str
    recall: str
    f1: str
    found: Interval
    """Of the recall, by bootstrap or Wilson's; as the next."""
    found_before: Interval | None
    share: float
    """The recall."""
    recall_change: Change
    f1_change: Change


@dataclass(frozen=True)
class Confusion:
    truth: str
    predicted: str
    count: int
    share: str
    """Of the true class's examples."""


def figures(m: Material) -> list[FigureRow]:
    """Challenger against champion on all test examples; `NOTHING` where there was no champion to score on them."""
    if m.evaluated is None:
        return []
    ours, theirs = m.evaluated.challenger, m.evaluated.champion
    rows = []
    for name, meaning, attribute in _SHARES:
        mine, other = getattr(ours, attribute), getattr(theirs, attribute, None)
        if mine is not None:
            texts = percent(mine), interval_text(ours, attribute), _percent(other), interval_text(theirs, attribute)
            rows.append(FigureRow(name, meaning, *texts, points(mine, other)))
    for name, meaning, attribute in _LOWER_IS_BETTER:
        mine, other = getattr(ours, attribute), getattr(theirs, attribute, None)
        texts = number(mine), interval_text(ours, attribute), number(other), interval_text(theirs, attribute)
        rows.append(FigureRow(name, meaning, *texts, drop(mine, other)))
    return rows


_SHARES = (
    ("Accuracy", "share of the test examples answered right", "accuracy"),
    ("Top-5 accuracy", "the true class is among the five likeliest", "top5_accuracy"),
    ("Mean precision", "over the classes: how often an answer is right", "macro_precision"),
    ("Mean recall", "over the classes: how much of a class is found", "macro_recall"),
    ("Mean F1", "over the classes: harmonic mean of the two", "macro_f1"),
)
_LOWER_IS_BETTER = (
    ("Log loss", "nats per example; lower is better", "log_loss"),
    ("Calibration error", "mean gap between confidence and accuracy; lower is better", "calibration_error"),
)


def _percent(share: float | None) -> str:
    return NOTHING if share is None else percent(share)


def class_rows(m: Material) -> list[ClassRow]:
    """One row per class, with its change against the champion's; what fell furthest first, else the worst F1."""
    if m.evaluated is None:
        return []
    before = {score.name: score for score in m.pair[1].per_class} if m.pair else {}
    # Where classes changed, a class is compared on the examples of classes that both know.
    compared = {score.name: score for score in m.pair[0].per_class} if m.pair else {}
    rows = [
        _class(score, compared.get(score.name), before.get(score.name)) for score in m.evaluated.challenger.per_class
    ]
    return [row for _, _, row in sorted(rows, key=lambda row: row[:2])]


def _class(score: ClassScore, compared: ClassScore | None, before: ClassScore | None) -> tuple[float, float, ClassRow]:
    """The row, behind what it is sorted by."""
    ours = compared or score
    fall = ours.recall - before.recall if before is not None else 0.0
    row = ClassRow(
        score.name,
        score.count,
        percent(score.precision),
        percent(score.recall),
        percent(score.f1),
        _interval(score, "recall"),
        _interval(before, "recall") if before is not None else None,
        score.recall,
        _change(ours, before, "recall"),
        _change(ours, before, "f1"),
    )
    return min(fall, 0.0), score.f1, row


def _change(ours: ClassScore, before: ClassScore | None, figure: str) -> Change:
    if before is None:
        return NO_CHANGE
    mine, theirs = getattr(ours, figure), getattr(before, figure)
    sure = told_apart((mine, _interval(ours, figure)), (theirs, _interval(before, figure)))
    return replace(points(mine, theirs), sure=sure)


def _interval(score: ClassScore, figure: str) -> Interval:
    """By bootstrap, or else Wilson's; everything where there is no example."""
    found: Interval | None = getattr(score, f"{figure}_interval")
    if found is not None or not score.count:
        return found or Interval(low=0.0, high=1.0)
    low, high = wilson(getattr(score, figure), score.count)
    return Interval(low=low, high=high)


def confusions(m: Material, most: int = 10) -> list[Confusion]:
    """The commonest mistakes: which class was taken for which."""
    if m.evaluated is None:
        return []
    card = m.evaluated.challenger
    cells = [
        (count, row, column)
        for row, counts in enumerate(card.confusion)
        for column, count in enumerate(counts)
        if row != column and count
    ]
    return [
        Confusion(card.classes[row], card.classes[column], count, percent(count / sum(card.confusion[row])))
        for count, row, column in sorted(cells, key=lambda cell: (-cell[0], cell[1], cell[2]))[:most]
    ]
