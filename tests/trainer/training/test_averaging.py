"""The moving average against its closed form, and the swap of weights."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.config import Ema
from trainer.training.averaging import Average

RANDOM = np.random.default_rng(0)


@pytest.fixture
def model() -> keras.Model:
    """With weights, statistics and the state of dropout."""
    return keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)]
    )


def values(variables: list[keras.Variable]) -> list[np.ndarray]:
    return [v.numpy() for v in variables]


def change(model: keras.Model) -> list[np.ndarray]:
    for weight in model.weights:
        weight.assign(RANDOM.normal(0, 1, weight.shape))
    return values(model.weights)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("decay", [0.5, 0.9999])
def test_the_average_is_that_of_its_closed_form(model: keras.Model, decay: float, every: int, compiled: bool) -> None:
    """a ← k·a + (1 - k)·w, where k is the product of min(decay, (1 + t)/(10 + t)) over the steps since the last."""
    expected = change(model)
    average = Average(model, Ema(decay=decay, every=every))
    follow = tf.function(average.follow) if compiled else average.follow
    for step in range(1, 13):
        weights = change(model)
        follow()
        if step % every == 0:
            kept = np.prod([min(decay, (1 + t) / (10 + t)) for t in range(step - every + 1, step + 1)])
            expected = [kept * old + (1 - kept) * new for old, new in zip(expected, weights, strict=True)]
    with average.in_place():
        for found, wanted in zip(values(model.weights), expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_statistics_are_averaged_and_the_state_of_dropout_is_not(model: keras.Model) -> None:
    """What Keras' own average of weights leaves out; a seed has no average."""
    names = {name.partition("/")[2] or name for name in Average(model, Ema()).variables}
    kinds = {name.rpartition("/")[2] for name in names}
    assert kinds == {"kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance", "steps"}


def test_it_begins_with_the_weights_the_model_has(model: keras.Model) -> None:
    """Those it was filled with, and not those it was made with; and keeps them when the model's change."""
    begun = change(model)
    average = Average(model, Ema())
    change(model)
    with average.in_place():
        assert all(np.array_equal(a, b) for a, b in zip(values(model.weights), begun, strict=True))


def test_the_weights_are_back_to_the_bit_whatever_happens(model: keras.Model) -> None:
    """After an error too; a swap within a swap is none; and the average is not touched by either."""
    average = Average(model, Ema())
    own = change(model)
    kept = values(list(average.variables.values()))

    def look() -> None:
        with average.in_place(), average.in_place():
            assert average.applied
            assert not np.array_equal(values(model.weights)[0], own[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        look()
    assert not average.applied
    assert [v.tobytes() for v in values(model.weights)] == [v.tobytes() for v in own]
    assert [v.tobytes() for v in values(list(average.variables.values()))] == [v.tobytes() for v in kept]


def test_the_inner_of_two_swaps_leaves_the_average_in_place(model: keras.Model) -> None:
    """Whoever judges within an export does not undo it."""
    average = Average(model, Ema())
    own = change(model)
    with average.in_place():
        with average.in_place():
            pass
        assert not np.array_equal(values(model.weights)[0], own[0])
