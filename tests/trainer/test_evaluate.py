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
from trainer.errors import EvaluationError, RecipeError, StateError
from trainer.evaluate import CHALLENGER_PREDICTIONS, evaluate
from trainer.judging import golden, hygiene, slices, training_files
from trainer.judging.comparison import CHAMPION_FILE, COMMON_FILES
from trainer.prepare import prepare
from trainer.record import Evaluated, Trained
from trainer.registry.ledger import MemoryLedger
from trainer.registry.memory import MemoryRegistry
from trainer.registry.protocol import Entry
from trainer.scorecard import Predictions, Scorecard, score
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
        registry.create_version("tiny", self.models[name].uri, self.models[name].run_id, {})
        registry.set_alias("tiny", "champion", "2")
        return registry

    def leave(self, name: str, **files: Any) -> None:
        """What a training leaves in its run: `golden` and `identities`."""
        folder = self.state.root / "left"
        arrays = {f"{file}.npz": content for file, content in files.items()}
        training_files.leave(self.state, self.models[name].run_id, folder, arrays)

    def evaluate(
        self,
        run_key: str,
        name: str = "one",
        registry: MemoryRegistry | None = None,
        ledger: MemoryLedger | None = None,
        *overrides: str,
    ) -> Evaluated:
        self.trained(run_key, name)
        quick = ("evaluate.latency=false", "evaluate.resamples=50")
        recipe, fingerprint = self.digits.recipe(*quick, *overrides), self.digits.fingerprint
        return evaluate(
            recipe, fingerprint, run_key, self.state, registry or MemoryRegistry(), ledger or MemoryLedger()
        )

    def plainly(self, name: str) -> Callable[[Any], Any]:
        """A model as MLflow gives it to anybody."""
        import mlflow

        tracking.connect(self.state)
        model = mlflow.tensorflow.load_model(self.models[name].uri)
        return lambda images: np.asarray(model(images))

    def plainly_keras(self, name: str) -> Any:
        import mlflow

        tracking.connect(self.state)
        return mlflow.tensorflow.load_model(self.models[name].uri)


def plain(card: Scorecard) -> Scorecard:
    """Without what the model weighs."""
    return card.model_copy(update={"size_bytes": None, "parameters": None})


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
    arena.log("second", TEN, 7)
    arena.log("judged", TEN, 8)
    arena.log("reversed", TEN[::-1], 3)
    arena.log("broken", TEN, 4, _not_a_number)
    arena.log("animals", ["cats", "dogs"], 5)
    arena.log("grown", ["nought", *TEN[1:8], "x"], 6)
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
    groups = slices.groups(arena.test.table, TEN, ["size", "brightness"])
    assert plain(evaluated.challenger) == score(kept, TEN, CHALLENGER_PREDICTIONS, groups, 50)
    assert evaluated.challenger.examples == 96
    assert record.read(folder, Evaluated) == evaluated


def test_a_scorecard_says_what_the_model_weighs(arena: Arena) -> None:
    """Bytes of its files as MLflow keeps them, and parameters."""
    import mlflow

    tracking.connect(arena.state)
    card = arena.evaluate("weighed", registry=arena.champion("other")).challenger
    folder = Path(mlflow.artifacts.download_artifacts(arena.models["one"].uri))
    assert card.size_bytes == sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    assert card.parameters == mlflow.tensorflow.load_model(arena.models["one"].uri).count_params()


def test_without_a_champion_there_is_none(arena: Arena) -> None:
    """The first model of a name is alone."""
    evaluated = arena.evaluate("alone")
    assert (evaluated.champion, evaluated.champion_version) == (None, None)
    assert not (arena.state.run("alone") / CHAMPION_FILE).exists()


def test_the_champion_is_scored_on_the_same_examples(arena: Arena) -> None:
    """The version behind the alias, not the newest or the oldest; with predictions of its own."""
    evaluated = arena.evaluate("both", registry=arena.champion("other"))
    folder = arena.state.run("both")
    assert evaluated.champion is not None
    assert evaluated.champion_version == "2"
    assert evaluated.champion.test_digest == evaluated.challenger.test_digest
    challenger, champion = (Predictions.load(folder / name) for name in (CHALLENGER_PREDICTIONS, CHAMPION_FILE))
    assert challenger.identities == champion.identities
    assert not np.allclose(challenger.probabilities, champion.probabilities)
    alone = arena.evaluate("other alone", "other")
    assert evaluated.champion.model_copy(update={"predictions": CHALLENGER_PREDICTIONS}) == alone.challenger


def test_a_model_against_itself_is_a_tie_to_the_bit(arena: Arena) -> None:
    """Nothing in the way of asking favours one of the two."""
    evaluated = arena.evaluate("itself", registry=arena.champion("one"))
    folder = arena.state.run("itself")
    challenger, champion = (Predictions.load(folder / name) for name in (CHALLENGER_PREDICTIONS, CHAMPION_FILE))
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


def test_a_challenger_of_other_classes_is_refused(arena: Arena) -> None:
    """It was trained on other data than it is tested with."""
    with pytest.raises(EvaluationError, match=r"The challenger .* knows the classes \['9', '8'.* the data has \['0'"):
        arena.evaluate("k", "reversed")
    assert record.find(arena.state.run("k"), Evaluated) is None


def test_a_champion_with_its_classes_in_another_order_is_read_by_name(arena: Arena) -> None:
    """Its answers are put into the order of the data; that is no change of classes."""
    evaluated = arena.evaluate("ordered", registry=arena.champion("reversed"))
    assert evaluated.class_change is None
    assert evaluated.champion is not None
    assert evaluated.champion.classes == TEN
    answers = arena.plainly("reversed")(arena.test.images(np.arange(96)))[:, ::-1]
    kept = Predictions.load(arena.state.run("ordered") / CHAMPION_FILE)
    np.testing.assert_allclose(kept.probabilities, answers, atol=1e-6)


# ------------------------------------------------------------------ classes that changed


def test_other_classes_are_compared_on_what_both_know(arena: Arena) -> None:
    """Both on the examples of common classes, choosing among those only; the whole scorecard stays the challenger's."""
    evaluated = arena.evaluate("changed", registry=arena.champion("grown"))
    folder, change = arena.state.run("changed"), evaluated.class_change
    assert evaluated.champion is None
    assert evaluated.incomparable is None
    assert change is not None
    assert (change.added, change.removed, change.renamed) == (["0", "8", "9"], ["nought", "x"], {})
    assert change.common == TEN[1:8]
    kept = np.flatnonzero(np.isin(arena.test.labels, range(1, 8)))
    ours, theirs = (Predictions.load(folder / name) for name in COMMON_FILES)
    assert ours.identities == theirs.identities == [arena.test.identities[i] for i in kept]
    assert np.array_equal(ours.labels, arena.test.labels[kept] - 1)
    for predictions, name in ((ours, "one"), (theirs, "grown")):
        answers = arena.plainly(name)(arena.test.images(kept))[:, 1:8]
        np.testing.assert_allclose(predictions.probabilities, answers / answers.sum(axis=1, keepdims=True), atol=1e-5)
    assert change.challenger.accuracy == pytest.approx(ours.correct.mean())
    assert change.champion.accuracy == pytest.approx(theirs.correct.mean())
    assert change.champion.parameters
    assert evaluated.challenger.examples == 96


def test_a_renamed_class_is_common(arena: Arena) -> None:
    """Where the recipe says what it was called; a name that the champion never had says nothing."""
    renamed = ("evaluate.renamed.nought='0'", "evaluate.renamed.never='9'")
    change = arena.evaluate("renamed", "one", arena.champion("grown"), None, *renamed).class_change
    assert change is not None
    assert change.renamed == {"nought": "0"}
    assert change.common == TEN[:8]
    assert (change.added, change.removed) == (["8", "9"], ["x"])


def test_a_class_can_only_be_renamed_to_one_there_is(arena: Arena) -> None:
    """The recipe's mistake is told with the nearest name."""
    with pytest.raises(RecipeError, match=r"evaluate\.renamed names the new class '10'. Did you mean"):
        arena.evaluate("k", "one", None, None, "evaluate.renamed.ten='10'")


def test_too_few_common_classes_cannot_be_compared(arena: Arena) -> None:
    """The challenger is scored all the same; what to do is said."""
    evaluated = arena.evaluate("nothing in common", registry=arena.champion("animals"))
    assert (evaluated.champion, evaluated.class_change, evaluated.champion_version) == (None, None, "2")
    assert evaluated.incomparable is not None
    assert "10 added (0, 1, 2, 3, 4 and 5 more), 2 removed (cats, dogs)" in evaluated.incomparable
    assert "evaluate.renamed" in evaluated.incomparable


# ------------------------------------------------------------------ what the training left


def test_a_model_that_answers_as_it_was_trained_is_golden(arena: Arena) -> None:
    """The images are real ones of the split, and how far the answers are apart is told."""
    arena.leave("one", golden=golden.answers_of(arena.plainly_keras("one"), arena.test))
    found = arena.evaluate("golden").golden
    assert found is not None
    assert found.images == golden.IMAGES
    assert 0 <= found.difference <= found.tolerance == golden.TOLERANCE


def test_a_model_that_answers_otherwise_than_it_was_trained_stops_the_run(arena: Arena) -> None:
    """The registered files are not what came out of the training; nothing is recorded."""
    arena.leave("judged", golden=golden.answers_of(arena.plainly_keras("one"), arena.test))
    with pytest.raises(EvaluationError, match="answers its 8 golden images otherwise than when its training") as caught:
        arena.evaluate("not golden", "judged")
    assert "differ by up to 0." in caught.value.message
    assert "What is registered is not what was trained" in caught.value.remedy
    assert record.find(arena.state.run("not golden"), Evaluated) is None


def test_a_model_without_golden_images_is_judged_without(arena: Arena) -> None:
    """An older version's training left none."""
    assert arena.evaluate("older", "second").golden is None


@pytest.mark.parametrize(("shared", "split"), [(5, "train"), (3, "validation"), (0, "train")])
def test_a_champion_that_knows_test_examples_is_not_scored(shared: int, split: str, arena: Arena) -> None:
    """Its figures would be too good. Counted by the identities that its training left."""
    test = list(arena.test.identities)
    seen = {name: hygiene.compact([f"{number:064x}" for number in range(50)]) for name in ("train", "validation")}
    seen[split] = hygiene.compact(test[:shared] + [f"{number:064x}" for number in range(50)])
    arena.leave("judged", identities=seen)
    evaluated = arena.evaluate(f"shared {shared} {split}", registry=arena.champion("judged"))
    assert evaluated.shared_with_training == shared
    if shared == 0:
        assert evaluated.champion is not None
        assert evaluated.incomparable is None
        return
    assert (evaluated.champion, evaluated.champion_version, evaluated.changed_sides) == (None, "2", [])
    assert evaluated.incomparable is not None
    assert (
        f"knows {shared} of the 96 test examples from its training: {shared} in its {split}" in evaluated.incomparable
    )
    assert "data.test_fraction" in evaluated.incomparable


def test_what_was_not_recorded_is_not_known(arena: Arena, capsys: pytest.CaptureFixture[str]) -> None:
    """The champion of an older training is scored, and that its images are unknown is told."""
    evaluated = arena.evaluate("unrecorded", registry=arena.champion("one"))
    assert evaluated.champion is not None
    assert evaluated.shared_with_training is None
    assert "left no record of its training images" in capsys.readouterr().out


# ------------------------------------------------------------------ sides that changed


def test_the_examples_that_changed_sides_are_kept_as_pictures(arena: Arena) -> None:
    """Newly wrong first, the largest change of the true class's probability first, with what both answered."""
    evaluated = arena.evaluate("sides", "one", arena.champion("other"), None, "evaluate.mistakes=2")
    folder = arena.state.run("sides")
    ours, theirs = (Predictions.load(folder / name) for name in (CHALLENGER_PREDICTIONS, CHAMPION_FILE))
    wrong, right = theirs.correct & ~ours.correct, ours.correct & ~theirs.correct
    assert (evaluated.newly_wrong, evaluated.newly_right) == (wrong.sum(), right.sum())
    assert [one.newly_right for one in evaluated.changed_sides] == [False, False, True, True]
    rows = np.arange(96)
    change = np.abs(ours.probabilities[rows, ours.labels] - theirs.probabilities[rows, theirs.labels])
    paths = arena.test.table["path"].to_pylist()
    for newly, changed in ((False, wrong), (True, right)):
        expected = sorted(np.flatnonzero(changed), key=lambda index: -change[index])[:2]
        shown = [one for one in evaluated.changed_sides if one.newly_right is newly]
        for index, one in zip(expected, shown, strict=True):
            assert one.source == paths[index]
            assert one.truth == TEN[ours.labels[index]]
            assert (one.challenger, one.champion) == (TEN[ours.predicted[index]], TEN[theirs.predicted[index]])
            picture = np.asarray(Image.open(folder / one.file))
            assert np.array_equal(picture[8::16, 8::16], arena.test.image(int(index)))


def test_pictures_of_an_earlier_evaluation_are_gone(arena: Arena) -> None:
    """What lies in the folder is of the evaluation that is recorded there."""
    arena.evaluate("again", "one", arena.champion("other"), None, "evaluate.mistakes=9")
    arena.evaluate("again", "one", None, None, "evaluate.mistakes=1")
    assert [path.name for path in arena.state.run("again").glob("*.png")] == ["mistake-01.png"]


# ------------------------------------------------------------------ time


def test_both_models_are_timed_in_alternation(arena: Arena) -> None:
    """One image and 32, medians and the rounds' own ratio; without a champion there is no ratio."""
    both = arena.evaluate("timed", "one", arena.champion("other"), None, "evaluate.latency=true").latency
    assert [one.batch for one in both] == [1, 32]
    for one in both:
        assert one.rounds >= 5
        assert min(one.challenger_ms, one.champion_ms or 0) > 0
        assert one.ratio_low <= one.ratio <= one.ratio_high  # type: ignore[operator]
    alone = arena.evaluate("timed alone", "one", None, None, "evaluate.latency=true").latency
    assert {(one.champion_ms, one.ratio) for one in alone} == {(None, None)}


# ------------------------------------------------------------------ who the champion is


def entry(number: int, event: str, version: str | None, run_key: str | None = None) -> Entry:
    return Entry(
        number=number,
        event=event,
        version=version,
        previous=None,
        run_key=run_key,
        verdict_digest=None,
        reason="r",
        tick=None,
        at=record.now(),
    )


def test_the_champion_is_the_one_that_the_ledger_names(arena: Arena) -> None:
    """Whatever the alias says; where the ledger says that nobody is, nobody is."""
    registry, ledger = arena.champion("other"), MemoryLedger()
    registry.create_version("tiny", arena.models["one"].uri, "r", {})
    ledger.append(entry(1, "force", "3"), 0)
    assert arena.evaluate("by ledger", registry=registry, ledger=ledger).champion_version == "3"
    ledger.append(entry(2, "retire", None), 1)
    assert arena.evaluate("retired", registry=registry, ledger=ledger).champion_version is None


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


@pytest.mark.parametrize(("event", "version"), [("promote", "2"), ("keep", "1")])
def test_an_evaluation_that_was_decided_on_stands(
    event: str, version: str, arena: Arena, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that goes on after its decision does not put its own promoted model up as its own champion."""
    first = arena.evaluate("decided")
    ledger = MemoryLedger()
    ledger.append(entry(1, event, version, "decided"), 0)
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
    assert f"challenger: accuracy {evaluated.challenger.accuracy:.4f} (0." in said
    assert ") on 96 test examples" in said
    assert "champion (version 2): accuracy " in said
    assert f"test examples newly right: {evaluated.newly_right}, newly wrong: {evaluated.newly_wrong}\n" in said
