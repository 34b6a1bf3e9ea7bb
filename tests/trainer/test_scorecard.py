"""The scorecard against scikit-learn, and the predictions file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics
from sklearn.calibration import calibration_curve

from trainer.errors import EvaluationError, StateError
from trainer.judging.figures import CALIBRATION_BINS
from trainer.scorecard import Predictions, Scorecard, identity_digest, score

CLASSES = [f"class {i}" for i in range(8)]


def made(seed: int, examples: int = 500, classes: int = 8, sharpness: float = 2.0) -> Predictions:
    """Predictions of a model that is right more often than not, every class present."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, examples - classes)]).astype(np.int32)
    logits = rng.normal(size=(examples, classes)) * sharpness
    logits[np.arange(examples), labels] += 1.5
    exponentials = np.exp(logits)
    probabilities = (exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32)
    return Predictions([f"{seed}-{i}" for i in range(examples)], labels, probabilities)


@pytest.mark.parametrize(("seed", "sharpness"), [(0, 0.5), (1, 2.0), (2, 6.0)])
def test_every_figure_is_the_one_scikit_learn_gives(seed: int, sharpness: float) -> None:
    """Accuracy, top-5, log loss, precision, recall, F1 and confusion agree with scikit-learn."""
    predictions = made(seed, sharpness=sharpness)
    labels, probabilities = predictions.labels, predictions.probabilities
    predicted = probabilities.argmax(axis=1)

    card = score(predictions, CLASSES)

    assert card.examples == 500
    assert card.accuracy == pytest.approx(metrics.accuracy_score(labels, predicted))
    assert card.top5_accuracy == pytest.approx(metrics.top_k_accuracy_score(labels, probabilities, k=5))
    assert card.log_loss == pytest.approx(metrics.log_loss(labels, probabilities), rel=1e-5)
    assert card.confusion == metrics.confusion_matrix(labels, predicted).tolist()
    figures = metrics.precision_recall_fscore_support(labels, predicted, zero_division=0)
    assert [one.precision for one in card.per_class] == pytest.approx(figures[0].tolist())
    assert [one.recall for one in card.per_class] == pytest.approx(figures[1].tolist())
    assert [one.f1 for one in card.per_class] == pytest.approx(figures[2].tolist())
    assert [one.count for one in card.per_class] == figures[3].tolist()
    macro = metrics.precision_recall_fscore_support(labels, predicted, average="macro", zero_division=0)
    assert (card.macro_precision, card.macro_recall, card.macro_f1) == pytest.approx(macro[:3])


@pytest.mark.parametrize(("seed", "sharpness"), [(3, 0.5), (4, 2.0), (5, 6.0)])
def test_the_reliability_diagram_is_the_one_scikit_learn_draws(seed: int, sharpness: float) -> None:
    """Confidence and accuracy per bin agree with scikit-learn, and the error is their gap weighted by count."""
    predictions = made(seed, sharpness=sharpness)
    card = score(predictions, CLASSES)
    accuracy, confidence = calibration_curve(
        predictions.correct, predictions.probabilities.max(axis=1).astype(np.float64), n_bins=CALIBRATION_BINS
    )
    assert [one.accuracy for one in card.reliability] == pytest.approx(accuracy.tolist())
    assert [one.confidence for one in card.reliability] == pytest.approx(confidence.tolist())
    counts = [one.count for one in card.reliability]
    assert sum(counts) == 500
    assert card.calibration_error == pytest.approx(np.average(np.abs(accuracy - confidence), weights=counts))


@pytest.mark.parametrize(
    ("probability", "right", "error"),
    [(1.0, [True] * 4, 0.0), (1.0, [True, True, False, False], 0.5), (0.75, [True, True, True, False], 0.0)],
)
def test_the_calibration_error_of_known_cases(probability: float, right: list[bool], error: float) -> None:
    """It is 0 where the confidence is the accuracy and their difference where it is not; 1.0 has a bin."""
    labels = np.array([0 if one else 1 for one in right], np.int32)
    probabilities = np.tile(np.array([probability, 1 - probability], np.float32), (len(right), 1))
    card = score(Predictions([str(i) for i in range(len(right))], labels, probabilities), ["a", "b"])
    assert card.calibration_error == pytest.approx(error)
    assert len(card.reliability) == 1
    assert card.reliability[0].lower < probability <= card.reliability[0].upper


def test_a_class_that_is_never_predicted_scores_zero_without_a_warning() -> None:
    """Precision, recall and F1 of a class that the model never names are 0 and count in the macro average."""
    labels = np.array([0, 0, 1, 1], np.int32)
    card = score(Predictions(list("abcd"), labels, np.tile(np.float32([0.9, 0.1]), (4, 1))), ["a", "b"])
    b = card.per_class[1]
    assert (b.count, b.precision, b.recall, b.f1) == (2, 0.0, 0.0, 0.0)
    assert card.macro_recall == pytest.approx(0.5)


def test_a_confident_mistake_leaves_the_log_loss_finite() -> None:
    """A probability of 0 for the truth counts as float32's epsilon."""
    card = score(Predictions(["a"], np.array([1], np.int32), np.array([[1, 0]], np.float32)), ["a", "b"])
    assert card.log_loss == pytest.approx(-np.log(np.finfo(np.float32).eps))


@pytest.mark.parametrize(("classes", "given"), [(2, False), (5, False), (6, True)])
def test_top5_is_given_only_where_it_says_something(classes: int, given: bool) -> None:
    """With five classes or fewer every answer would be right."""
    card = score(made(0, 40, classes), [str(i) for i in range(classes)])
    assert (card.top5_accuracy is not None) == given


def test_top5_ranks_equals_by_class_as_the_prediction_does() -> None:
    """Of equal probabilities the lower class index comes first."""
    uniform = np.full((8, 8), 1 / 8, np.float32)
    card = score(Predictions(list("abcdefgh"), np.arange(8, dtype=np.int32), uniform), CLASSES)
    assert card.accuracy == 1 / 8
    assert card.top5_accuracy == 5 / 8


def test_the_test_digest_depends_on_the_order() -> None:
    """Two scorecards with one digest can be compared example by example."""
    assert identity_digest(["a", "b"]) == identity_digest(iter(["a", "b"]))
    assert len({identity_digest(one) for one in (["a", "b"], ["b", "a"], ["ab"], ["a"], [])}) == 5
    assert score(made(1), CLASSES).test_digest == identity_digest(made(1).identities)


def test_a_scorecard_travels_as_json() -> None:
    """Reading back what was written gives the same scorecard."""
    card = score(made(1), CLASSES, "challenger.npz")
    assert Scorecard.model_validate_json(card.model_dump_json()) == card
    assert card.predictions == "challenger.npz"


@pytest.mark.parametrize(
    ("identities", "labels", "shape"),
    [
        (["a"], [0, 1], (2, 2)),
        (["a", "b"], [0, 1], (3, 2)),
        (["a", "b"], [0, 1], (2,)),
        (["a"], [2], (1, 2)),
        (["a"], [-1], (1, 2)),
    ],
)
def test_predictions_that_do_not_fit_together_are_refused(
    identities: list[str], labels: list[int], shape: tuple[int, ...]
) -> None:
    """Lengths that differ, a missing axis and a label outside the classes are errors that say what was received."""
    with pytest.raises(EvaluationError, match=r"Received .* identities|Label -?\d is none"):
        Predictions(identities, np.array(labels, np.int32), np.full(shape, 0.5, np.float32))


@pytest.mark.parametrize(
    ("row", "classes", "words"),
    [
        ([np.nan, 0.5], 2, "1 of 1 test examples"),
        ([np.inf, 0.5], 2, "no probabilities"),
        ([-0.5, 1.5], 2, "no probabilities"),
        ([3.0, 4.0], 2, "no probabilities"),
        ([0.5, 0.5], 3, "2 classes, the data has 3"),
    ],
)
def test_answers_that_are_no_probabilities_are_not_scored(row: list[float], classes: int, words: str) -> None:
    """NaN, infinity, negatives, logits and a wrong number of classes stop the scoring."""
    predictions = Predictions(["a"], np.array([0], np.int32), np.array([row], np.float32))
    with pytest.raises(EvaluationError, match=words):
        score(predictions, [str(i) for i in range(classes)])


def test_no_examples_are_not_scored() -> None:
    """An empty test split has no accuracy."""
    with pytest.raises(EvaluationError, match="no test examples"):
        score(Predictions([], np.zeros(0, np.int32), np.zeros((0, 2), np.float32)), ["a", "b"])


@pytest.mark.parametrize("examples", [0, 1, 100])
def test_predictions_come_back_from_their_file(tmp_path: Path, examples: int) -> None:
    """Identities, labels and probabilities are the same to the bit, and no pickle is involved."""
    labels = np.arange(examples, dtype=np.int32) % 3
    probabilities = np.random.default_rng(0).random((examples, 3)).astype(np.float32)
    saved = Predictions([f"é{i}" for i in range(examples)], labels, probabilities)
    saved.save(tmp_path / "deep" / "p.npz")
    loaded = Predictions.load(tmp_path / "deep" / "p.npz")
    assert loaded.identities == saved.identities
    np.testing.assert_array_equal(loaded.labels, labels)
    np.testing.assert_array_equal(loaded.probabilities, probabilities)
    assert (loaded.labels.dtype, loaded.probabilities.dtype) == (np.int32, np.float32)


def test_a_damaged_predictions_file_says_so(tmp_path: Path) -> None:
    """Cut anywhere, replaced by text, or with an array missing, the file is an error that names it."""
    path = tmp_path / "p.npz"
    made(0, 20).save(path)
    whole = path.read_bytes()
    np.savez(tmp_path / "other.npz", labels=np.zeros(1))
    damaged = [whole[: len(whole) * part // 5] for part in range(5)]
    for content in [*damaged, b"text", (tmp_path / "other.npz").read_bytes()]:
        path.write_bytes(content)
        with pytest.raises(StateError, match=r"predictions in .*p\.npz are damaged"):
            Predictions.load(path)


def test_a_changed_byte_is_either_harmless_or_an_error(tmp_path: Path) -> None:
    """Wherever one byte is flipped, the file reads as it was written or is a StateError."""
    path = tmp_path / "p.npz"
    saved = made(0, 20)
    saved.save(path)
    whole = path.read_bytes()
    for at in range(0, len(whole), 3):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            loaded = Predictions.load(path)
        except StateError:
            continue
        assert loaded.identities == saved.identities
        np.testing.assert_array_equal(loaded.probabilities, saved.probabilities)


def test_a_missing_predictions_file_says_so(tmp_path: Path) -> None:
    """The error names the path."""
    with pytest.raises(StateError, match=r"gone\.npz"):
        Predictions.load(tmp_path / "gone.npz")
