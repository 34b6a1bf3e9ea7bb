"""Several devices of one machine compute what one does: two halves of a processor stand in for two GPUs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer.config import Sgd, Train
from trainer.errors import RecipeError
from trainer.training import devices
from trainer.training.devices import Devices

BATCH, STEPS, CLASSES = 8, 3, 3
SGD = {"name": "sgd", "momentum": 0.9}
CASES: dict[str, dict[str, Any]] = {
    "clipped, averaged": {"optimizer": SGD, "clip_norm": 0.05, "l2": 0.01, "ema": {"decay": 0.9}},
    "in parts, RMSProp": {"optimizer": {"name": "rmsprop", "epsilon": 1.0, "weight_decay": 0.1}, "micro_batch_size": 2},
    "mixed images": {"optimizer": SGD, "label_smoothing": 0.1},
    "float16": {"optimizer": SGD, "clip_norm": 0.05},
}
NORMALISED = "batch normalisation"

PROGRAM = """
import json, sys
import numpy as np
import tensorflow as tf

[cpu] = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

import keras
from trainer.config import Train
from trainer.models.normalisation import FusedBatchNormalization
from trainer.training.devices import Devices, strategy
from trainer.training.learner import Learner

folder, cases, batch, steps, classes, normalised = sys.argv[1], *(json.loads(word) for word in sys.argv[2:])
random = np.random.default_rng(0)
images = random.integers(0, 256, (steps * batch, 6, 6, 3), np.uint8)
images[::2] //= 3  # the devices' parts of a batch have other statistics
labels = random.integers(0, classes, steps * batch).astype(np.int32)


def trained(case, settings, names, share=1):
    keras.config.set_dtype_policy("mixed_float16" if case == "float16" else "float32")
    keras.utils.set_random_seed(3)
    spread = Devices(names, "", True, (), strategy(names))
    with spread.strategy.scope():
        given = keras.Input((6, 6, 3), dtype="uint8")
        x = keras.layers.Conv2D(4, 3, name="conv")(keras.layers.Rescaling(1 / 255)(given))
        if case == normalised:
            x = FusedBatchNormalization(momentum=0.5, name="norm")(x)
        x = keras.layers.Flatten()(keras.layers.ReLU()(x))
        logits = keras.layers.Dense(classes, dtype="float32", name="dense")(x)
        learner = Learner(keras.Model(given, {"main": logits}), Train.model_validate(settings), classes)
    targets = np.eye(classes, dtype=np.float32)[labels] * 0.7 + 0.1 if case == "mixed images" else labels
    batches = tf.data.Dataset.from_tensor_slices((images, targets)).batch(batch, drop_remainder=True)
    if share > 1:
        batches = batches.map(lambda x, y: (x[: batch // share], y[: batch // share]))
    held_out = tf.data.Dataset.from_tensor_slices((images, labels)).batch(5)
    iterator = spread.iterate(batches)
    learner.advance(iterator, [0.1])
    learner.restore(learner.state())
    learner.advance(iterator, [0.05] * (steps - 1))
    score, judged = learner.score(), learner.validate(held_out)
    figures = np.array([*score[:4], *judged[:4]])
    name = f"{folder}/{case}.{len(names)}.{share}.npz"
    np.savez(name, figures=figures, **{name.replace("/", "|"): array for name, array in learner.state().items()})


both = "/cpu:0", "/cpu:1"
for case, settings in cases.items():
    for names in (both[:1], both):
        trained(case, {"epochs": 1, "batch_size": batch} | settings, names)
one_step = {"epochs": 1, "batch_size": batch, "optimizer": {"name": "sgd"}}
steps = 1
trained(normalised, one_step, both)
trained(normalised, one_step | {"batch_size": batch // 2}, both[:1], share=2)
"""


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what each case's learner knows after some steps on one device and on two."""
    folder = tmp_path_factory.mktemp("states")
    arguments = [json.dumps(value) for value in (CASES, BATCH, STEPS, CLASSES, NORMALISED)]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), *arguments],
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_devices_step_as_one_does(case: str, states: Path) -> None:
    """Weights, optimiser, averages and every figure are the same, to rounding, after several steps of one batch."""
    one, two = (dict(np.load(states / f"{case}.{count}.1.npz")) for count in (1, 2))
    assert one.keys() == two.keys()
    assert one["figures"][3] == BATCH * STEPS
    tolerance = 5e-3 if case == "float16" else 1e-5
    for name, array in one.items():
        np.testing.assert_allclose(two[name], array, rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.slow
def test_batch_normalisation_counts_the_first_device_s_part_of_the_batch(states: Path) -> None:
    """Its moving statistics are those of one device that was given that part alone."""
    two, first = (dict(np.load(states / f"{NORMALISED}.{name}.npz")) for name in ("2.1", "1.2"))
    moving = [name for name in two if "moving_" in name]
    assert len(moving) == 2
    for name in moving:
        np.testing.assert_allclose(two[name], first[name], rtol=1e-5)


def two_gpus() -> Devices:
    return Devices(("/gpu:0", "/gpu:1"), "2 GPUs (X)", True, (), devices.find().strategy)


@pytest.mark.parametrize(
    ("batch", "micro", "message"),
    [
        (7, None, "train.batch_size 7 cannot be divided among 2 GPUs"),
        (24, 8, "train.micro_batch_size 8 does not divide the 12 images"),
    ],
)
def test_a_batch_that_cannot_be_divided_is_refused(batch: int, micro: int | None, message: str) -> None:
    """The devices, the figures and a remedy are named."""
    train = Train(epochs=1, batch_size=batch, micro_batch_size=micro, optimizer=Sgd(name="sgd"))
    with pytest.raises(RecipeError, match=message) as caught:
        two_gpus().check(train)
    assert "Choose a" in caught.value.remedy
    devices.find().check(train)


@pytest.mark.parametrize(("batch", "micro"), [(8, None), (8, 2), (8, 4), (8, 8)])
def test_a_batch_that_can_be_divided_is_taken(batch: int, micro: int | None) -> None:
    """A part larger than a device's share is the share."""
    two_gpus().check(Train(epochs=1, batch_size=batch, micro_batch_size=micro, optimizer=Sgd(name="sgd")))


def test_without_a_gpu_there_is_the_processor() -> None:
    """Under TensorFlow's default strategy; this test skips where there is a GPU."""
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has a GPU")
    found = devices.find()
    assert (found.count, found.is_gpu, found.capabilities) == (1, False, ())
    assert str(found).startswith("CPU (")
    assert found.strategy is tf.distribute.get_strategy()
    batches = tf.data.Dataset.range(3)
    assert [int(number) for number in found.iterate(batches)] == [0, 1, 2]
