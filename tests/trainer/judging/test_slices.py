"""The test examples divided by what is known of them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from trainer import config
from trainer.errors import RecipeError
from trainer.judging.slices import COLUMNS, MOST_VALUES, groups
from trainer.scorecard import Predictions, score
from trainer.sections.decision import SLICES

TABLE = pa.table(
    {
        "label": pa.array([1, 0, 1, 0], pa.int32()),
        "path": ["b/x.png", "a/1.png", "b/y.png", "a/deep/2.png"],
        "height": pa.array([8, 33, 64, 65], pa.int32()),
        "width": pa.array([16, 10, 64, 500], pa.int32()),
        "brightness": pa.array([0.0, 63.9, 64.0, 255.0], pa.float32()),
    }
)
EXPECTED = {
    "class": [("ant", [1, 3]), ("bee", [0, 2])],
    "folder": [("a", [1]), ("a/deep", [3]), ("b", [0, 2])],
    "size": [("up to 16 px", [0]), ("33–64 px", [1, 2]), ("257–512 px", [3])],
    "height": [("up to 16 px", [0]), ("33–64 px", [1, 2]), ("65–128 px", [3])],
    "width": [("up to 16 px", [0, 1]), ("33–64 px", [2]), ("257–512 px", [3])],
    "brightness": [("dark (0–63)", [0, 1]), ("dim (64–127)", [2]), ("very bright (192–255)", [3])],
}


@pytest.mark.parametrize("column", EXPECTED)
def test_examples_are_divided_by_a_column(column: str) -> None:
    """Into values in their own order, every example in exactly one."""
    found = groups(TABLE, ["ant", "bee"], [column])
    assert [(one.value, np.flatnonzero(one.members).tolist()) for one in found] == EXPECTED[column]
    assert {one.column for one in found} == {column}


def test_every_column_that_a_recipe_may_name_is_there() -> None:
    """And the other way round."""
    assert set(COLUMNS) == set(SLICES)


def test_a_column_with_one_value_is_left_out() -> None:
    """Its slice would be the whole."""
    assert groups(TABLE.slice(1, 1), ["ant", "bee"], SLICES) == []


def test_the_rarest_of_many_values_share_a_slice() -> None:
    """The others keep their own order."""
    count = MOST_VALUES + 10
    names = [f"{number:03d}/x.png" for number in range(count)] + ["059/y.png", "007/y.png"]
    found = groups(pa.table({"path": names}), [], ["folder"])
    assert len(found) == MOST_VALUES + 1
    assert found[-1].value == "10 others"
    assert found[-1].members.sum() == 10
    values = [one.value for one in found[:-1]]
    assert values == sorted(values)
    assert {"007", "059"} <= set(values)
    assert np.sum([one.members for one in found], axis=0).tolist() == [1] * len(names)


def test_a_slice_is_scored_as_its_examples_alone_would_be() -> None:
    """Accuracy and count; with an interval where there are resamples."""
    labels = np.array([1, 0, 1, 0], np.int32)
    answers = np.array([[0.1, 0.9], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]], np.float32)
    divided = groups(TABLE, ["ant", "bee"], ["class", "brightness"])
    card = score(Predictions(list("abcd"), labels, answers), ["ant", "bee"], "f", divided, 200)
    assert [(one.column, one.value, one.count, one.accuracy) for one in card.slices] == [
        ("class", "ant", 2, 1.0),
        ("class", "bee", 2, 0.5),
        ("brightness", "dark (0–63)", 2, 1.0),
        ("brightness", "dim (64–127)", 1, 0.0),
        ("brightness", "very bright (192–255)", 1, 1.0),
    ]
    bee = card.slices[1].interval
    assert bee is not None
    assert (bee.low, bee.high) == (0.0, 1.0)


def test_an_unknown_column_is_an_error_with_the_nearest() -> None:
    """Found when the recipe is read, not when the training is over."""
    with pytest.raises(RecipeError, match=r"evaluate\.slices\.1: received 'brightnes'. Did you mean 'brightness'"):
        config.load("configs/digits.toml", ['evaluate.slices=["size", "brightnes"]'])
