"""A file's content and a network's variables: all of them once, or none, or a message that names the one."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from trainer.errors import WeightsError
from trainer.weights.content import Content, units
from trainer.weights.filling import Filled, fill

REMEDY = "Give the right file."
CLASSES = 4


def network(classes: int = CLASSES, auxiliary: bool = False, gamma: bool = False) -> keras.Model:
    """Two convolutions, a classifier and, if asked for, an auxiliary one, named as those of the zoo are."""
    image = keras.Input((9, 9, 3))
    x = image
    for step in (1, 2):
        x = keras.layers.Conv2D(5, 3, use_bias=False, name=f"stem.{step}_3x3.conv")(x)
        x = keras.layers.BatchNormalization(scale=gamma, epsilon=1e-3, name=f"stem.{step}_3x3.bn")(x)
    outputs = {"main": keras.layers.Dense(classes, name="head.logits")(keras.layers.GlobalAveragePooling2D()(x))}
    if auxiliary:
        y = keras.layers.Conv2D(6, 5, use_bias=False, padding="valid", name="aux_1.wide.1_5x5.conv")(x)
        y = keras.layers.GlobalAveragePooling2D()(y)
        outputs["aux_1"] = keras.layers.Dense(classes, name="aux_1.logits")(y)
    return keras.Model(image, outputs, name="small")


def content(of: keras.Model, background: bool = False, **changes: Any) -> Content:
    """What a file of that network holds; `changes` replace arrays, or take them out where None."""
    random = np.random.default_rng(3)
    names = {f"{layer.name}/{v.name}": f"file/{layer.name}/{v.name}" for layer in of.layers for v in layer.weights}
    names |= {f"stem.{step}_3x3.bn/gamma": f"file/stem.{step}_3x3.bn/gamma" for step in (1, 2)}
    arrays = {
        f"file/{layer.name}/{v.name}": random.normal(size=v.shape).astype("float32")
        for layer in of.layers
        for v in layer.weights
    }
    for name, array in changes.items():
        arrays.pop(f"file/{name}", None)
        if array is not None:
            arrays[f"file/{name}"] = array
    return Content("file.bin", arrays, names, background)


def values(of: keras.Model) -> dict[str, np.ndarray]:
    return {f"{layer.name}/{v.name}": np.asarray(v) for layer in of.layers for v in layer.weights}


def test_every_variable_is_set_from_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exactly once each, and nothing is left fresh."""
    target = network(auxiliary=True)
    found = content(target)
    set_: list[str] = []
    real = keras.Variable.assign

    def assign(self: keras.Variable, value: Any) -> Any:
        set_.append(self.path)
        return real(self, value)

    monkeypatch.setattr(keras.Variable, "assign", assign)
    filled = fill(target, found, CLASSES, REMEDY)
    assert sorted(set_) == sorted(v.path for v in target.weights)
    assert filled.fresh == {}
    assert len(filled.loaded) == 7
    for key, value in values(target).items():
        np.testing.assert_array_equal(value, found.arrays[f"file/{key}"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stem.2_3x3.conv/kernel": None}, ["has no file/stem.2_3x3.conv/kernel", "stem.2_3x3.conv/kernel is loaded"]),
        ({"stem.1_3x3.bn/beta": None}, ["has no file/stem.1_3x3.bn/beta"]),
        ({"head.logits/kernel": None}, ["has no file/head.logits/kernel"]),
        ({"stem.1_3x3.conv/kernel": np.zeros((3, 3, 3, 7))}, ["stem.1_3x3.conv/kernel", "3×3×3×7", "3×3×3×5"]),
        ({"stem.1_3x3.bn/beta": np.zeros(())}, ["stem.1_3x3.bn/beta", "of a number"]),
        ({"head.logits/kernel": np.zeros((6, CLASSES))}, ["head.logits/kernel", "6×4", "5×4"]),
        ({"other": np.zeros(2)}, ["holds file/other, for which small has no place"]),
        ({f"other{n}": np.zeros(2) for n in range(5)}, ["file/other0, file/other1, file/other2 and 2 more"]),
        ({"stem.1_3x3.bn/gamma": np.full(5, 1.5)}, ["file/stem.1_3x3.bn/gamma is not 1", "bn_gamma = true"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_does_not_fit_is_refused_and_changes_nothing(changes: dict[str, Any], words: list[str]) -> None:
    """The message names the variable, as the file calls it, and says what to do; no variable was touched."""
    target = network()
    before = values(target)
    with pytest.raises(WeightsError) as caught:
        fill(target, content(target, **changes), CLASSES, REMEDY)
    assert [word for word in ["file.bin", REMEDY, *words] if word not in str(caught.value)] == []
    for key, value in values(target).items():
        np.testing.assert_array_equal(value, before[key])


def test_a_scale_of_ones_is_dropped_from_a_network_that_has_none() -> None:
    """It changes nothing, so it is no surplus."""
    target = network()
    ones = {f"stem.{step}_3x3.bn/gamma": np.ones(5) for step in (1, 2)}
    assert fill(target, content(target, **ones), CLASSES, REMEDY).fresh == {}


def test_a_network_with_a_scale_takes_the_files() -> None:
    """`bn_gamma = true` keeps what the weights were trained with."""
    target = network(gamma=True)
    found = content(target)
    fill(target, found, CLASSES, REMEDY)
    gamma = values(target)["stem.2_3x3.bn/gamma"]
    np.testing.assert_array_equal(gamma, found.arrays["file/stem.2_3x3.bn/gamma"])
    assert not np.allclose(gamma, 1)


def test_a_network_with_a_scale_takes_one_where_the_file_has_none() -> None:
    """Which is what weights without a scale mean, whatever the variable held before."""
    target = network(gamma=True)
    for layer in target.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.gamma.assign(np.full(5, 3.0))
    without = content(target, **{f"stem.{step}_3x3.bn/gamma": None for step in (1, 2)})
    fill(target, without, CLASSES, REMEDY)
    np.testing.assert_array_equal(values(target)["stem.1_3x3.bn/gamma"], np.ones(5))


def test_a_classifier_of_other_classes_stays_fresh() -> None:
    """And is said to; the rest is loaded."""
    target = network()
    before = values(target)["head.logits/kernel"]
    filled = fill(target, content(network(classes=9)), CLASSES, REMEDY)
    assert filled == Filled(
        tuple(f"stem.{step}_3x3.{part}" for step in (1, 2) for part in ("conv", "bn")),
        {"head.logits": "the file has 9 classes, the network 4"},
    )
    np.testing.assert_array_equal(values(target)["head.logits/kernel"], before)


def test_a_file_without_a_classifier_leaves_it_fresh() -> None:
    """As keras.applications' weights without their top do."""
    target = network()
    headless = content(target, **{"head.logits/kernel": None, "head.logits/bias": None})
    assert fill(target, headless, CLASSES, REMEDY).fresh == {"head.logits": "the file has none"}


@pytest.mark.parametrize(("background", "fresh"), [(True, False), (False, True)])
def test_the_background_class_is_dropped_where_the_file_has_one(background: bool, fresh: bool) -> None:
    """1001 classes for 1000: the first is nobody's. A file of a kind that has none is of other classes."""
    target = network(classes=1000)
    found = content(network(classes=1001), background)
    filled = fill(target, found, 1000, REMEDY)
    assert ("head.logits" in filled.fresh) is fresh
    if not fresh:
        after = values(target)
        np.testing.assert_array_equal(after["head.logits/kernel"], found.arrays["file/head.logits/kernel"][:, 1:])
        np.testing.assert_array_equal(after["head.logits/bias"], found.arrays["file/head.logits/bias"][1:])


def test_a_file_of_1001_classes_fills_a_network_of_1001() -> None:
    """Nothing is dropped from classes that fit."""
    target = network(classes=1001)
    assert fill(target, content(target, background=True), 1001, REMEDY).fresh == {}


def test_auxiliary_classifiers_without_weights_stay_fresh() -> None:
    """Whole, and with the reason."""
    target = network(auxiliary=True)
    body = content(
        target, **dict.fromkeys(("aux_1.wide.1_5x5.conv/kernel", "aux_1.logits/kernel", "aux_1.logits/bias"))
    )
    assert fill(target, body, CLASSES, REMEDY).fresh == dict.fromkeys(
        ("aux_1.wide.1_5x5.conv", "aux_1.logits"), "the file has none"
    )


def test_an_auxiliary_classifier_for_another_image_size_stays_fresh() -> None:
    """Its kernel is as large as the grid it was made for."""
    target = network(auxiliary=True)
    other = content(target, **{"aux_1.wide.1_5x5.conv/kernel": np.zeros((4, 4, 5, 6))})
    filled = fill(target, other, CLASSES, REMEDY)
    assert set(filled.fresh) == {"aux_1.wide.1_5x5.conv", "aux_1.logits"}
    assert set(filled.fresh.values()) == {"the file's is for images of another size"}


def test_half_an_auxiliary_classifier_is_refused() -> None:
    """What the file begins it must finish."""
    target = network(auxiliary=True)
    with pytest.raises(WeightsError, match=r"has no file/aux_1.wide.1_5x5.conv/kernel"):
        fill(target, content(target, **{"aux_1.wide.1_5x5.conv/kernel": None}), CLASSES, REMEDY)


def test_a_unit_knows_its_place() -> None:
    """Convolution and normalisation go together; a classifier stands alone."""
    first, second, head = units(network())
    assert (first.stage, first.step, first.kernel, first.branch) == ("stem", 1, "3x3", 0)
    assert second.norm is not None
    assert second.norm.name == "stem.2_3x3.bn"
    assert (head.name, head.norm, head.step) == ("head.logits", None, 0)
