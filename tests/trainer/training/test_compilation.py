"""How steps are compiled: measured both ways on a state that stays as it was, remembered, and said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.config import Recipe
from trainer.training import compilation
from trainer.training.compilation import Measured, identity, keep, measure, settle
from trainer.training.devices import Devices
from trainer.training.learner import Learner

CLASSES = 10
DEFAULT = tf.distribute.get_strategy()
CPU = Devices(("/cpu:0",), "CPU (x86_64)", False, (), DEFAULT)
GPU = Devices(("/cpu:0",), "1 GPU (in name only)", True, ((9, 0),), DEFAULT)
TWO = Devices(("/cpu:0", "/cpu:1"), "2 GPUs (in name only)", True, ((9, 0), (9, 0)), DEFAULT)

MakeRecipe = Callable[..., Recipe]


@pytest.fixture
def recipe(digits: Any) -> MakeRecipe:
    return lambda *overrides: digits.recipe("train.ema={decay=0.9}", *overrides)


def learner(recipe: Recipe, layer: keras.layers.Layer | None = None, dropout: float = 0.3) -> Learner:
    """A small network with dropout, batch normalisation and an average; `layer` is put into it."""
    keras.utils.set_random_seed(5)
    images = keras.Input((8, 8, 3), dtype="uint8")
    x = keras.layers.Conv2D(4, 3, name="conv")(keras.layers.Rescaling(1 / 255)(images))
    x = keras.layers.BatchNormalization(name="norm")(x if layer is None else layer(x))
    x = keras.layers.Dropout(dropout)(keras.layers.Flatten()(x))
    logits = keras.layers.Dense(CLASSES, name="dense")(x)
    return Learner(keras.Model(images, {"main": logits}), recipe.train, CLASSES)


def batch() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.integers(0, 256, (16, 8, 8, 3), np.uint8), random.integers(0, CLASSES, 16).astype(np.int32)


def step(one: Learner, times: int = 1) -> None:
    one.advance(iter(tf.data.Dataset.from_tensors(batch()).repeat(times)), [0.01] * times)


def unasked() -> tuple[np.ndarray, np.ndarray]:
    raise AssertionError("nothing was to be measured")


class Uncompilable(keras.layers.Layer):
    """What only Python can compute, XLA cannot."""

    def call(self, x: Any) -> Any:
        return tf.ensure_shape(tf.grad_pass_through(lambda y: tf.numpy_function(np.abs, [y], tf.float32))(x), x.shape)


def test_measuring_leaves_the_state_as_it_was(recipe: MakeRecipe) -> None:
    """To the bit, mid-training: weights, statistics, dropout, average, optimiser, sums. Both ways ran."""
    one = learner(recipe())
    step(one, 3)
    before, score = one.state(), one.score()
    measured = measure(one, batch)
    after = one.state()
    assert 0 < measured.graph < 60
    assert 0 < measured.xla < 60
    assert [name for name in before if before[name].tobytes() != after[name].tobytes()] == []
    assert one.score()[:4] == score[:4]


def test_a_measured_answer_is_said_and_remembered(
    recipe: MakeRecipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With both figures; the second training asks for no batch, and a damaged answer is measured anew."""
    one = learner(recipe())
    first = settle(one, recipe(), None, GPU, batch, tmp_path)
    said = capsys.readouterr().out
    [file] = (tmp_path / "compilation").iterdir()
    kept = json.loads(file.read_text())
    assert first == Measured(kept["graph_seconds"], kept["xla_seconds"]).faster
    figures = [f"{kept[f'{way}_seconds'] * 1e3:.1f} ms" for way in ("graph", "xla")]
    assert all(figure in said for figure in [*figures, "measured now", "1 GPU"])
    assert settle(one, recipe(), None, GPU, unasked, tmp_path) == first
    said = capsys.readouterr().out
    assert all(figure in said for figure in [*figures, "measured before"])
    file.write_text("{")
    with pytest.raises(AssertionError, match="nothing was to be measured"):
        settle(one, recipe(), None, GPU, unasked, tmp_path)


@pytest.mark.parametrize(
    ("graph", "xla", "chosen"), [(1.0, 0.5, "xla"), (1.0, 0.99, "graph"), (1.0, 2.0, "graph"), (1.0, None, "graph")]
)
def test_the_remembered_figures_decide(
    recipe: MakeRecipe, tmp_path: Path, graph: float, xla: float | None, chosen: str
) -> None:
    """XLA must be worth its compiling; where it could not compile, it is not tried again."""
    one = learner(recipe())
    name = compilation.place(identity(recipe(), GPU), tmp_path)
    keep(name, Measured(graph, float("inf") if xla is None else xla), {})
    assert settle(one, recipe(), None, GPU, unasked, tmp_path) == chosen
    step(one)


@pytest.mark.parametrize(
    ("override", "same"),
    [
        ("train.batch_size=32", False),
        ("train.micro_batch_size=8", False),
        ("model.width=0.2", False),
        ('train.optimizer={name="sgd"}', False),
        ("train.seed=9", True),
        ("train.epochs=7", True),
        ("model.init=champion", True),
    ],
)
def test_an_answer_holds_for_the_same_work_on_the_same_device(recipe: MakeRecipe, override: str, same: bool) -> None:
    """What a step computes and where; not how long it is trained, or from what."""
    assert (identity(recipe(override), GPU) == identity(recipe(), GPU)) == same


def test_an_answer_holds_for_one_device_and_one_precision(recipe: MakeRecipe) -> None:
    """Each has its own."""
    before = identity(recipe(), GPU)
    assert identity(recipe(), TWO) != before
    keras.config.set_dtype_policy("mixed_bfloat16")
    assert identity(recipe(), GPU) != before


@pytest.mark.parametrize("asked", ["auto", "graph", "xla"])
@pytest.mark.parametrize("kept", ["graph", "xla"])
def test_a_resumed_training_keeps_its_way(
    recipe: MakeRecipe, tmp_path: Path, asked: str, kept: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the recipe or a measurement would say."""
    one = learner(recipe())
    assert settle(one, recipe(f"train.compilation={asked}"), kept, GPU, unasked, tmp_path) == kept
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("asked", "devices", "said"),
    [("auto", CPU, ""), ("graph", CPU, ""), ("graph", GPU, ""), ("auto", TWO, "2 GPUs"), ("xla", TWO, "2 GPUs")],
)
def test_graphs_are_taken_unmeasured_where_xla_does_not_pay(
    recipe: MakeRecipe, tmp_path: Path, asked: str, devices: Devices, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a processor, or where the recipe says so; several GPUs are told."""
    one = learner(recipe())
    assert settle(one, recipe(f"train.compilation={asked}"), None, devices, unasked, tmp_path) == "graph"
    note = capsys.readouterr().out
    assert said in note
    assert bool(note) == bool(said)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("asked", ["auto", "xla"])
def test_what_xla_cannot_compile_becomes_a_graph(
    recipe: MakeRecipe, tmp_path: Path, asked: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a note; the state is untouched and the training goes on."""
    asking = recipe(f"train.compilation={asked}")
    one = learner(asking, Uncompilable())
    before = one.state()
    assert settle(one, asking, None, GPU, batch, tmp_path) == "graph"
    after = one.state()
    assert [name for name in before if before[name].tobytes() != after[name].tobytes()] == []
    said = capsys.readouterr().out
    assert "compiled as a graph" in said
    assert "cannot compile" in said
    step(one)
    assert one.score().examples == 16


def test_xla_compiles_where_the_recipe_asks_for_it(recipe: MakeRecipe, tmp_path: Path) -> None:
    """Nothing is measured or remembered, and the step computes what the graph's computes."""
    asking = recipe("train.compilation=xla")
    states = []
    for way in ("graph", "xla"):
        one = learner(asking, dropout=0.0)
        assert settle(one, recipe(f"train.compilation={way}"), None, CPU, batch, tmp_path) == way
        step(one)
        states.append({name: array for name, array in one.state().items() if "kernel" in name})
    assert not list(tmp_path.iterdir())
    for name, array in states[0].items():
        np.testing.assert_allclose(states[1][name], array, rtol=1e-3, atol=1e-4)
