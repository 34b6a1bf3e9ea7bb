"""What the two models scored, as rows of finished text: overall, class by class, and what is taken for what."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.card.material import Material
from trainer.card.numbers import NO_CHANGE, NOTHING, Change, drop, number, percent, points, wilson
from trainer.scorecard import Scorecard


@dataclass(frozen=True)
class FigureRow:
    name: str
    meaning: str
    challenger: str
    champion: str
    change: Change


@dataclass(frozen=True)
class ClassRow:
    name: str
    count: int
    precision: str
    recall: str
    f1: str
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
    """Challenger against champion; the champion's column is `NOTHING` where there was none."""
    if m.evaluated is None:
        return []
    ours, theirs = m.evaluated.challenger, m.evaluated.champion
    rows = []
    for name, meaning, attribute in _SHARES:
        mine, other = getattr(ours, attribute), getattr(theirs, attribute, None)
        if mine is not None:
            rows.append(FigureRow(name, meaning, percent(mine), _percent(other), points(mine, other)))
    for name, meaning, attribute in _LOWER_IS_BETTER:
        mine, other = getattr(ours, attribute), getattr(theirs, attribute, None)
        rows.append(FigureRow(name, meaning, number(mine), number(other), drop(mine, other)))
    interval = FigureRow(
        "Accuracy, 95 %",
        "interval that holds the true accuracy, with this many examples",
        _interval(ours),
        _interval(theirs),
        NO_CHANGE,
    )
    return [rows[0], interval, *rows[1:]]


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


def _interval(card: Scorecard | None) -> str:
    if card is None:
        return NOTHING
    low, high = wilson(card.accuracy, card.examples)
    return f"{100 * low:.1f}–{100 * high:.1f} %"


def _percent(share: float | None) -> str:
    return NOTHING if share is None else percent(share)


def class_rows(m: Material) -> list[ClassRow]:
    """One row per class with its change against the champion's class of the same name; the worst F1 first."""
    if m.evaluated is None:
        return []
    champion = m.evaluated.champion
    before = {score.name: score for score in champion.per_class} if champion else {}
    return [
        ClassRow(
            score.name,
            score.count,
            percent(score.precision),
            percent(score.recall),
            percent(score.f1),
            points(score.recall, before[score.name].recall if score.name in before else None),
            points(score.f1, before[score.name].f1 if score.name in before else None),
        )
        for score in sorted(m.evaluated.challenger.per_class, key=lambda score: score.f1)
    ]


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
