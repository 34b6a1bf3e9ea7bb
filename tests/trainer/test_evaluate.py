"""Evaluation of models in MLflow on real test examples: what is asked, what is kept, what cannot be compared.

The models know nothing (they were never trained), which leaves mistakes enough to look at.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from trainer import config, record, tracking
from trainer.check import check
from trainer.data.prepared import Split, open_prepared
from trainer.errors import EvaluationError, StateError
from trainer.evaluate import CHALLENGER_PREDICTIONS, CHAMPION_PREDICTIONS, evaluate
from trainer.prepare import prepare
from trainer.record import Evaluated, Trained
from trainer.registry.ledger import MemoryLedger
from trainer.registry.memory import MemoryRegistry
from trainer.registry.protocol import Entry
from trainer.scorecard import Predictions, score
from trainer.state import State

TEN = [str(digit) for digit in range(10)]


class Logged(NamedTuple):
    uri: str
    run_id: str


class Arena:
    """One state folder for the module; every test evaluates under a run key of its own, in a registry of its own."""

    def __init__(self, state: State, digits: Any) -> None:
        self.state, self.digits = state, digits
        self.models: dict[str, Logged] = {}

    def log(self, name: str, classes: list[str], seed: int, spoil: Callable[[Any], None] | None = None) -> None:
        import keras

        from trainer.models import classifier
        from trainer.train import _example_batch, _signature

        keras.utils.set_random_seed(seed)
        model = self.digits.recipe().model
        untrained = classifier.weights_of(classifier.for_training(model, len(classes), (8, 8)))
        served = classifier.for_serving([untrained], model, len(classes))
        if spoil:
            spoil(served)
        example = _example_batch(self.test)
        with tracking.open_run(self.state, "tiny", name, name) as run:
            uri = run.log_model(served, _signature(len(classes)), example, [], {"classes": classes})
        self.models[name] = Logged(uri, run.run_id)

    @property
    def test(self) -> Split:
        return open_prepared(self.state.data(self.digits.fingerprint)).split("test")

    def trained(self, run_key: str, name: str) -> None:
        """What the step before leaves."""
        document = Trained(
            model_uri=self.models[name].uri,
            mlflow_run_id=self.models[name].run_id,
            experiment_id="1",
            variant="inception_module",
            image_size=32,
            parameters=1,
            training_parameters=1,
            epochs=[],
            precision="float32",
            device="CPU",
            seconds=1.0,
            resumed_from_epoch=None,
            versions={},
        )
        record.write(self.state.run(run_key), document)

    def champion(self, name: str) -> MemoryRegistry:
        registry = MemoryRegistry()
        registry.create_version("tiny", "models:/m-older", "r", {})
        registry.create_version("tiny", self.models[name].uri, "r", {})
        registry.set_alias("tiny", "champion", "2")
        return registry

    def evaluate(
        self,
        run_key: str,
        name: str = "one",
        registry: MemoryRegistry | None = None,
        ledger: MemoryLedger | None = None,
        *overrides: str,
    ) -> Evaluated:
        self.trained(run_key, name)
        recipe, fingerprint = self.digits.recipe(*overrides), self.digits.fingerprint
        return evaluate(
            recipe, fingerprint, run_key, self.state, registry or MemoryRegistry(), ledger or MemoryLedger()
        )

    def plainly(self, name: str) -> Callable[[Any], Any]:
        """A model as MLflow gives it to anybody."""
        import mlflow

        tracking.connect(self.state)
        model = mlflow.tensorflow.load_model(self.models[name].uri)
        return lambda images: np.asarray(model(images))


def _not_a_number(served: Any) -> None:
    served.weights[-1].assign(np.full(served.weights[-1].shape, np.nan))


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory, mlflow_template: Path, digits: Any) -> Iterator[Arena]:
    state = State.open(tmp_path_factory.mktemp("arena"))
    shutil.copyfile(mlflow_template, state.mlflow_database)
    digits.into(state)
    arena = Arena(state, digits)
    arena.log("one", TEN, 1)
    arena.log("other", TEN, 2)
    arena.log("reversed", TEN[::-1], 3)
    arena.log("broken", TEN, 4, _not_a_number)
    arena.log("animals", ["cats", "dogs"], 5)
    return arena


def test_the_challenger_is_scored_on_the_frozen_test_split(arena: Arena) -> None:
    """Every example once, in the split's order, with what the model answers when asked plainly."""
    evaluated = arena.evaluate("first")
    folder = arena.state.run("first")
    kept = Predictions.load(folder / CHALLENGER_PREDICTIONS)
    assert kept.identities == list(arena.test.identities)
    assert np.array_equal(kept.labels, arena.test.labels)
    answers = arena.plainly("one")(arena.test.images(np.arange(96)))
    np.testing.assert_allclose(kept.probabilities, answers, atol=1e-6)
    assert evaluated.challenger == score(kept, TEN, CHALLENGER_PREDICTIONS)
    assert evaluated.challenger.examples == 96
    assert record.read(folder, Evaluated) == evaluated


def test_without_a_champion_there_is_none(arena: Arena) -> None:
    """The first model of a name is alone."""
    evaluated = arena.evaluate("alone")
    assert (evaluated.champion, evaluated.champion_version) == (None, None)
    assert not (arena.state.run("alone") / CHAMPION_PREDICTIONS).exists()


def test_the_champion_is_scored_on_the_same_examples(arena: Arena) -> None:
    """The version behind the alias, not the newest or the oldest; with predictions of its own."""
    evaluated = arena.evaluate("both", registry=arena.champion("other"))
    folder = arena.state.run("both")
    assert evaluated.champion is not None
    assert evaluated.champion_version == "2"
    assert evaluated.champion.test_digest == evaluated.challenger.test_digest
    challenger, champion = (Predictions.load(folder / name) for name in (CHALLENGER_PREDICTIONS, CHAMPION_PREDICTIONS))
    assert challenger.identities == champion.identities
    assert not np.allclose(challenger.probabilities, champion.probabilities)
    assert evaluated.champion == score(champion, TEN, CHAMPION_PREDICTIONS)
    alone = arena.evaluate("other alone", "other")
    assert alone.challenger.accuracy == evaluated.champion.accuracy


def test_a_model_against_itself_is_a_tie_to_the_bit(arena: Arena) -> None:
    """Nothing in the way of asking favours one of the two."""
    evaluated = arena.evaluate("itself", registry=arena.champion("one"))
    folder = arena.state.run("itself")
    challenger, champion = (Predictions.load(folder / name) for name in (CHALLENGER_PREDICTIONS, CHAMPION_PREDICTIONS))
    assert challenger.probabilities.tobytes() == champion.probabilities.tobytes()
    assert evaluated.champion is not None
    assert evaluated.champion.accuracy == evaluated.challenger.accuracy


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_the_batch_size_changes_nothing(batch_size: int, arena: Arena) -> None:
    """No example is left over or asked twice."""
    whole = arena.evaluate("in batches", "one", None, None, "evaluate.batch_size=96").challenger
    other = arena.evaluate("in batches", "one", None, None, f"evaluate.batch_size={batch_size}").challenger
    assert other.confusion == whole.confusion
    assert other.log_loss == pytest.approx(whole.log_loss, rel=1e-5)


def test_the_figures_go_to_the_trainings_run(arena: Arena) -> None:
    """Which has ended, and stays so."""
    from mlflow import MlflowClient

    evaluated = arena.evaluate("figures")
    tracking.connect(arena.state)
    run = MlflowClient().get_run(arena.models["one"].run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test_accuracy"] == evaluated.challenger.accuracy
    assert run.data.metrics["test_log_loss"] == evaluated.challenger.log_loss
    assert run.data.metrics["test_macro_f1"] == evaluated.challenger.macro_f1


# ------------------------------------------------------------------ mistakes


def test_the_worst_mistakes_are_kept_as_pictures(arena: Arena) -> None:
    """Those whose true class was found least likely, worst first; each with a caption, and the pixels the model saw."""
    evaluated = arena.evaluate("pictures", "one", None, None, "evaluate.mistakes=5")
    folder = arena.state.run("pictures")
    captions = json.loads((folder / "mistakes.json").read_text())
    assert evaluated.worst_mistakes == [f"mistake-0{rank}.png" for rank in range(1, 6)]
    assert [caption["file"] for caption in captions] == evaluated.worst_mistakes
    kept = Predictions.load(folder / CHALLENGER_PREDICTIONS)
    of_truth = kept.probabilities[np.arange(96), kept.labels]
    wrong = np.nonzero(~kept.correct)[0]
    worst = sorted(wrong, key=lambda index: of_truth[index])[:5]
    paths = arena.test.table["path"].to_pylist()
    for index, caption in zip(worst, captions, strict=True):
        guess = kept.predicted[index]
        assert caption["source"] == paths[index]
        assert (caption["truth"], caption["predicted"]) == (TEN[kept.labels[index]], TEN[guess])
        assert caption["truth"] != caption["predicted"]
        assert caption["probability"] == pytest.approx(kept.probabilities[index, guess], abs=1e-4)
        shown = np.asarray(Image.open(folder / caption["file"]))
        assert shown.shape == (128, 128, 3)
        assert np.array_equal(shown[8::16, 8::16], arena.test.image(int(index)))


def test_no_more_mistakes_are_kept_than_there_are(arena: Arena) -> None:
    """And none where the recipe wants none."""
    evaluated = arena.evaluate("all", "one", None, None, "evaluate.mistakes=100")
    kept = Predictions.load(arena.state.run("all") / CHALLENGER_PREDICTIONS)
    assert len(evaluated.worst_mistakes) == int((~kept.correct).sum()) < 97
    assert arena.evaluate("none", "one", None, None, "evaluate.mistakes=0").worst_mistakes == []
    assert json.loads((arena.state.run("none") / "mistakes.json").read_text()) == []


# ------------------------------------------------------------------ images of different sizes


@pytest.fixture
def animals(arena: Arena, tmp_path: Path) -> tuple[config.Recipe, str]:
    """A folder of pictures in six sizes, prepared by the real verbs."""
    random = np.random.default_rng(0)
    sizes = [(8, 8), (30, 20), (20, 30), (200, 150), (64, 64), (300, 10)]
    for name, tint in (("cats", 0), ("dogs", 120)):
        for number in range(36):
            pixels = random.integers(tint, tint + 130, (*sizes[number % 6], 3), np.uint8)
            path = tmp_path / "images" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    recipe = arena.digits.recipe(f"data.source=folder:{tmp_path}/images", "data.test_fraction=0.4")
    fingerprint = check(recipe, arena.state, MemoryRegistry(), MemoryLedger(), "animals").fingerprint
    prepare(recipe.data, fingerprint, arena.state)
    return recipe, fingerprint


def test_images_of_different_sizes_are_asked_as_they_are(arena: Arena, animals: tuple[config.Recipe, str]) -> None:
    """Each at its own size, and each answer lands at its example."""
    recipe, fingerprint = animals
    arena.trained("animals", "animals")
    evaluated = evaluate(recipe, fingerprint, "animals", arena.state, MemoryRegistry(), MemoryLedger())
    test = open_prepared(arena.state.data(fingerprint)).split("test")
    assert test.shape is None
    assert len({test.image(index).shape for index in range(len(test))}) > 3
    kept = Predictions.load(arena.state.run("animals") / CHALLENGER_PREDICTIONS)
    assert kept.identities == list(test.identities)
    ask = arena.plainly("animals")
    for index in range(len(test)):
        [answer] = ask(test.image(index)[None])
        np.testing.assert_allclose(kept.probabilities[index], answer, atol=1e-5)
    assert evaluated.challenger.classes == ["cats", "dogs"]
    for caption in json.loads((arena.state.run("animals") / "mistakes.json").read_text()):
        shown = Image.open(arena.state.run("animals") / caption["file"])
        assert max(shown.size) == 128
        assert min(shown.size) >= 4


# ------------------------------------------------------------------ what cannot be compared


def test_a_champion_of_other_classes_is_refused(arena: Arena) -> None:
    """Even of the same classes in another order, where every answer would be read wrongly; the remedy is a new name."""
    with pytest.raises(EvaluationError) as caught:
        arena.evaluate("k", registry=arena.champion("reversed"))
    assert f"The champion {arena.models['reversed'].uri} knows the classes ['9', '8'" in caught.value.message
    assert "the data has ['0', '1'" in caught.value.message
    assert "another registry.name" in caught.value.remedy
    assert record.find(arena.state.run("k"), Evaluated) is None


def test_a_champion_that_is_gone_is_an_error(arena: Arena) -> None:
    """Its artifacts were deleted: the message says whose and where."""
    registry = arena.champion("other")
    registry.create_version("tiny", "models:/m-unheard-of", "r", {})
    registry.set_alias("tiny", "champion", "3")
    with pytest.raises(EvaluationError, match="The champion models:/m-unheard-of cannot be loaded") as caught:
        arena.evaluate("k", registry=registry)
    assert "See that its artifacts are there" in caught.value.remedy


def test_answers_that_are_no_numbers_are_refused(arena: Arena) -> None:
    """They name the model and what to do."""
    with pytest.raises(
        EvaluationError, match=r"The challenger .* answered with a probability that is no number"
    ) as caught:
        arena.evaluate("k", "broken")
    assert "Train again" in caught.value.remedy


def test_an_evaluation_needs_a_training(arena: Arena) -> None:
    """Whose document says which model."""
    with pytest.raises(StateError, match=r"no readable train\.json"):
        evaluate(
            arena.digits.recipe(), arena.digits.fingerprint, "never", arena.state, MemoryRegistry(), MemoryLedger()
        )


# ------------------------------------------------------------------ again


def test_an_evaluation_that_was_decided_on_stands(arena: Arena, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that goes on after its decision does not put its own promoted model up as its own champion."""
    first = arena.evaluate("decided")
    ledger = MemoryLedger()
    entry = Entry(
        number=1,
        event="promote",
        version="2",
        previous=None,
        run_key="decided",
        verdict_digest=None,
        reason="r",
        tick=None,
        at=record.now(),
    )
    ledger.append(entry, 0)
    assert arena.evaluate("decided", registry=arena.champion("one"), ledger=ledger) == first
    assert "the evaluation the decision was made on stands" in capsys.readouterr().out


def test_an_evaluation_that_was_not_decided_on_is_made_anew(arena: Arena) -> None:
    """The champion may be another by now."""
    assert arena.evaluate("undecided").champion is None
    assert arena.evaluate("undecided", registry=arena.champion("other")).champion_version == "2"


def test_progress_is_told(
    arena: Arena, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """For both models, to the last image; the accuracies in words."""
    monkeypatch.setenv("INCEPTION_EVENTS", str(tmp_path / "events"))
    evaluated = arena.evaluate("told", registry=arena.champion("other"))
    events = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    ends = [event for event in events if event["kind"] == "progress" and event["done"] == event["total"]]
    assert [(end["total"], end["unit"]) for end in ends] == [(96, "images, challenger"), (96, "images, champion")]
    said = capsys.readouterr().out
    assert f"challenger: accuracy {evaluated.challenger.accuracy:.4f} on 96 test examples" in said
    assert "champion (version 2): accuracy " in said
