"""Random numbers that belong to an example and not to a stream: each can be had without those before it."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Purpose = Literal["crop", "color", "rand_augment", "erase", "mix"]

# Far from the third numbers of other generators' seeds, which are counts of columns.
_FIRST_PURPOSE = 1000


def seed_of(seed: int, at: int, purpose: Purpose) -> list[int]:
    """What a numpy generator is seeded with for one purpose, in one epoch or at one step."""
    return [seed, at, _FIRST_PURPOSE + get_args(Purpose).index(purpose)]


def uniform(seed: int, epoch: int, purpose: Purpose, turns: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    """(B, count) numbers in [0, 1): row i belongs to `turns[i]`, whatever the other rows are.

    SplitMix64 (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195, section 5): the n-th number is a mixing
    function of n, so an epoch of a million images needs no table of them.
    """
    [start] = np.random.SeedSequence(seed_of(seed, epoch, purpose)).generate_state(1, np.uint64)
    columns = np.arange(1, count + 1, dtype=np.uint64)
    place = turns.astype(np.uint64)[:, None] * np.uint64(count) + columns
    bits = start + place * np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    bits ^= bits >> np.uint64(31)
    numbers: NDArray[np.float32] = (bits >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
    return numbers
