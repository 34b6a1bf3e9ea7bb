"""Training throughput of every variant: this project's step and feed against the stock way, both in one run.

    python benchmarks/train_step.py [--backend jax] [--only NAME ...] [--rounds 3] [--seconds 1.5]

The stock way is `model.compile` and `model.fit` on NumPy arrays in float32, as the tutorials write it: the network of
`keras.applications` where there is one, else the same network as the zoo builds it, of Keras' own layers only. Ours
is the `Learner` on a `Feed` of uint8 images, in the precision that `auto` chooses. Both have the same optimiser, batch
and number of classes, and random images in memory. Each side has a process of its own; the two take turns, so that what
else happens on the machine happens to both. A turn is an epoch of as many steps as fill `--seconds`; compiling is not
in it.

With `--backend jax` TensorFlow cannot be imported in either process: stock is `model.fit` under JAX, ours is the zoo's
network in a compiled step of pure functions, on a processor in float32.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainer.config import Model, Sgd, Train
from trainer.models import zoo

CLASSES = 10
LEARNING_RATE, MOMENTUM = 0.01, 0.9


class Side(NamedTuple):
    how: str
    """Precision and compilation."""
    epoch: Callable[[int], float]
    """Does that many steps and gives the seconds they took."""


class Case(NamedTuple):
    batch: int
    model: dict[str, Any]
    """The recipe's `[model]` section."""
    twin: str | None = None
    """The same network in `keras.applications`, which has neither dropout nor auxiliary classifiers."""


TUTORIALS = {"inception_module": 32, "convnet": 20}
"""The batches of the trainings they come from."""
TWINS = {"inception_v3": "InceptionV3", "inception_resnet_v2": "InceptionResNetV2"}


def case(row: zoo.Variant, stem: str) -> Case:
    section = {"variant": row.name, "stem": stem}
    if stem == "small" or row.image_size <= zoo.SMALL_STEM_IMAGES[-1]:
        return Case(TUTORIALS.get(row.name, 64), section)
    batch = TUTORIALS.get(row.name, 8 if row.image_size <= 224 else 4)
    if row.name in TWINS:
        return Case(batch, section | {"auxiliary": False, "dropout": 0.0}, TWINS[row.name])
    return Case(batch, section)


CASES = {row.name: case(row, "paper") for row in zoo.VARIANTS.values()}
CASES |= {f"{row.name}, small stem": case(row, "small") for row in zoo.VARIANTS.values() if row.has_small_stem}


def settings(case: Case) -> Train:
    optimizer = Sgd(name="sgd", learning_rate=LEARNING_RATE, momentum=MOMENTUM)
    return Train(epochs=1, batch_size=case.batch, optimizer=optimizer)


class Memory:
    """A split of random images in memory, as `Feed` reads it."""

    name = "train"
    decodes = False

    def __init__(self, examples: int, side: int) -> None:
        random = np.random.default_rng(0)
        self.shape = side, side
        self.classes = [str(number) for number in range(CLASSES)]
        self.labels = random.integers(0, CLASSES, examples).astype(np.int32)
        self.pixels = random.integers(0, 256, (examples, side, side, 3), np.uint8)

    def __len__(self) -> int:
        return len(self.labels)

    def images(self, indices: Any) -> Any:
        return self.pixels[indices]


def stock(case: Case) -> Side:
    """`model.fit` on NumPy arrays."""
    import keras

    model_section = Model(**case.model)
    side = zoo.resolve(model_section).image_size
    if case.twin:
        network = getattr(keras.applications, case.twin)(weights=None, input_shape=(side, side, 3), classes=CLASSES)
        network = keras.Model(network.input, {"main": network.output})
    else:
        network = zoo.build(model_section, CLASSES)
        assert all(type(layer).__module__.startswith("keras.") for layer in network.layers)
    names = list(network.output)
    network.compile(
        optimizer=keras.optimizers.SGD(LEARNING_RATE, momentum=MOMENTUM),
        loss={name: keras.losses.SparseCategoricalCrossentropy(from_logits=not case.twin) for name in names},
        loss_weights={name: 1.0 if name == "main" else 0.3 for name in names},
        metrics={"main": "accuracy"},
    )

    def epoch(steps: int) -> float:
        data = Memory(steps * case.batch, side)
        images, labels = data.pixels.astype(np.float32) / 255.0, dict.fromkeys(names, data.labels)
        begun = time.perf_counter()
        network.fit(images, labels, batch_size=case.batch, verbose=0)
        return time.perf_counter() - begun

    return Side("float32", epoch)


def ours(case: Case) -> Side:
    """`Learner` and `Feed`."""
    import keras

    from trainer.data.feed import Feed
    from trainer.models import classifier
    from trainer.training import compilation, devices, precision
    from trainer.training.learner import Learner
    from trainer.training.pace import steps_at_once

    found = devices.find()
    policy = precision.choose("auto", found.capabilities, precision.cpu_flags()).policy
    keras.config.set_dtype_policy(policy)
    model_section = Model(**case.model)
    side = zoo.resolve(model_section).image_size
    train = settings(case)
    with found.strategy.scope():
        learner = Learner(classifier.for_training(model_section, CLASSES, (side, side)), train, CLASSES)
    data = Memory(case.batch, side)
    measured = found.is_gpu and found.count == 1
    way = compilation.measure(learner, lambda: (data.pixels, data.labels)).faster if measured else "graph"
    learner.compile(way)
    pace: float | None = None

    def epoch(steps: int) -> float:
        nonlocal pace
        feed = Feed(Memory(steps * case.batch, side), train, side)
        begun = time.perf_counter()
        batches = found.iterate(feed.batches(0, steps))
        done = 0
        while done < steps:
            at_once = steps_at_once(pace, None, steps - done, found.is_gpu)
            learner.advance(batches, [LEARNING_RATE] * at_once)
            done += at_once
        learner.score()  # waits for the device
        seconds = time.perf_counter() - begun
        pace = seconds / steps
        return seconds

    return Side(f"{policy}{', XLA' if way == 'xla' else ''}", epoch)


def ours_under_jax(case: Case) -> Side:
    """The zoo's network in a compiled step of pure functions, on batches of uint8 images."""
    import jax
    import keras

    from trainer.models import classifier
    from trainer.training import objective, precision

    gpus = [device for device in jax.devices() if device.platform == "gpu"]
    capabilities = [tuple(int(part) for part in gpu.compute_capability.split(".")) for gpu in gpus]
    # What TensorFlow's kernels make of a processor's bfloat16, XLA does not: no flags.
    policy = precision.choose("auto", capabilities, frozenset()).policy
    keras.config.set_dtype_policy(policy)
    model_section = Model(**case.model)
    side = zoo.resolve(model_section).image_size
    model = classifier.for_training(model_section, CLASSES, (side, side))
    train = settings(case)
    optimizer = objective.optimizer(train)
    optimizer.build(model.trainable_variables)
    criterion = objective.objective(train, CLASSES)

    def loss(weights: Any, others: Any, images: Any, labels: Any) -> Any:
        logits, others = model.stateless_call(weights, others, images, training=True)
        total, _ = criterion(logits, labels)
        return total, (others, (logits["main"].argmax(-1) == labels).sum())

    @partial(jax.jit, donate_argnums=0)
    def step(state: Any, images: Any, labels: Any) -> Any:
        weights, others, slots, right = state
        (_, (others, more)), gradients = jax.value_and_grad(loss, has_aux=True)(weights, others, images, labels)
        weights, slots = optimizer.stateless_apply(slots, gradients, weights)
        return weights, others, slots, right + more

    owned = (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
    state = [*([variable.value for variable in variables] for variables in owned), jax.numpy.zeros((), "int32")]

    def epoch(steps: int) -> float:
        nonlocal state
        data = Memory(steps * case.batch, side)
        begun = time.perf_counter()
        order = np.random.default_rng(0).permutation(len(data)).reshape(steps, case.batch)
        for indices in order:
            state = step(state, data.images(indices), data.labels[indices])
        jax.block_until_ready(state)
        return time.perf_counter() - begun

    return Side(policy, epoch)


SIDES = {
    ("stock", "tensorflow"): stock,
    ("ours", "tensorflow"): ours,
    ("stock", "jax"): stock,
    ("ours", "jax"): ours_under_jax,
}


class WithoutTensorFlow(MetaPathFinder):
    """Finds no TensorFlow, as on a machine that has none."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        if fullname.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def serve(side: str, name: str, backend: str) -> None:
    """Build one side of one case, then do as many steps as each line of standard input says."""
    if backend == "jax":
        sys.meta_path.insert(0, WithoutTensorFlow())
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # Keras and TensorFlow print as they please
    how, epoch = SIDES[side, backend](CASES[name])
    epoch(2)  # compiles
    print(json.dumps({"how": how, "seconds_per_step": epoch(1)}), file=answers, flush=True)
    for steps in sys.stdin:
        print(epoch(int(steps)), file=answers, flush=True)


class Process:
    """One side of one case in a process of its own."""

    def __init__(self, side: str, name: str, backend: str) -> None:
        self._side = side
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 (the process writes into it)
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--backend", backend, "--serve", side, name],
            env=os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "2"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            text=True,
        )
        assert self._process.stdin
        assert self._process.stdout
        self._questions, self._answers = self._process.stdin, self._process.stdout

    def answer(self) -> Any:
        line = self._answers.readline()
        if not line:
            self._complaints.seek(0)
            raise RuntimeError(f"{self._side}: {self._complaints.read().decode(errors='replace')[-2000:]}")
        return json.loads(line)

    def seconds(self, steps: int) -> float:
        print(steps, file=self._questions, flush=True)
        return float(self.answer())

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


def compare(name: str, backend: str, rounds: int, seconds: float) -> str:
    """A row of the table."""
    case = CASES[name]
    sides = {side: Process(side, name, backend) for side in ("stock", "ours")}
    try:
        about = {side: process.answer() for side, process in sides.items()}
        steps = {side: max(2, round(seconds / figures["seconds_per_step"])) for side, figures in about.items()}
        rates: dict[str, list[float]] = {"stock": [], "ours": []}
        for _ in range(rounds):
            for side, process in sides.items():
                rates[side].append(steps[side] * case.batch / process.seconds(steps[side]))
    finally:
        for process in sides.values():
            process.end()
    ratios = [mine / theirs for mine, theirs in zip(rates["ours"], rates["stock"], strict=True)]
    return (
        f"| {name} | {case.batch} | {'keras.applications' if case.twin else 'zoo'} | "
        f"{statistics.median(rates['stock']):,.1f} | {statistics.median(rates['ours']):,.1f} | "
        f"{about['ours']['how']} | **{statistics.median(ratios):.2f}** ({min(ratios):.2f}–{max(ratios):.2f}) |"
    )


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "?")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=("tensorflow", "jax"), default="tensorflow")
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), metavar="NAME", help=", ".join(CASES))
    parser.add_argument("--rounds", type=int, default=3, help="turns of each side")
    parser.add_argument("--seconds", type=float, default=1.5, help="length of a turn")
    parser.add_argument("--serve", nargs=2, metavar=("SIDE", "NAME"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(*arguments.serve, arguments.backend)
        return
    print(", ".join(f"{name} {version(name)}" for name in (arguments.backend, "keras", "numpy")), end=" ")
    print(f"on {os.cpu_count()} cores of {processor()}\n")
    print("| variant | batch | stock network | stock, images/s | ours, images/s | ours in | ratio (least–most) |")
    print("|---|---|---|---|---|---|---|")
    for name in arguments.only:
        print(compare(name, arguments.backend, arguments.rounds, arguments.seconds), flush=True)


if __name__ == "__main__":
    main()
