"""The networks are Keras and nothing else: under JAX they compute what they compute under TensorFlow."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from trainer.config import Model
from trainer.models import zoo

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed"),
]

CLASSES = 3
UNOPTIMISED = "--xla_backend_optimization_level=0"
TOLERANCE = 1e-5
"""Of the largest logit."""


def narrow(name: str) -> dict[str, Any]:
    """Every option on, the least image, and so narrow that most kernels have one shape.

    JAX compiles the drawing of initial weights anew for each shape: of all the time this takes the most.
    """
    row = zoo.VARIANTS[name]
    on = {option: True for option in ("auxiliary", "lrn", "bn_gamma") if option in row.options}
    return {"variant": name, "width": 0.02, "image_size": row.smallest_image} | on


CASES = {name: narrow(name) for name in zoo.VARIANTS}
CASES["googlenet, small stem"] = narrow("googlenet") | {"stem": "small", "lrn": False}

UNDER_JAX = """
import json, sys
import keras, numpy as np
from trainer.config import Model
from trainer.models import zoo

assert keras.backend.backend() == "jax"
folder, classes = sys.argv[1], int(sys.argv[3])
for number, model in enumerate(json.loads(sys.argv[2])):
    network = zoo.build(Model(**model), classes)
    given = np.load(f"{folder}/{number}.npz")
    for variable in network.weights:
        variable.assign(given[variable.path])
    logits = network(given["images"], training=False)
    np.savez(f"{folder}/{number}.jax.npz", **{name: np.asarray(value) for name, value in logits.items()})
"""


def drawn(random: np.random.Generator, weight: keras.Variable) -> np.ndarray[Any, Any]:
    """Numbers under which the signal neither fades nor blows up, so that every layer shows in the logits."""
    if len(weight.shape) > 1:
        return random.normal(0, np.sqrt(2 / np.prod(weight.shape[:-1])), weight.shape)
    if weight.name in ("moving_variance", "gamma"):
        return random.uniform(0.5, 1.5, weight.shape)
    return random.normal(0, 0.1, weight.shape)


@pytest.fixture(scope="module")
def under_tensorflow(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[str, Any]]]:
    """Weights and images of every case in a folder, and the logits they give."""
    folder = tmp_path_factory.mktemp("jax")
    random = np.random.default_rng(2)
    answers = {}
    for number, (case, model) in enumerate(CASES.items()):
        network = zoo.build(Model(**model), CLASSES)
        for variable in network.weights:
            variable.assign(drawn(random, variable))
        images = random.uniform(-1, 1, (2, *network.input_shape[1:])).astype("float32")
        np.savez(folder / f"{number}.npz", images=images, **{v.path: v.numpy() for v in network.weights})
        answers[case] = {name: np.asarray(value) for name, value in network(images, training=False).items()}
    return folder, answers


@pytest.fixture(scope="module")
def under_jax(under_tensorflow: tuple[Path, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The logits of the same networks in a process whose Keras computes with JAX."""
    folder, _ = under_tensorflow
    arguments = [str(folder), json.dumps(list(CASES.values())), str(CLASSES)]
    done = subprocess.run(
        [sys.executable, "-c", UNDER_JAX, *arguments],
        # Compiled without optimisation: what is compiled here runs once.
        env=os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": UNOPTIMISED},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {case: dict(np.load(folder / f"{number}.jax.npz")) for number, case in enumerate(CASES)}


@pytest.mark.parametrize("case", CASES)
def test_logits_are_the_same(
    case: str,
    under_tensorflow: tuple[Path, dict[str, dict[str, Any]]],
    under_jax: dict[str, dict[str, Any]],
    record_property: Callable[[str, float], None],
) -> None:
    """Of every classifier, for the same weights and images, to the rounding of float32."""
    expected, found = under_tensorflow[1][case], under_jax[case]
    assert found.keys() == expected.keys()
    for name, logits in expected.items():
        largest = np.abs(logits).max()
        assert np.ptp(logits[0] - logits[1]) > 1e-3 * largest  # the images are told apart
        difference = float(np.abs(found[name] - logits).max() / largest)
        record_property(f"{name}_relative_difference", difference)
        assert difference < TOLERANCE
