"""Networks to load into, built once: what a test loads does not outlast it."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from trainer.config import Model
from trainer.models import zoo

Drawn = Callable[[str, tuple[int, ...]], np.ndarray]
NetworkOf = Callable[..., keras.Model]


@pytest.fixture(scope="session")
def network_of() -> NetworkOf:
    """A network by classes and the recipe's model section as keywords. Tests share it, so they fill all of it."""

    @functools.cache
    def build(classes: int, fused: bool = False, **model: Any) -> keras.Model:
        return zoo.build(Model(**model), classes, fused=fused)

    return build


@pytest.fixture(scope="session")
def drawn() -> Drawn:
    """Numbers for a variable by the name of its kind, under which signals neither fade nor grow."""
    random = np.random.default_rng(11)

    def draw(kind: str, shape: tuple[int, ...]) -> np.ndarray:
        if len(shape) > 1:
            return random.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape).astype("float32")
        if re.search("var", kind):
            return random.uniform(0.5, 1.5, shape).astype("float32")
        if kind == "gamma":
            return random.uniform(0.8, 1.2, shape).astype("float32")
        return random.normal(0, 0.1, shape).astype("float32")

    return draw


def in_figure_order(stage: str, network: keras.Model) -> list[str]:
    """Names of the layers of a stage, branch by branch and bottom to top, the sides of a fork included."""
    names = [layer.name for layer in network.layers if layer.weights and not layer.name.endswith(".bn")]
    of_stage = [name for name in names if name == stage or name.startswith(f"{stage}.")]
    digits = re.compile(r"\d+")
    return sorted(of_stage, key=lambda name: [int(number) for number in digits.findall(name.removeprefix(stage))])


@pytest.fixture(scope="session")
def convolutions_of() -> Callable[[str, keras.Model], list[str]]:
    return in_figure_order
