"""Bootstrap intervals against SciPy's, against formulas, and where they end."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from trainer.judging.intervals import mirrored, percentile
from trainer.scorecard import Predictions, Scorecard, score

CLASSES = [f"class {i}" for i in range(6)]


def made(seed: int, examples: int = 400, skill: float = 1.5) -> Predictions:
    """Answers of a model that is right more often than not, every class present."""
    random = np.random.default_rng(seed)
    labels = (np.arange(examples) % len(CLASSES)).astype(np.int32)
    logits = random.normal(size=(examples, len(CLASSES))) * 1.5
    logits[np.arange(examples), labels] += skill
    odds = np.exp(logits)
    probabilities = (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
    return Predictions([f"{seed}-{i}" for i in range(examples)], labels, probabilities)


def figure(predictions: Predictions, name: str) -> object:
    """A figure of resampled examples, as anybody would compute it."""
    labels, probabilities = predictions.labels, predictions.probabilities.astype(np.float64)
    predicted = probabilities.argmax(axis=1)
    loss = -np.log(probabilities[np.arange(len(labels)), labels])
    known = list(range(len(CLASSES)))

    def of(rows: np.ndarray) -> float:
        truth, guess = labels[rows], predicted[rows]
        match name:
            case "accuracy":
                return float((truth == guess).mean())
            case "log_loss":
                return float(loss[rows].mean())
            case "top5_accuracy":
                return float(metrics.top_k_accuracy_score(truth, probabilities[rows], k=5, labels=known))
            case "macro_f1":
                return float(metrics.f1_score(truth, guess, average="macro", labels=known, zero_division=0))
            case "precision":
                return float(metrics.precision_score(truth, guess, labels=[2], average="macro", zero_division=0))
            case "recall":
                return float(metrics.recall_score(truth, guess, labels=[2], average="macro", zero_division=0))
        raise AssertionError(name)

    return of


@pytest.mark.parametrize("name", ["accuracy", "log_loss", "top5_accuracy", "macro_f1", "precision", "recall"])
def test_an_interval_is_the_one_that_scipy_gives(name: str) -> None:
    """The percentile bootstrap of the same statistic, within the noise of the resampling."""
    predictions = made(1)
    card = score(predictions, CLASSES, resamples=2000)
    theirs = stats.bootstrap(
        (np.arange(400),),
        figure(predictions, name),
        n_resamples=400,
        method="percentile",
        vectorized=False,
        rng=np.random.default_rng(5),
    )
    interval = card.intervals.get(name) or getattr(card.per_class[2], f"{name}_interval")
    assert interval is not None
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert interval.low == pytest.approx(theirs.confidence_interval.low, abs=0.15 * width)
    assert interval.high == pytest.approx(theirs.confidence_interval.high, abs=0.15 * width)


def test_an_interval_is_as_wide_as_the_binomial_says() -> None:
    """Of the accuracy: 1.96 standard errors to either side."""
    predictions = made(2, examples=4000)
    card = score(predictions, CLASSES, resamples=2000)
    half = 1.96 * np.sqrt(card.accuracy * (1 - card.accuracy) / 4000)
    assert card.intervals["accuracy"].low == pytest.approx(card.accuracy - half, abs=0.1 * half)
    assert card.intervals["accuracy"].high == pytest.approx(card.accuracy + half, abs=0.1 * half)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Of 200 test sets of one model, about 190 have the model's true accuracy within their interval."""
    truth = float(np.mean([made(seed, 6000).correct.mean() for seed in range(900, 910)]))
    held = 0
    for seed in range(200):
        interval = score(made(seed, 300), CLASSES, resamples=200).intervals["accuracy"]
        held += interval.low <= truth <= interval.high
    assert 178 <= held <= 199


@pytest.mark.parametrize("seed", range(5))
def test_every_average_lies_within_its_interval(seed: int) -> None:
    """The calibration error too, which resampling makes larger than it is."""
    card = score(made(seed), CLASSES, resamples=300)
    assert set(card.intervals) == {
        *("accuracy", "top5_accuracy", "log_loss", "calibration_error"),
        *("macro_precision", "macro_recall", "macro_f1"),
    }
    for name, interval in card.intervals.items():
        assert 0 <= interval.low <= getattr(card, name) <= interval.high
        assert interval.low < interval.high
    for one in card.per_class:
        for kind in ("precision", "recall", "f1"):
            interval = getattr(one, f"{kind}_interval")
            assert interval.low <= getattr(one, kind) <= interval.high


def test_the_same_answers_have_the_same_intervals() -> None:
    """Whenever they are asked for; and none where no resamples are wanted."""
    assert score(made(1), CLASSES, resamples=100) == score(made(1), CLASSES, resamples=100)
    without = score(made(1), CLASSES)
    assert (without.intervals, without.per_class[0].recall_interval) == ({}, None)
    assert Scorecard.model_validate_json(without.model_dump_json()) == without


def test_portions_change_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded by drawing in portions; the intervals stay where they are, within their noise."""
    whole = score(made(3), CLASSES, resamples=500).intervals["accuracy"]
    monkeypatch.setattr("trainer.judging.intervals.PORTION", 400 * 7)
    parts = score(made(3), CLASSES, resamples=500).intervals["accuracy"]
    assert parts.low == pytest.approx(whole.low, abs=0.01)
    assert parts.high == pytest.approx(whole.high, abs=0.01)


def test_a_class_without_examples_has_no_interval() -> None:
    """Nor does a precision of a class that was never predicted; the macro averages leave an unheard-of class out."""
    labels = np.array([0, 0, 1, 1], np.int32)
    answers = np.tile(np.array([0.8, 0.1, 0.1], np.float32), (4, 1))
    card = score(Predictions(list("abcd"), labels, answers), ["a", "b", "c"], resamples=50)
    a, b, c = card.per_class
    assert a.recall_interval is not None
    assert b.precision_interval is None
    assert (c.precision_interval, c.recall_interval, c.f1_interval) == (None, None, None)
    assert card.macro_recall == pytest.approx(0.5)


def test_percentiles_leave_out_what_could_not_be_computed() -> None:
    """As numpy's nanquantile does, column by column."""
    random = np.random.default_rng(0)
    values = random.normal(size=(301, 4))
    values[:40, 1] = np.nan
    values[:, 2] = np.nan
    low, high = percentile(values, 0.9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = np.nanquantile(values, [0.05, 0.95], axis=0)
    np.testing.assert_allclose([low, high], expected)


def test_a_mirrored_interval_holds_its_figure() -> None:
    """It goes below the figure as far as the resamples go above, and never below 0."""
    low, high = mirrored(np.float64(0.02), np.linspace(0.02, 0.06, 1001)[:, None])
    assert low == pytest.approx(0.0)
    assert high == pytest.approx(0.02)
