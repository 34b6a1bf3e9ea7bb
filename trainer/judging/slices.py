"""The test examples divided by what is known of them: where a model does well, and where it does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.judging.figures import Group

MOST_VALUES = 50
"""Values of one column that get a slice each, the most frequent ones; those beyond share one."""
_SMALLEST_BAND = 16
_BRIGHTNESS = ("dark (0–63)", "dim (64–127)", "bright (128–191)", "very bright (192–255)")

Column = Callable[[Any, Sequence[str]], tuple[NDArray[Any], Callable[[Any], str]]]
"""From a split's table and the class names to a key for every example, by which values are ordered, and the words for a
key."""


def groups(table: Any, classes: Sequence[str], columns: Sequence[str]) -> list[Group]:
    """The slices of a split: column by column, the values of a column in their own order.

    Args:
        table: of the split, see `trainer.data.prepared.SCHEMA`.
        classes: names by label.
        columns: of `COLUMNS`. One that has a single value would repeat the figures of the whole and is left out.
    """
    found = []
    for column in columns:
        keys, words = COLUMNS[column](table, classes)
        distinct, places, counts = np.unique(keys, return_inverse=True, return_counts=True)
        if len(distinct) < 2:
            continue
        frequent = np.sort(np.argsort(-counts, kind="stable")[:MOST_VALUES])
        found += [Group(column, words(distinct[place]), places == place) for place in frequent]
        if len(distinct) > MOST_VALUES:
            rest = ~np.isin(places, frequent)
            found.append(Group(column, f"{len(distinct) - MOST_VALUES:,} others", rest))
    return found


def _class(table: Any, classes: Sequence[str]) -> tuple[NDArray[Any], Callable[[Any], str]]:
    return table["label"].to_numpy(), lambda label: classes[label]


def _folder(table: Any, classes: Sequence[str]) -> tuple[NDArray[Any], Callable[[Any], str]]:
    return np.array([str(PurePosixPath(path).parent) for path in table["path"].to_pylist()], np.str_), str


def _brightness(table: Any, classes: Sequence[str]) -> tuple[NDArray[Any], Callable[[Any], str]]:
    return (table["brightness"].to_numpy() // 64).astype(np.int64), lambda quarter: _BRIGHTNESS[quarter]


def _sides(*names: str) -> Column:
    """Bands of the longest of these, in pixels, each twice as wide as the one before."""

    def bands(table: Any, classes: Sequence[str]) -> tuple[NDArray[Any], Callable[[Any], str]]:
        longest = np.max([table[name].to_numpy() for name in names], axis=0)
        upper = 2 ** np.ceil(np.log2(np.maximum(longest, _SMALLEST_BAND))).astype(np.int64)
        return upper, lambda end: f"up to {end} px" if end == _SMALLEST_BAND else f"{end // 2 + 1}–{end} px"

    return bands


COLUMNS: dict[str, Column] = {
    "class": _class,
    "folder": _folder,
    "size": _sides("height", "width"),
    "brightness": _brightness,
    "height": _sides("height"),
    "width": _sides("width"),
}
"""By the names that a recipe's `evaluate.slices` takes."""
