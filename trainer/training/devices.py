"""Where a training runs: the processor, one GPU, or several GPUs of one machine."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from functools import cache
from typing import Any

import tensorflow as tf

from trainer.config import Train
from trainer.errors import RecipeError


@dataclass(frozen=True)
class Devices:
    """What a training runs on.

    Several devices hold a copy of the network each, take equal parts of every batch and average their gradients
    (`tf.distribute.MirroredStrategy`). Batch normalisation normalises by the part of the batch on its device, and the
    moving statistics that are kept are those of the first device: Keras' rule. Dropout draws the same numbers on each.
    Validation runs on the first device.
    """

    names: tuple[str, ...]
    """TensorFlow's, as in `/gpu:0`."""
    label: str
    """In words."""
    is_gpu: bool
    capabilities: tuple[tuple[int, int], ...]
    """Compute capability of every GPU."""
    strategy: tf.distribute.Strategy
    """Networks and learners are made within its scope."""

    def __str__(self) -> str:
        return self.label

    @property
    def count(self) -> int:
        return len(self.names)

    def check(self, train: Train) -> None:
        """See that every device gets the same number of images. Errors: RecipeError."""
        if train.batch_size % self.count:
            raise RecipeError(
                f"train.batch_size {train.batch_size} cannot be divided among {self.label}.",
                f"Choose a multiple of {self.count}, or let the run see fewer GPUs (CUDA_VISIBLE_DEVICES=0).",
            )
        share = train.batch_size // self.count
        micro = train.micro_batch_size
        if micro is not None and micro < share and share % micro:
            raise RecipeError(
                f"train.micro_batch_size {micro} does not divide the {share} images that each of {self.label} gets of "
                f"a batch of {train.batch_size}.",
                f"Choose a divisor of {share}.",
            )

    def iterate(self, batches: tf.data.Dataset) -> Any:
        """An iterator over batches that are on their device before they are asked for, divided where there are several.

        Made outside of any `tf.function`, and handed to `Learner.advance`.
        """
        if not self.is_gpu and self.count == 1:
            return iter(batches)
        spread = self.strategy if self.count > 1 else tf.distribute.OneDeviceStrategy(self.names[0])
        return iter(spread.experimental_distribute_dataset(batches))


def find() -> Devices:
    """The GPUs of this machine, all of them; the processor where there is none.

    Must come before anything else that makes TensorFlow use a GPU: from then on it takes memory as it needs it instead
    of all at once.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return Devices(("/cpu:0",), f"CPU ({platform.machine()})", False, (), tf.distribute.get_strategy())
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    kinds = sorted({one.get("device_name", "of unknown make") for one in details})
    return Devices(
        names := tuple(f"/gpu:{number}" for number in range(len(gpus))),
        f"{len(gpus)} GPU{'s' * (len(gpus) > 1)} ({', '.join(kinds)})",
        True,
        tuple(one.get("compute_capability", (0, 0)) for one in details),
        strategy(names),
    )


# Once for all: a second MirroredStrategy numbers its exchanges of gradients as the first does, and TensorFlow takes
# networks of different sizes for one.
@cache
def strategy(names: tuple[str, ...]) -> tf.distribute.Strategy:
    """The default one for one device, mirrored networks on several."""
    return tf.distribute.MirroredStrategy(names) if len(names) > 1 else tf.distribute.get_strategy()
