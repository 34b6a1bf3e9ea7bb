"""Two registered models on the same examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from trainer import record
from trainer.compare import Paired, compare, compare_on, compare_recorded
from trainer.config import Evaluate
from trainer.errors import EvaluationError
from trainer.judging.any_source import Scored, data_of, images
from trainer.registry.lookup import Found
from trainer.scorecard import Predictions, score

SETTINGS = Evaluate(resamples=50)
CLASSES = ["cat", "dog", "cow"]


def on_folder(zoo: Any, one: str, other: str, folder: Path) -> Paired:
    asked = images(zoo.state, data_of(f"folder:{folder}", None, []), "all")
    return compare_on(zoo.state, zoo.find(one), zoo.find(other), asked, SETTINGS)


def answers(right: list[bool], first: int = 0) -> Scored:
    """Of a model that is right where it says so; examples are numbered from `first`."""
    labels = (np.arange(len(right)) % 3).astype(np.int32)
    said = np.where(right, labels, (labels + 1) % 3)
    predictions = Predictions(
        [f"{first + i:064x}" for i in range(len(right))], labels, np.eye(3, dtype=np.float32)[said]
    )
    return Scored(score(predictions, CLASSES), predictions, 0)


@pytest.fixture
def found(zoo: Any) -> Found:
    found: Found = zoo.find("good")
    return found


def test_the_better_of_two_is_named(zoo: Any, paint: Any, tmp_path: Path) -> None:
    """Real models on real files, in either order; the p-value is that of the exact binomial test."""
    folder = paint(tmp_path / "i", {"cat": 6, "dog": 5, "cow": 6})
    paired = on_folder(zoo, "good", "mistaken", folder)
    assert (paired.examples, paired.classes) == (17, CLASSES)
    assert (paired.first.accuracy, paired.second.accuracy) == (1.0, pytest.approx(6 / 17))
    assert (paired.first.right_alone, paired.second.right_alone) == (11, 0)
    assert paired.p_value == pytest.approx(binomtest(11, 11).pvalue)
    assert (paired.better, paired.examples_needed) == ("first", None)
    assert paired.difference_interval.low < paired.difference == pytest.approx(11 / 17)
    turned = on_folder(zoo, "mistaken", "good", folder)
    assert (turned.better, turned.difference) == ("second", -paired.difference)
    assert turned.difference_interval.high == pytest.approx(-paired.difference_interval.low)


def test_models_of_different_classes_are_compared_on_the_common_ones(zoo: Any, paint: Any, tmp_path: Path) -> None:
    """Between those both have to choose."""
    paired = on_folder(zoo, "good", "birds", paint(tmp_path / "i", {"cat": 4, "dog": 3}))
    assert paired.classes == ["cat", "dog"]
    assert paired.difference == 0
    assert (paired.better, paired.examples_needed) == (None, None)


def test_what_could_be_chance_is_left_open(found: Found) -> None:
    """With the number of examples that would tell."""
    paired = compare(
        found,
        answers([True] * 60 + [True] * 5 + [False] * 2),
        found,
        answers([True] * 60 + [False] * 5 + [True] * 2),
        "s",
        50,
    )
    assert (paired.first.right_alone, paired.second.right_alone) == (5, 2)
    assert paired.p_value == pytest.approx(binomtest(5, 7).pvalue)
    assert paired.better is None
    assert paired.examples_needed is not None
    assert paired.examples_needed > 67


def test_only_common_examples_count(found: Found) -> None:
    """Those whose truth both saw alike; without any there is nothing to compare."""
    paired = compare(found, answers([True] * 30), found, answers([False] * 30, first=12), "s", 50)
    assert paired.examples == 18
    with pytest.raises(EvaluationError, match="different examples") as caught:
        compare(found, answers([True] * 30), found, answers([False] * 30, first=100), "s", 50)
    assert "--data SOURCE" in caught.value.remedy


def test_the_answers_of_their_evaluations_will_do(zoo: Any) -> None:
    """They lie in the run records; a model whose record is gone is named."""
    one, other = zoo.find("good"), zoo.find("mistaken")
    with pytest.raises(EvaluationError, match=r"What good version 1 answered .* its run record is not in this state"):
        compare_recorded(zoo.state, one, other, 50)
    for name, right in (("good", [True] * 40), ("mistaken", [True] * 20 + [False] * 20)):
        kept = answers(right)
        kept.predictions.save(zoo.state.run(name) / kept.card.predictions)
        evaluated = record.Evaluated(challenger=kept.card, champion=None, champion_version=None, worst_mistakes=[])
        record.write(zoo.state.run(name), evaluated)
    paired = compare_recorded(zoo.state, one, other, 50)
    assert (paired.examples, paired.difference, paired.better) == (40, 0.5, "first")
