"""Champions that know other classes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer import record
from trainer.config import Gate
from trainer.gate import Circumstances, decide
from trainer.promotion.common_classes import compare
from trainer.registry.ledger import follow
from trainer.registry.protocol import Entry
from trainer.scorecard import Predictions, Scorecard, score

CONSENT = Gate(threshold=0.5, allow_class_changes=True)


def answers(wrong: int, classes: list[str], rows: range = range(120)) -> tuple[Scorecard, Predictions]:
    """Forty examples each of a, b and c, in turn, as far as the classes go; wrong on the first so many."""
    truth = [(row, "abc"[row % 3]) for row in rows]
    kept = [(row, name) for row, name in truth if name in classes]
    labels = np.array([classes.index(name) for _, name in kept], np.int32)
    right = np.arange(len(kept)) >= wrong
    chosen = np.where(right, labels, (labels + 1) % len(classes))
    probabilities = np.full((len(kept), len(classes)), 0.1 / (len(classes) - 1), np.float32)
    probabilities[np.arange(len(kept)), chosen] = 0.9
    predictions = Predictions([f"image {row}" for row, _ in kept], labels, probabilities)
    return score(predictions, classes, "challenger.npz"), predictions


def test_two_models_are_compared_on_the_examples_of_the_classes_both_know() -> None:
    """Each chooses among those classes only; examples and their order are the challenger's."""
    ours, theirs = answers(0, ["a", "b", "c"]), answers(20, ["b", "a"])
    found = compare(ours, theirs)
    assert found is not None
    assert (found.change.added, found.change.removed, found.change.common) == (["c"], [], ["a", "b"])
    assert found.challenger.scorecard.test_digest == found.champion.scorecard.test_digest
    assert found.challenger.scorecard.examples == 80
    assert found.challenger.scorecard.accuracy == 1.0
    assert found.champion.scorecard.accuracy == 0.75
    assert found.challenger.scorecard.classes == found.champion.scorecard.classes == ["a", "b"]


def test_a_renamed_class_is_the_same_class() -> None:
    """Under the name that the recipe declares."""
    _, predictions = answers(20, ["a", "b"])
    old = score(predictions, ["alpha", "b"])
    assert compare(answers(0, ["a", "b", "c"]), (old, predictions)) is None
    found = compare(answers(0, ["a", "b", "c"]), (old, predictions), {"alpha": "a"})
    assert found is not None
    assert found.change.renamed == {"alpha": "a"}
    assert found.champion.scorecard.accuracy == 0.75


def test_the_comparison_needs_no_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The image in which `promote` runs does not hold it."""
    monkeypatch.setitem(sys.modules, "scipy", None)
    found = compare(answers(0, ["a", "b", "c"]), answers(20, ["b", "a"]))
    assert found is not None
    policy = CONSENT.model_copy(update={"min_effect": 0.0, "max_class_drop": 0.1})
    changed = Circumstances(class_change=found.change, compared=found.challenger)
    assert decide(found.challenger, found.champion, policy, changed).outcome == "promote"


@pytest.mark.parametrize(
    "theirs",
    [answers(0, ["a", "b"], range(60)), answers(0, ["c", "x"]), answers(0, ["x", "a"])],
    ids=["other examples", "none in common", "one class in common"],
)
def test_what_cannot_be_compared_is_not(theirs: tuple[Scorecard, Predictions]) -> None:
    """Too few common classes, or examples that the champion was not asked about."""
    assert compare(answers(0, ["a", "b"]), theirs) is None


def evaluated(world: Any, key: str, wrong: int, classes: list[str], **found: Any) -> str:
    """A run that has come as far as `register`."""
    folder: Path = world.runs / key
    card, predictions = answers(wrong, classes)
    predictions.save(folder / "challenger.npz")
    nothing = {"champion": None, "champion_version": None, "worst_mistakes": []}
    record.write(folder, record.Evaluated.model_validate({"challenger": card, **nothing, **found}))
    version: str = world.registry.create_version("digits", f"file:///{key}", "", {"run_key": key}).version
    record.write(folder, record.Registered(name="digits", version=version, created=True))
    return version


@pytest.mark.parametrize(("policy", "result"), [(CONSENT, "promoted"), (Gate(threshold=0.5), "undecided")])
@pytest.mark.parametrize("overtaken", [False, True])
def test_a_promotion_over_other_classes(world: Any, policy: Gate, result: str, overtaken: bool) -> None:
    """From the evaluation's own comparison, or from the run records where another champion has come in between."""
    evaluated(world, "a", 30, ["a", "b"])
    world.promote("a")
    found = compare(answers(5, ["a", "b", "c"]), answers(30, ["a", "b"]))
    assert found is not None
    seen: dict[str, Any] = {"champion_version": "1", "class_change": found.change}
    folder = world.runs / "b"
    for name, side in (("challenger", found.challenger), ("champion", found.champion)):
        probabilities = np.where(side.correct, 0.9, 0.1)
        columns = np.stack([probabilities, 1 - probabilities], axis=1)
        picked = np.where(side.labels[:, None] == [0, 1], columns[:, :1], columns[:, 1:]).astype(np.float32)
        identities = [f"image {row}" for row in range(120) if row % 3 < 2]
        Predictions(identities, side.labels, picked).save(folder / f"common-{name}.npz")
        card = side.scorecard.model_copy(update={"predictions": f"common-{name}.npz"})
        seen["class_change"] = seen["class_change"].model_copy(update={name: card})
    evaluated(world, "b", 5, ["a", "b", "c"], **({} if overtaken else seen))
    done = world.promote("b", policy)
    assert done.result == result
    assert "added 'c'" in done.verdict.reason
    entry: Entry = world.ledger.read().entries[-1]
    assert (entry.trial is not None) == (result == "promoted")
    if entry.trial is not None:
        assert (entry.trial.examples, entry.trial.test_digest) == (80, found.challenger.scorecard.test_digest)
    assert follow(world.registry, world.ledger, "digits") == ("2" if result == "promoted" else "1")


def test_what_the_evaluation_could_not_compare_is_undecided_in_its_words(world: Any) -> None:
    """Nothing is tested, nothing spent."""
    evaluated(world, "a", 30, ["a", "b"])
    world.promote("a")
    evaluated(world, "b", 0, ["a", "b"], champion_version="1", incomparable="It was trained on 3 test examples.")
    done = world.promote("b", CONSENT)
    assert (done.result, done.verdict.reason) == ("undecided", "It was trained on 3 test examples.")
    assert world.ledger.read().entries[-1].trial is None
