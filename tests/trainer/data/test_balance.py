"""Rare classes: shown more often, or weighing more."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from trainer.data.balance import balanced_order, class_weights
from trainer.errors import RecipeError

LABELS = np.repeat([0, 1, 2, 3], [50, 3, 20, 1]).astype(np.int32)


@pytest.mark.parametrize("length", [74, 72, 40, 7, 1])
@pytest.mark.parametrize("epoch", range(3))
def test_every_class_comes_equally_often(length: int, epoch: int) -> None:
    """To one image, and of a class every image before one comes again."""
    order = balanced_order(LABELS, 5, epoch, length)
    assert len(order) == length
    shown = Counter(LABELS[order].tolist())
    assert max(shown.values()) - min(shown.get(label, 0) for label in range(4)) <= 1
    images = Counter(order.tolist())
    for label in range(4):
        times = [images[index] for index, own in enumerate(LABELS) if own == label]
        assert max(times) - min(times) <= 1


def test_orders_repeat_and_differ_between_epochs_and_seeds() -> None:
    """They are drawn from (seed, epoch); classes are mixed with each other."""
    order = balanced_order(LABELS, 5, 0, 72)
    assert np.array_equal(order, balanced_order(LABELS, 5, 0, 72))
    assert not np.array_equal(order, balanced_order(LABELS, 5, 1, 72))
    assert not np.array_equal(order, balanced_order(LABELS, 6, 0, 72))
    assert (np.diff(LABELS[order]) != 0).sum() > 30


def test_who_is_shown_once_more_changes() -> None:
    """Where an epoch does not come out even, it is not always the same class that has one image more."""
    favoured = {tuple(np.bincount(LABELS[balanced_order(LABELS, 0, epoch, 73)])) for epoch in range(20)}
    assert len(favoured) == 4


def test_no_image_of_a_frequent_class_is_left_out_for_good() -> None:
    """An epoch has no place for all of them, and the next one takes others."""
    shown = {int(index) for epoch in range(60) for index in balanced_order(LABELS, 0, epoch, 40)}
    assert shown == set(range(len(LABELS)))


NAMES = ["cats", "dogs", "fish"]


def test_balanced_weights_make_all_classes_weigh_the_same() -> None:
    """n / (K · n_k): the sum over an epoch is the number of images."""
    weights = class_weights([60, 30, 10], "balanced", NAMES)
    assert weights is not None
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, [100 / 180, 100 / 90, 100 / 30], rtol=1e-6)
    np.testing.assert_allclose(weights * [60, 30, 10], 100 / 3, rtol=1e-6)


def test_a_table_gives_the_weights_in_the_order_of_the_classes() -> None:
    """And `none` is none at all."""
    weights = class_weights([1, 1, 1], {"fish": 3.0, "cats": 1.0, "dogs": 0.5}, NAMES)
    assert weights is not None
    assert weights.tolist() == [1.0, 0.5, 3.0]
    assert class_weights([1, 1, 1], "none", NAMES) is None


@pytest.mark.parametrize(
    ("table", "says", "remedy"),
    [
        ({"cats": 1.0, "dogs": 1.0, "fisch": 2.0}, "names the class 'fisch'", "Did you mean 'fish'?"),
        ({"cats": 1.0, "birds": 1.0}, "names the class 'birds'", "Known: cats, dogs, fish."),
        ({"cats": 1.0}, "leaves out 'dogs', 'fish'", "Give every class a factor"),
    ],
)
def test_a_table_that_does_not_fit_the_classes_is_refused(table: dict[str, float], says: str, remedy: str) -> None:
    """With the class in question, and the nearest there is."""
    with pytest.raises(RecipeError, match=says) as caught:
        class_weights([1, 1, 1], table, NAMES)
    assert remedy in caught.value.remedy
