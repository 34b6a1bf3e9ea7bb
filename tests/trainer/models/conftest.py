"""Networks are slow to build and large to keep: their costs (names, shapes, counts) are built once and kept."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from trainer.config import Model
from trainer.models import zoo
from trainer.models.cost import Cost


@pytest.fixture(scope="session")
def cost_of() -> Callable[..., Cost]:
    """The cost of a network, by classes and the recipe's model section as keywords."""
    from trainer.models import cost

    @functools.cache
    def build(classes: int, **model: Any) -> Cost:
        return cost.of(zoo.outline(Model(**model), classes))

    return build


@pytest.fixture
def mixed_bfloat16() -> Iterator[None]:
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy(before)
