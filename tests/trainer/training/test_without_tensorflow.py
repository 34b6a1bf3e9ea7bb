"""Networks and objective need Keras alone: with JAX behind it they train where no TensorFlow can be imported."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import trainer
from trainer.models import zoo

ROOM = Path(trainer.__file__).parent
FREE = [*sorted((ROOM / "models").glob("*.py")), ROOM / "training" / "objective.py", ROOM / "training" / "precision.py"]

PROGRAM = """
import importlib, sys
from importlib.abc import MetaPathFinder


class Wall(MetaPathFinder):
    def find_spec(self, fullname, path, target=None):
        if fullname.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError(fullname)


sys.meta_path.insert(0, Wall())
for module in sys.argv[1:]:
    importlib.import_module(module)

import jax, keras, numpy as np
from trainer.config import Model, Sgd, Train
from trainer.models import classifier
from trainer.training import objective

section = Model(variant="inception_v2", stem="small", width=0.02)
model = classifier.for_training(section, 3, (32, 32))
train = Train(epochs=1, batch_size=4, optimizer=Sgd(name="sgd", learning_rate=0.01), label_smoothing=0.1)
optimizer = objective.optimizer(train)
optimizer.build(model.trainable_variables)
cost = objective.objective(train, 3)
owned = model.trainable_variables, model.non_trainable_variables, optimizer.variables
weights, others, slots = ([variable.value for variable in variables] for variables in owned)
images, labels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8), np.array([0, 1, 2, 0], np.int32)


def loss(weights, others):
    logits, others = model.stateless_call(weights, others, images, training=True)
    return cost(logits, labels)[0], others


step = jax.jit(jax.value_and_grad(loss, has_aux=True))
losses = []
for _ in range(6):
    (value, others), gradients = step(weights, others)
    weights, slots = optimizer.stateless_apply(slots, gradients, weights)
    losses.append(float(value))
assert losses[-1] < losses[0], losses
assert not [name for name in sys.modules if name.partition(".")[0] == "tensorflow"]
print("trained")
"""


@pytest.mark.parametrize("path", FREE, ids=lambda path: path.stem)
def test_networks_and_objective_import_no_tensorflow(path: Path) -> None:
    """Not at module level: a function that only TensorFlow's own training calls may."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            assert not [name for name in names if name.partition(".")[0] == "tensorflow"]


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
def test_a_network_trains_under_jax_without_tensorflow(run_python: Callable[..., Any]) -> None:
    """Every variant's module is imported; one network takes steps that lower the objective."""
    builders = sorted({row.builder.partition(":")[0] for row in zoo.VARIANTS.values()})
    done = run_python(
        PROGRAM,
        *builders,
        KERAS_BACKEND="jax",
        JAX_PLATFORMS="cpu",
        # Compiled without optimisation: what is compiled here runs a few times.
        XLA_FLAGS="--xla_backend_optimization_level=0",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["trained"]
