"""Images per second of the input alone, beside the stock way's and beside the training step.

    python benchmarks/input_pipeline.py --photos FOLDER --data-dir PATH [--only augment photos records memory]

`augment`   every change of `[train.augment]` by itself, on images in memory: 32×32, 150×150, 224×224
`photos`    JPEG files in a folder per class, at 150 and 224 pixels: read, decoded, resized, augmented; the stock way is
            `image_dataset_from_directory` with Keras' preprocessing layers
`records`   CIFAR-10: this project's raw shards, and the stock way, TFDS' records with the same layers
`memory`    largest resident memory of a process that feeds 1,000 to 60,000 photographs at 224 pixels

Ours is the `Feed` of a training, on a dataset that `prepare` made of the same files. Ours and stock take turns, so that
what else happens on the machine happens to both; figures are medians over the rounds with the smallest and the largest.
`photos` and `records` also time the training step of `--variant`, on one batch again and again, and print how many
times as fast as the step the feed is.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
VARIANTS = {32: "inception_module", 150: "convnet", 224: "googlenet"}
"""Whose training step the feed is compared with at each size, where `--variant` says nothing."""
WARM_UP = 3
"""Batches that are not timed: the first one traces."""
STOCK_AUGMENT = {"flip": True, "rotation": 36.0, "shift": 0.1, "zoom": 0.1}
"""What Keras' layers can do too."""
CHANGES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "flip": {"flip": True},
    "flip, shift": {"flip": True, "shift": 0.125},
    "flip, rotation, shift, shear, zoom": {"flip": True, "rotation": 40.0, "shift": 0.2, "shear": 0.2, "zoom": 0.2},
    "crop": {"crop": {}},
    "crop, random interpolation": {"crop": {"interpolation": "random"}},
    "color": {"color": {"brightness": 0.1, "contrast": 0.5, "saturation": 0.5, "hue": 0.05}},
    "rand_augment": {"rand_augment": {}},
    "erase": {"erase": {}},
    "mixup": {"mixup": 0.2},
    "cutmix": {"cutmix": 1.0},
    "flip, crop, rand_augment, erase, mixup, cutmix": {
        "flip": True, "crop": {}, "rand_augment": {}, "erase": {}, "mixup": 0.2, "cutmix": 1.0,
    },
}  # fmt: skip
Batches = Callable[[], Iterable[Any]]


class Memory:
    """A split of random images in memory, as `Feed` reads it."""

    name = "train"
    decodes = False

    def __init__(self, examples: int, side: int) -> None:
        random = np.random.default_rng(0)
        self.shape = side, side
        self.classes = [str(number) for number in range(10)]
        self.labels = random.integers(0, 10, examples).astype(np.int32)
        self.pixels = random.integers(0, 256, (examples, side, side, 3), np.uint8)

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, index: int) -> Any:
        return self.pixels[index]

    def images(self, indices: Any) -> Any:
        return self.pixels[indices]


def settings(batch_size: int, augment: dict[str, Any]) -> Any:
    from trainer.config import Augment, Sgd, Train

    optimizer = Sgd(name="sgd", learning_rate=0.01)
    return Train(epochs=1, batch_size=batch_size, optimizer=optimizer, augment=Augment.model_validate(augment))


def ours(split: Any, batch_size: int, size: int, augment: dict[str, Any]) -> Batches:
    from trainer.data.feed import Feed

    feed = Feed(split, settings(batch_size, augment), size)
    return lambda: feed.batches(0, 1_000_000)


def rates(sides: dict[str, Batches], rounds: int, seconds: float) -> dict[str, list[float]]:
    """Images per second of every side, each round one after the other; a stream goes on from round to round."""
    streams: dict[str, Iterator[Any]] = {name: iter(batches()) for name, batches in sides.items()}
    for stream in streams.values():
        for _ in range(WARM_UP):
            next(stream)
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, stream in streams.items():
            # What was made in advance while the others had their turn is not this turn's work.
            for _ in range(WARM_UP):
                next(stream)
            images, begun = 0, time.perf_counter()
            while time.perf_counter() - begun < seconds:
                images += len(next(stream)[0])
            found[name].append(images / (time.perf_counter() - begun))
    return found


def cell(figures: list[float]) -> str:
    return f"{statistics.median(figures):,.0f} ({min(figures):,.0f}–{max(figures):,.0f})"


def ratio(one: list[float], other: list[float]) -> str:
    """Median of the ratios round by round."""
    return f"{statistics.median(a / b for a, b in zip(one, other, strict=True)):.2f}"


def measure_augment(arguments: argparse.Namespace) -> None:
    print("\n## Every change by itself\n\n| images | change | images/s |\n|---|---|---|")
    for side, batch_size in ((32, 128), (150, 32), (224, 32)):
        split = Memory(batch_size * 8, side)
        for name, change in CHANGES.items():
            found = rates({name: ours(split, batch_size, side, change)}, arguments.rounds, arguments.seconds)
            print(f"| {side}×{side} | {name} | {cell(found[name])} |", flush=True)


def augmented(dataset: Any) -> Any:
    """With Keras' layers, in the input pipeline."""
    import keras
    import tensorflow as tf

    layers = keras.Sequential(
        [
            keras.layers.RandomFlip("horizontal"),
            keras.layers.RandomRotation(0.1, fill_mode="nearest"),
            keras.layers.RandomTranslation(0.1, 0.1, fill_mode="nearest"),
            keras.layers.RandomZoom(0.1, 0.1, fill_mode="nearest"),
        ]
    )
    return dataset.map(
        lambda images, labels: (layers(images, training=True), labels), num_parallel_calls=tf.data.AUTOTUNE
    )


def stock_photos(folder: Path, size: int, batch_size: int, augment: bool) -> Batches:
    """`image_dataset_from_directory`, the way of Keras' guides."""
    import keras
    import tensorflow as tf

    dataset = keras.utils.image_dataset_from_directory(
        folder, image_size=(size, size), batch_size=batch_size, label_mode="int", verbose=False
    )
    dataset = augmented(dataset) if augment else dataset
    return lambda: dataset.repeat().prefetch(tf.data.AUTOTUNE)


def stock_records(data_dir: str, batch_size: int, augment: bool) -> Batches:
    """`tfds.load`, the way of its guides."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    dataset = tfds.load("cifar10", split="train", data_dir=data_dir, as_supervised=True, download=False)
    dataset = dataset.shuffle(10_000).repeat().batch(batch_size)
    dataset = augmented(dataset) if augment else dataset
    return lambda: dataset.prefetch(tf.data.AUTOTUNE)


def prepared(overrides: list[str], recipe: str, state_root: str) -> Any:
    """The dataset of a recipe, and how many images a second `prepare` took to make it."""
    from trainer import config
    from trainer.data.prepared import open_prepared
    from trainer.data.sources import open_source
    from trainer.prepare import prepare
    from trainer.state import State

    parsed = config.load(CONFIGS / recipe, overrides)
    state = State.open(state_root)
    fingerprint = open_source(parsed.data, state).fingerprint().digest
    done = prepare(parsed.data, fingerprint, state)
    images = sum(map(sum, done.counts.values()))
    print(f"\nprepared: {images:,} images at {images / done.seconds:,.0f} a second.\n", flush=True)
    return open_prepared(done.path)


def step_rate(variant: Sequence[str], classes: int, shape: tuple[int, int], batch_size: int, seconds: float) -> float:
    """Images per second of the training step, on one batch again and again."""
    import keras
    import tensorflow as tf

    from trainer import config
    from trainer.models import classifier
    from trainer.training import precision
    from trainer.training.learner import Learner

    keras.config.set_dtype_policy(precision.choose("auto", [], precision.cpu_flags()).policy)
    model = classifier.for_training(config.model(variant[0], variant[1:]), classes, shape)
    learner = Learner(model, settings(batch_size, {}), classes)
    batch = Memory(batch_size, shape[0])
    stream = iter(tf.data.Dataset.from_tensors((batch.pixels, batch.labels % classes)).repeat())
    for _ in range(WARM_UP):
        learner.advance(stream, [0.0])
    steps, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        learner.advance(stream, [0.0])
        steps += 1
    learner.score()
    keras.config.set_dtype_policy("float32")
    return steps * batch_size / (time.perf_counter() - begun)


def compare(split: Any, size: int, batch_size: int, stock: Callable[[bool], Batches], arguments: Any) -> None:
    """One row without augmentation and one with it."""
    from trainer.data.feed import Reader

    shape = Reader(split, size, None).shape
    variant = arguments.variant or [VARIANTS[size]]
    step = step_rate([*variant, f"image_size={size}"], len(split.classes), shape, batch_size, arguments.seconds)
    for augment, change in ((False, {}), (True, STOCK_AUGMENT)):
        found = rates(
            {"ours": ours(split, batch_size, size, change), "stock": stock(augment)},
            arguments.rounds,
            arguments.seconds,
        )
        words = "flip, rotation, shift, zoom" if augment else "none"
        print(
            f"| {size}×{size} | {words} | {cell(found['ours'])} | {cell(found['stock'])} | "
            f"{ratio(found['ours'], found['stock'])} | {variant[0]} {step:,.0f} | "
            f"{statistics.median(found['ours']) / step:.1f} |",
            flush=True,
        )


HEADINGS = (
    "| images | augmentation | ours, images/s | stock, images/s | ours / stock | step, images/s | ours / step |\n"
    "|---|---|---|---|---|---|---|"
)


def measure_photos(arguments: argparse.Namespace) -> None:
    print("\n## JPEG files in folders\n")
    with tempfile.TemporaryDirectory() as state:
        dataset = prepared([f'data.source="folder:{arguments.photos}"'], "cats_vs_dogs.toml", state)
        split = dataset.split("train")
        parts(dataset.path / "train", arguments)
        print(HEADINGS)
        folder = Path(arguments.photos)
        train = folder / "train" if (folder / "train").is_dir() else folder
        for size in (150, 224):
            compare(
                split,
                size,
                32,
                partial(stock_photos, train, size, 32),
                arguments,
            )


def parts(folder: Path, arguments: argparse.Namespace) -> None:
    """What reading, decoding and resizing cost one after the other, in one thread. Args: folder, of a split."""
    from array_record.python.array_record_module import ArrayRecordReader

    from trainer.data.images import decode, resize

    reader = ArrayRecordReader(str(folder / "images.array_record"), "readahead_buffer_size:0,max_parallelism:0")
    rows = np.random.default_rng(0).permutation(reader.num_records()).tolist()
    stages: dict[str, Callable[[int], Any]] = {
        "read": lambda row: reader.read([row])[0],
        "read, decoded": lambda row: decode(reader.read([row])[0]),
        "read, decoded, resized to 224": lambda row: resize(decode(reader.read([row])[0]), 224),
    }
    print("| one thread | images/s |\n|---|---|")
    for name, stage in stages.items():
        found = []
        for _ in range(arguments.rounds):
            done, begun = 0, time.perf_counter()
            while time.perf_counter() - begun < arguments.seconds / 2:
                stage(rows[done % len(rows)])
                done += 1
            found.append(done / (time.perf_counter() - begun))
        print(f"| {name} | {cell(found)} |", flush=True)
    print()


def measure_records(arguments: argparse.Namespace) -> None:
    print("\n## CIFAR-10\n")
    with tempfile.TemporaryDirectory() as state:
        dataset = prepared([f'data.data_dir="{arguments.data_dir}"'], "cifar10_module.toml", state)
        print(HEADINGS)
        stock = partial(stock_records, arguments.data_dir, 128)
        compare(dataset.split("train"), 32, 128, stock, arguments)


def photograph(seed: int) -> bytes:
    """A JPEG of 224×224 that is like no other."""
    from PIL import Image

    small = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (14, 14, 3), dtype=np.uint8))
    file = io.BytesIO()
    small.resize((224, 224), Image.Resampling.BICUBIC).save(file, "JPEG", quality=85)
    return file.getvalue()


def measure_memory(arguments: argparse.Namespace) -> None:
    """Every size in a process of its own, after the images are prepared in another."""
    print("\n## Memory\n\n| photographs of 224×224 | in training | peak memory, MB | images/s |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for count in arguments.counts:
            folder = Path(scratch) / str(count)
            for seed in range(count):
                path = folder / "ab"[seed % 2] / f"{seed:06d}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(photograph(seed))
            words = [sys.executable, __file__, "--feed", str(folder), "--state", f"{scratch}/state"]
            subprocess.run([*words, "--steps", "0"], check=True, capture_output=True)
            done = subprocess.run([*words, "--steps", str(arguments.steps)], check=True, capture_output=True, text=True)
            told = json.loads(done.stdout.splitlines()[-1])
            print(f"| {count:,} | {told['images']:,} | {told['peak'] / 1e6:,.0f} | {told['rate']:,.0f} |", flush=True)


def feed_only(arguments: argparse.Namespace) -> None:
    """In this process: prepare if need be, then as many steps as were asked for, with everything switched on."""
    dataset = prepared([f'data.source="folder:{arguments.feed}"'], "cats_vs_dogs.toml", arguments.state)
    split = dataset.split("train")
    begun = time.perf_counter()
    if arguments.steps:
        change = CHANGES["flip, crop, rand_augment, erase, mixup, cutmix"]
        for _ in zip(range(arguments.steps), ours(split, 32, 224, change)(), strict=False):
            pass
    rate = arguments.steps * 32 / (time.perf_counter() - begun)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"images": len(split), "peak": peak, "rate": rate}))


PARTS = {"augment": measure_augment, "photos": measure_photos, "records": measure_records, "memory": measure_memory}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--photos", help="folder of JPEG files, a folder per class (or train/ and validation/ of those)"
    )
    parser.add_argument("--data-dir", help="TFDS folder that holds cifar10")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--variant", nargs="+", help="whose step, and its options: googlenet stem=small")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of one turn")
    parser.add_argument("--counts", type=int, nargs="+", default=[1000, 8000, 60000], help="photographs for `memory`")
    parser.add_argument("--steps", type=int, default=300, help="steps of 32 for `memory`")
    parser.add_argument("--feed", help=argparse.SUPPRESS)
    parser.add_argument("--state", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.feed:
        feed_only(arguments)
        return
    for part, option in (("photos", arguments.photos), ("records", arguments.data_dir)):
        if part in arguments.only and option is None:
            parser.error(f"{part} needs {'--photos' if part == 'photos' else '--data-dir'}")
    names = ("tensorflow", "keras", "tensorflow-datasets", "pillow", "numpy")
    print(", ".join(f"{name} {version(name)}" for name in names))
    for part in arguments.only:
        PARTS[part](arguments)


if __name__ == "__main__":
    main()
