"""Warm starts: a network begins with the registered champion's weights, from a real registry."""

from __future__ import annotations

import hashlib
import itertools
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from trainer import tracking
from trainer.config import Model, Recipe
from trainer.errors import RecipeError, RegistryError
from trainer.models import classifier, zoo
from trainer.registry import opened_registry
from trainer.registry.protocol import CHAMPION
from trainer.state import State
from trainer.weights import champion
from trainer.weights.served import Start

CLASSES = ["cat", "dog", "eel"]
MODEL = "variant='inception_module',width=0.1,image_size=8"
SCRATCH_EVERY_THIRD = "train.scratch_every=3"


def weights(model: Model, classes: int, seed: int) -> dict[str, Any]:
    """As a training leaves them: no zeros, auxiliary classifiers included."""
    keras.utils.set_random_seed(seed)
    network = classifier.for_training(model, classes, (8, 8))
    return {path: array + np.float32(0.01 * seed) for path, array in classifier.weights_of(network).items()}


class Shelf:
    """One registry for the module; every test registers under a name of its own."""

    def __init__(self, state: State, digits: Any) -> None:
        self.state, self.digits = state, digits
        self.registry = opened_registry(state)
        self.logged: dict[int, str] = {}
        self.numbers = itertools.count()
        self.trained = [weights(self.recipe("any").model, 3, seed) for seed in (1, 2)]

    def name(self) -> str:
        return f"model-{next(self.numbers)}"

    def recipe(self, name: str, model: str = MODEL, *overrides: str) -> Recipe:
        recipe: Recipe = self.digits.recipe(f"model={{{model},init='champion'}}", f"registry.name={name}", *overrides)
        return recipe

    def uri(self, members: int) -> str:
        """A logged model of one or two networks; the one of two looks at all of the paper's views."""
        if members not in self.logged:
            model = self.recipe("any", MODEL + (",test_time={crops='paper'}" if members > 1 else "")).model
            served = classifier.for_serving(self.trained[:members], model, 3)
            from trainer.train import _signature

            example = np.zeros((1, 8, 8, 3), np.uint8)
            with tracking.open_run(self.state, "shelf", f"key-{members}", f"of {members}") as run:
                self.logged[members] = run.log_model(served, _signature(3), example, [], {"classes": CLASSES})
        return self.logged[members]

    def register(self, recipe: Recipe, uri: str | None = None, members: int = 1, tag: str | None = None) -> str:
        """A champion that the recipe made; `tag` instead of the recipe's text."""
        name = recipe.registry.name
        made = self.registry.create_version(
            name, uri or self.uri(members), "", {"recipe": recipe.canonical() if tag is None else tag}
        )
        self.registry.set_alias(name, CHAMPION, made.version)
        return made.version


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory, mlflow_template: Path, digits: Any) -> Shelf:
    state = State.open(tmp_path_factory.mktemp("shelf"))
    shutil.copyfile(mlflow_template, state.mlflow_database)
    return Shelf(state, digits)


def network(recipe: Recipe, classes: int = 3) -> keras.Model:
    return zoo.build(recipe.model, classes)


def same(one: keras.Model, held: dict[str, Any]) -> bool:
    return all(np.array_equal(variable.numpy(), held[variable.path]) for variable in one.weights)


def test_a_network_begins_with_the_champions_weights(shelf: Shelf) -> None:
    """All of them, to the bit; the version and the checksum of its file are told."""
    recipe = shelf.recipe("plain")
    shelf.register(recipe, uri=shelf.uri(1))
    version = shelf.register(recipe)
    begun_with = network(recipe)
    start = champion.find(recipe, CLASSES, shelf.state)
    begun = start.fill(begun_with)
    assert same(begun_with, shelf.trained[0])
    assert begun.source == f"models:/plain/{version}" == "models:/plain/2"
    [file] = Path(tracking.download(shelf.state, shelf.uri(1), shelf.state.root / "again")).rglob("*.keras")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert begun.tags == {"init": "models:/plain/2", "init_version": "2", "init_sha256": digest}
    assert str(begun) == f"the champion's weights (models:/plain/2, sha256 {digest[:16]}…)"
    assert not list(shelf.state.cache.glob("champion-*"))


def test_networks_of_an_ensemble_begin_with_those_of_the_champion(shelf: Shelf) -> None:
    """Each with the one of its number, also out of a model that looks at many views; one too many stays random."""
    recipe = shelf.recipe("ensemble", MODEL, "train.members=3")
    shelf.register(recipe, members=2)
    start = champion.find(recipe, CLASSES, shelf.state)
    for number in (1, 2):
        begun_with = network(recipe)
        assert start.fill(begun_with, number).source == "models:/ensemble/1"
        assert same(begun_with, shelf.trained[number - 1])
    third = network(recipe)
    before = classifier.weights_of(third)
    begun = start.fill(third, 3)
    assert same(third, before)
    assert begun.source is None
    assert "has no network 3, but 2 in all" in str(begun)


def test_a_single_network_begins_with_the_first_of_an_ensemble(shelf: Shelf) -> None:
    """The members of a champion stand for themselves."""
    recipe = shelf.recipe("fewer")
    shelf.register(recipe, members=2)
    begun_with = network(recipe)
    champion.find(recipe, CLASSES, shelf.state).fill(begun_with)
    assert same(begun_with, shelf.trained[0])


def test_without_a_champion_the_weights_stay_random(shelf: Shelf) -> None:
    """No version yet, or none promoted: no error, and the reason is told."""
    recipe = shelf.recipe("first")
    begun_with = network(recipe)
    before = classifier.weights_of(begun_with)
    begun = champion.find(recipe, CLASSES, shelf.state).fill(begun_with)
    assert same(begun_with, before)
    assert str(begun) == "random weights: first has no champion yet"
    assert begun.tags == {"init": "random", "init_reason": "first has no champion yet"}
    shelf.registry.create_version("first", shelf.uri(1), "", {"recipe": recipe.canonical()})
    assert champion.find(recipe, CLASSES, shelf.state).reason == "first has no champion yet"


@pytest.mark.parametrize(
    ("made", "wanted", "words"),
    [
        ("variant='convnet'", MODEL, ["is convnet, and this is inception_module"]),
        ("variant='inception_module',width=0.2,image_size=8", MODEL, ["has width 0.2, and this 0.1"]),
        (
            "variant='inception_v2',stem='small',bn_gamma=true",
            "variant='inception_v2'",
            ["stem small, and this paper", "bn_gamma True, and this False"],
        ),
        (MODEL + ",module={out_3x3=8}", MODEL, ["has module.out_3x3 8, and this 64"]),
    ],
)
def test_a_champion_that_is_another_network_is_left_alone(
    shelf: Shelf, made: str, wanted: str, words: list[str]
) -> None:
    """It is not even fetched; the reason names what differs."""
    name = shelf.name()
    shelf.register(shelf.recipe(name, made), uri=(shelf.state.root / "gone").as_uri())
    reason = champion.find(shelf.recipe(name, wanted), CLASSES, shelf.state).reason
    assert reason is not None
    assert reason.startswith(f"the champion (models:/{name}/1) ")
    assert [word for word in words if word not in reason] == []


def test_options_that_change_no_variable_may_differ(shelf: Shelf) -> None:
    """Another dropout is no other network."""
    name = shelf.name()
    shelf.register(shelf.recipe(name))
    recipe = shelf.recipe(name, MODEL + ",dropout=0.4")
    assert champion.find(recipe, CLASSES, shelf.state).fill(network(recipe)).source == f"models:/{name}/1"


@pytest.mark.parametrize("tag", ["", "{}", "[]", '{"model": {"variant": "of the future"}}'])
def test_a_champion_of_an_unknown_recipe_is_left_alone(shelf: Shelf, tag: str) -> None:
    """An older or newer version of this project made it, or something else."""
    name = shelf.name()
    shelf.register(shelf.recipe(name), tag=tag)
    reason = champion.find(shelf.recipe(name), CLASSES, shelf.state).reason
    assert reason == f"the champion (models:/{name}/1) has no recipe that this version can read"


def test_a_champion_without_a_network_of_ours_is_left_alone(shelf: Shelf, tmp_path: Path) -> None:
    """Somebody registered other files under the name."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights.txt").write_text("none")
    recipe = shelf.recipe("foreign")
    shelf.register(recipe, uri=(tmp_path / "model").as_uri())
    reason = champion.find(recipe, CLASSES, shelf.state).reason
    assert reason == "the champion (models:/foreign/1) is no model that `inception run` made"


def test_a_damaged_champion_is_an_error(shelf: Shelf, tmp_path: Path) -> None:
    """A registry that has lost its champion is no reason to begin anew in silence."""
    files = tracking.download(shelf.state, shelf.uri(1), tmp_path / "files")
    (files / "data" / "model.keras").write_bytes(b"PK, but no more")
    recipe = shelf.recipe("damaged")
    shelf.register(recipe, uri=files.as_uri())
    with pytest.raises(RegistryError, match="models:/damaged/1 cannot be loaded"):
        champion.find(recipe, CLASSES, shelf.state)
    shelf.register(recipe, uri=(tmp_path / "gone").as_uri())
    with pytest.raises(RegistryError, match="cannot be fetched"):
        champion.find(recipe, CLASSES, shelf.state)


def test_every_third_run_begins_from_scratch(shelf: Shelf) -> None:
    """Counted by the versions of the name; the reason says so."""
    recipe = shelf.recipe("thirds", MODEL, SCRATCH_EVERY_THIRD)
    reasons = []
    for _ in range(6):
        reasons.append(champion.find(recipe, CLASSES, shelf.state).reason)
        shelf.register(recipe)
    assert reasons[0] == "thirds has no champion yet"
    assert [reason is None for reason in reasons] == [False, True, False, True, True, False]
    assert reasons[2] == "this is run 3 of thirds, and train.scratch_every is 3"


def start_of(model: Model, classes: list[str], known: list[str], seed: int = 3) -> Start:
    """A champion by its weights alone."""
    held = weights(model.model_copy(update={"auxiliary": None}), len(known), seed)
    body = {path: array for path, array in held.items() if not path.startswith("aux_")}
    return Start(classes, source="models:/m/1", version="1", sha256="ab" * 32, known=known, members=[body])


SMALL_GOOGLENET = Model(variant="googlenet", stem="small", width=0.1)


@pytest.mark.parametrize(
    ("known", "classes", "carried"),
    [
        (["cat", "dog", "eel"], ["dog", "eel", "cat"], 3),
        (["cat", "dog", "eel"], ["ant", "cat", "dog", "eel", "fox"], 3),
        (["cat", "dog", "eel"], ["eel", "yak"], 1),
        (["cat", "dog"], ["ant", "bee"], 0),
    ],
)
def test_known_classes_are_carried_over_by_name(known: list[str], classes: list[str], carried: int) -> None:
    """Their columns move to their new places; new classes keep their random ones; the body is the champion's."""
    start = start_of(SMALL_GOOGLENET, classes, known)
    begun_with = zoo.build(SMALL_GOOGLENET, len(classes))
    fresh = classifier.weights_of(begun_with)
    words = str(start.fill(begun_with))
    assert f"{carried} of {len(classes)} are known to the champion's classifier" in words
    assert "auxiliary classifiers fresh" in words
    [held], now = start.members, classifier.weights_of(begun_with)
    for path, array in now.items():
        if path.startswith("aux_"):
            assert np.array_equal(array, fresh[path])
        elif path.startswith("head.logits"):
            for column, name in enumerate(classes):
                expected = held[path][..., known.index(name)] if name in known else fresh[path][..., column]
                assert np.array_equal(array[..., column], expected)
        else:
            assert np.array_equal(array, held[path])


def test_one_unit_for_two_classes_is_taken_whole_or_not_at_all() -> None:
    """It says how much the second class is likelier than the first: with other classes it means nothing."""
    convnet = Model(variant="convnet", width=0.1, image_size=46)
    for classes, moved in ((["cat", "dog"], True), (["dog", "cat"], False), (["cat", "dog", "eel"], False)):
        start = start_of(convnet, classes, ["cat", "dog"])
        begun_with = zoo.build(convnet, len(classes))
        fresh = classifier.weights_of(begun_with)["head.logits/kernel"]
        start.fill(begun_with)
        now = classifier.weights_of(begun_with)["head.logits/kernel"]
        assert np.array_equal(now, start.members[0]["head.logits/kernel"] if moved else fresh)


def test_a_classifier_for_another_image_size_is_another_network() -> None:
    """The flat classifier of the single module grows with the image: nothing is set, and the shapes are told."""
    larger = Model(variant="inception_module", width=0.1, image_size=16)
    start = start_of(Model(variant="inception_module", width=0.1, image_size=8), CLASSES, CLASSES)
    begun_with = zoo.build(larger, 3)
    before = classifier.weights_of(begun_with)
    words = str(start.fill(begun_with))
    assert same(begun_with, before)
    assert words == "random weights: head.logits/kernel has the shape 1536 in the champion and 6144 in this network"


@pytest.mark.parametrize("whose", ["champion", "network"])
def test_a_variable_that_only_one_has_is_named(whose: str) -> None:
    """A graph that changed since then is another network."""
    model = Model(variant="inception_module", width=0.1, image_size=8)
    start = start_of(model, CLASSES, CLASSES)
    [held] = start.members
    changed = dict(held)
    if whose == "champion":
        changed["module.extra/kernel"] = np.zeros(3, "float32")
    else:
        del changed["head.logits/bias"]
    words = str(replace(start, members=[changed]).fill(zoo.build(model, 3)))
    assert ("only the champion has" if whose == "champion" else "only this network has") in words


def test_scratch_every_goes_with_a_warm_start_only(digits: Any) -> None:
    """Elsewhere every run begins from scratch, or with published weights: the recipe is refused, by the key."""
    digits.recipe("model.init=champion", SCRATCH_EVERY_THIRD)
    for init in ([], ["model={variant='inception_v3',init='imagenet'}"]):
        with pytest.raises(RecipeError, match=r"train\.scratch_every 3 .* model\.init"):
            digits.recipe(*init, SCRATCH_EVERY_THIRD)
