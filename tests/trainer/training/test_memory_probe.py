"""A batch that does not fit: found out in a process of its own, and said with the largest that does."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from trainer import config
from trainer.config import Recipe
from trainer.errors import TrainingError
from trainer.models import classifier, zoo
from trainer.training import memory_probe, memory_trial
from trainer.training.learner import Learner
from trainer.training.memory_trial import Order, Trial

SHAPE = 32, 32
CLASSES = 10
MB = 10**6
FREE = 400 * MB

RECIPE = """
[data]
source = "digits"
[model]
variant = "inception_module"
image_size = 32
width = 0.25
[train]
epochs = 1
batch_size = 4096
optimizer = { name = "sgd", learning_rate = 0.1 }
[gate]
threshold = 0.1
[registry]
name = "tiny"
"""
"""A step takes about a megabyte an image."""


def recipe(*overrides: str) -> Recipe:
    return config.parse(RECIPE, overrides)


def order(images: int, limit: int) -> Order:
    return Order(recipe().canonical(), CLASSES, SHAPE, "float32", images, limit)


@pytest.fixture(scope="module")
def refusal() -> TrainingError:
    """What a training hears that asks for 4,096 images with 400 MB free."""
    with pytest.raises(TrainingError) as caught:
        memory_probe.guard(recipe(), CLASSES, SHAPE, "float32", free=FREE)
    return caught.value


@pytest.fixture(scope="module")
def unlimited() -> Trial:
    """What 1, 2, 4, … 512 images really take."""
    return memory_trial.attempt(order(512, limit=1000 * FREE))


@pytest.fixture(scope="module", autouse=True)
def large_process() -> Iterator[None]:
    """A training is no small process when it starts a trial, and the trial's figures must not begin with its own."""
    ballast = np.ones(600 * MB // 8)
    yield
    del ballast


def largest(refusal: TrainingError) -> int:
    return int(refusal.message.rpartition(" ")[2].rstrip("."))


def test_a_batch_that_is_too_large_is_named_with_the_largest_that_fits(refusal: TrainingError) -> None:
    """Found by trying; and there are two ways out."""
    fits = largest(refusal)
    assert fits in (128, 256)
    assert refusal.message.startswith("train.batch_size 4096 needs about ")
    assert refusal.message.endswith(f" GB of memory, 0.4 GB are free; the largest that fits here is {fits}.")
    assert refusal.remedy == (
        f"Set train.batch_size to {fits}, or keep the batch and set train.micro_batch_size to {fits}."
    )


@pytest.mark.slow
def test_the_largest_that_fits_does_and_twice_as_many_images_do_not(refusal: TrainingError, unlimited: Trial) -> None:
    """By what they take where nothing limits them."""
    assert not unlimited.refused
    assert unlimited.peaks[largest(refusal)] < FREE < 1.2 * unlimited.peaks[2 * largest(refusal)]


@pytest.mark.slow
def test_what_a_larger_batch_needs_follows_from_those_that_fitted(unlimited: Trial) -> None:
    """Within a quarter of what it really takes."""
    fitted = Trial({images: peak for images, peak in unlimited.peaks.items() if images <= 256}, refused=True)
    assert fitted.needed(512) == pytest.approx(unlimited.peaks[512], rel=0.25)


@pytest.mark.slow
def test_the_estimate_is_rather_too_high_than_too_low(unlimited: Trial) -> None:
    """It only says whether trying is worth the time; a danger that it misses ends with a killed process."""
    asked = recipe("train.batch_size=512")
    expected = memory_probe.estimate(zoo.build(asked.model, CLASSES), asked, SHAPE, "float32")
    assert unlimited.peaks[512] < expected < 5 * unlimited.peaks[512]


@pytest.mark.parametrize(
    ("overrides", "gpus"), [(["train.batch_size=64"], []), (["train.micro_batch_size=64"], []), ([], ["a GPU"])]
)
def test_without_danger_nothing_is_tried(
    overrides: list[str], gpus: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A batch that clearly fits, or goes through in parts that do; and a GPU, which can tell by itself."""
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)
    monkeypatch.setattr(memory_trial, "attempt", lambda order: pytest.fail("tried"))
    memory_probe.guard(recipe(*overrides), CLASSES, SHAPE, "float32", free=2000 * MB)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("peaks", "needs", "fits", "remedy"),
    [
        ({1: 10 * MB, 64: 640 * MB}, "needs about 1.0 GB of memory", "; the largest that fits here is 64.", "50."),
        ({1: 10 * MB}, "does not fit into memory", "; the largest that fits here is 1.", "1."),
        ({}, "does not fit into memory", ", and not even one image fits.", None),
    ],
)
def test_the_way_out_is_one_that_the_recipe_takes(
    peaks: dict[int, int], needs: str, fits: str, remedy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts of a batch must divide it."""
    monkeypatch.setattr(memory_trial, "attempt", lambda order: Trial(peaks, refused=True))
    asked = recipe("train.batch_size=200", "train.micro_batch_size=100")
    with pytest.raises(TrainingError) as caught:
        memory_probe.guard(asked, CLASSES, SHAPE, "float32", free=100 * MB)
    assert caught.value.message == f"train.micro_batch_size 100 {needs}, 0.1 GB are free{fits}"
    assert caught.value.remedy == (
        "Take a smaller network (model.width, model.image_size, model.variant), or a machine with more memory."
        if remedy is None
        else f"Set train.micro_batch_size to {remedy}"
    )


@pytest.mark.parametrize(
    ("program", "largest", "refused"),
    [
        ("echo '[0, 5]'; echo '[1, 7]'; exit 0", 1, False),
        ("echo '[1, 7]'; exit 3", 1, True),
        ("echo '[1, 7]'; echo '[2, '; kill -9 $$", 1, True),
        ("echo '[1, 7]'; kill -6 $$", 1, True),
        ("echo 'a warning'; echo '[4, 9]'; exit 1", 4, False),
        ("echo '[8, 9]'; exec sleep 20", 8, False),
        ("exit 1", 0, False),
    ],
)
def test_only_want_of_memory_refuses_a_batch(
    program: str, largest: int, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process' own word, the kernel's or the allocator's; not that it is slow, and not that it is broken."""
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\n{program}\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    trial = memory_trial.attempt(order(8, FREE), seconds=0.5)
    assert (trial.largest, trial.refused) == (largest, refused)


@pytest.mark.parametrize(
    ("most", "tried"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (8, [1, 2, 4, 8]), (100, [1, 2, 4, 8, 16, 32, 64, 100])]
)
def test_powers_of_two_are_tried_and_then_the_batch_itself(most: int, tried: list[int]) -> None:
    """From below: what does not fit is met last."""
    assert memory_trial.sizes(most) == tried


class Cramped(Learner):
    """On a device with room for `room` images."""

    room = 5
    tried: list[int]

    def advance(self, batches: Any, rates: Any) -> None:
        images, labels = next(batches)
        self.tried.append(len(images))
        if len(images) // self._parts > self.room:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
        super().advance(iter(tf.data.Dataset.from_tensors((images, labels))), rates)


@pytest.mark.parametrize(
    ("overrides", "room", "tried", "said"),
    [
        (["train.batch_size=32"], 5, [16, 8, 4], "train.batch_size 32 {}; the largest that fits here is 4."),
        (
            ["train.batch_size=32", "train.micro_batch_size=8"],
            2,
            [16, 8],
            "train.micro_batch_size 8 {}; the largest that fits here is 2.",
        ),
        (["train.batch_size=4"], 0, [2, 1], "train.batch_size 4 {}, and not even one image fits."),
    ],
)
def test_a_device_that_runs_out_in_mid_training_is_tried_in_place(
    overrides: list[str], room: int, tried: list[int], said: str
) -> None:
    """With the learner at hand, on halves of its batch until one fits."""
    asked = recipe(*overrides)
    learner = Cramped(classifier.for_training(asked.model, CLASSES, SHAPE), asked.train, CLASSES)
    learner.room, learner.tried = room, []
    error = memory_probe.exhausted(asked, learner, SHAPE)
    assert error.message == said.format("does not fit into memory")
    assert learner.tried == tried
