"""Numbers by seed, epoch, purpose and turn."""

from __future__ import annotations

from itertools import combinations
from typing import get_args

import numpy as np
import pytest
from scipy import stats

from trainer.data.augmentation.draws import Purpose, seed_of, uniform

TURNS = np.arange(20_000)


def test_a_row_belongs_to_its_turn() -> None:
    """Whatever the other rows are, and in whatever order."""
    all_of_them = uniform(3, 1, "crop", TURNS, 5)
    some = np.array([17, 3, 19_999, 3])
    assert np.array_equal(uniform(3, 1, "crop", some, 5), all_of_them[some])


def test_seed_epoch_and_purpose_each_give_other_numbers() -> None:
    """None of them shares a number with another, at a thousand turns."""
    asked = [(3, 1, "crop"), (4, 1, "crop"), (3, 2, "crop"), (1, 3, "crop"), (3, 1, "erase"), (3, 1, "color")]
    drawn = [uniform(seed, epoch, purpose, TURNS[:1000], 4).ravel() for seed, epoch, purpose in asked]  # type: ignore[arg-type]
    for one, two in combinations(drawn, 2):
        assert (one == two).mean() < 0.001
        assert abs(np.corrcoef(one, two)[0, 1]) < 0.06


def test_purposes_have_seeds_of_their_own() -> None:
    """And none is what the order of an epoch is drawn from."""
    seeds = {tuple(seed_of(0, 0, purpose)) for purpose in get_args(Purpose)}
    assert len(seeds) == len(get_args(Purpose))
    assert all(len(seed) == 3 for seed in seeds)


@pytest.mark.parametrize("seed", [0, 2**31 - 1])
def test_numbers_are_uniform_and_independent(seed: int) -> None:
    """By Kolmogorov and Smirnov's test for every column, and without correlation of columns or of neighbours."""
    numbers = uniform(seed, 7, "color", TURNS, 5)
    assert numbers.dtype == np.float32
    assert numbers.min() >= 0
    assert numbers.max() < 1
    for column in numbers.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-4
        assert abs(np.corrcoef(column[:-1], column[1:])[0, 1]) < 0.03
    assert np.abs(np.corrcoef(numbers.T) - np.eye(5)).max() < 0.03
