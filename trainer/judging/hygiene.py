"""Was a model trained on an example it is to be tested with?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trainer.judging.training_files import Arrays

if TYPE_CHECKING:
    from trainer.data.prepared import PreparedDataset

SEEN = ("train", "validation")
"""Splits that form a model: the one it learns from, and the one by which its epoch and its values were chosen."""


def identities_of(dataset: PreparedDataset) -> Arrays:
    """The identities of all splits, compactly, for the run's record."""
    return {name: compact(dataset.split(name).identities) for name in (*SEEN, "test")}


def compact(identities: Sequence[str]) -> NDArray[np.uint64]:
    """(n,): the first 64 of an identity's 256 bits.

    That two different images agree in them has, with 1.3 million training and 50,000 test images, a chance of four in
    a billion.
    """
    return np.array([int(identity[:16], 16) for identity in identities], np.uint64)


def shared(seen: Arrays, identities: Sequence[str]) -> dict[str, int]:
    """How many of the test examples are in each of the splits that formed the model."""
    tested = compact(identities)
    return {name: int(np.isin(tested, seen[name]).sum()) for name in SEEN}


def refusal(champion: str, found: dict[str, int], examples: int) -> str:
    """Why a comparison would say nothing, and what to do."""
    parts = " and ".join(f"{count:,} in its {name} split" for name, count in found.items() if count)
    return (
        f"The champion ({champion}) knows {sum(found.values()):,} of the {examples:,} test examples from its training: "
        f"{parts}. Its figures on them would be too good, so it was not scored. The division of the images has changed "
        "since it was trained: give data.test_fraction and data.validation_fraction back the values they had, or "
        "promote the challenger by hand (inception models promote)."
    )
