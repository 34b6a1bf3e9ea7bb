"""Batches: complete, repeatable from any position, and of the right size."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from trainer.config import Augment, Color, Crop, Data, Erase, RandAugment, Sgd, Train
from trainer.data.feed import Feed, ordered
from trainer.data.images import resize
from trainer.data.prepared import PreparedDataset, Split, open_prepared
from trainer.data.sources import open_source
from trainer.errors import DataError
from trainer.prepare import prepare
from trainer.state import State

AUGMENT = Augment(flip=True, rotation=15, shift=0.1)
Batch = tuple[NDArray[np.uint8], NDArray[Any]]

EVERYTHING = Augment(
    flip=True,
    rotation=10,
    crop=Crop(interpolation="random"),
    color=Color(brightness=0.1, contrast=0.2, saturation=0.3, hue=0.1),
    rand_augment=RandAugment(operations=2, magnitude=12),
    erase=Erase(),
    mixup=0.4,
    cutmix=1.0,
)
OPTIONS = {
    "plain": Augment(),
    "affine": AUGMENT,
    **{name: Augment.model_validate({name: getattr(EVERYTHING, name)})
       for name in ("crop", "color", "rand_augment", "erase", "mixup", "cutmix")},
    "everything": EVERYTHING,
}  # fmt: skip


def settings(batch_size: int, seed: int = 0, augment: Augment = OPTIONS["plain"], **others: Any) -> Train:
    """What a feed takes of a recipe."""
    optimizer = Sgd(name="sgd", learning_rate=0.1)
    return Train(epochs=1, batch_size=batch_size, seed=seed, augment=augment, optimizer=optimizer, **others)


def dataset_of(folder: Path, sizes: list[tuple[int, int]], rare: int = 1) -> PreparedDataset:
    """Images of three classes; of the last ones there are fewer, if `rare` is more than 1."""
    for seed, (height, width) in enumerate(sizes):
        path = folder / "images" / "abc"[seed % 3 if seed % rare == 0 else 0] / f"{seed}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        path.write_bytes(file.getvalue())
    data = Data(source=f"folder:{folder / 'images'}", validation_fraction=0.2, test_fraction=0.2)
    state = State.open(folder / "state")
    return open_prepared(prepare(data, open_source(data, state).fingerprint().digest, state).path)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    """70 images of 12×16, stored raw."""
    return dataset_of(tmp_path_factory.mktemp("small"), [(12, 16)] * 70)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    """70 images of 70×68, stored encoded."""
    return dataset_of(tmp_path_factory.mktemp("large"), [(70, 68)] * 70)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    """70 images of as many sizes."""
    return dataset_of(tmp_path_factory.mktemp("mixed"), [(20 + k, 95 - k) for k in range(70)])


def split_of(name: str, request: pytest.FixtureRequest) -> Split:
    dataset: PreparedDataset = request.getfixturevalue(name)
    return dataset.split("train")


def stream(feed: Feed, first: int, last: int) -> list[Batch]:
    return [(images.numpy(), labels.numpy()) for images, labels in feed.batches(first, last)]


def same(one: list[Batch], two: list[Batch]) -> bool:
    return len(one) == len(two) and all(
        np.array_equal(a, b) and np.array_equal(m, n) for (a, m), (b, n) in zip(one, two, strict=True)
    )


@pytest.mark.parametrize(
    ("kind", "option", "sampling"),
    [
        *(("small", option, "shuffle") for option in OPTIONS),
        ("large", "affine", "shuffle"),
        ("mixed", "plain", "shuffle"),
        ("mixed", "crop", "shuffle"),
        ("small", "everything", "balanced"),
        ("mixed", "affine", "balanced"),
    ],
)
def test_a_stream_that_starts_anywhere_goes_on_as_an_uninterrupted_one(
    kind: str, option: str, sampling: str, request: pytest.FixtureRequest
) -> None:
    """From every step, also across the borders of epochs, the batches are those of the stream from the start."""
    split, train = split_of(kind, request), settings(9, 5, OPTIONS[option], sampling=sampling)
    feed = Feed(split, train, 40)
    steps = feed.steps_per_epoch
    uninterrupted = stream(feed, 0, 3 * steps)
    assert len(uninterrupted) == 3 * steps
    for first in (1, 2 * steps - 1):
        again = Feed(split, train, 40, workers=1)
        assert same(stream(again, first, 3 * steps), uninterrupted[first:])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("batch_size", [1, 7, 16])
def test_every_epoch_shows_each_example_at_most_once_in_a_new_order(
    seed: int, batch_size: int, small: PreparedDataset
) -> None:
    """An epoch is a permutation less the remainder, each image with its own label; the next is another one."""
    split = small.split("train")
    label_of = {split.image(i).tobytes(): label for i, label in enumerate(split.labels)}
    feed = Feed(split, settings(batch_size, seed), 16)
    assert feed.steps_per_epoch == len(split) // batch_size
    orders = []
    for epoch in range(2):
        seen: list[bytes] = []
        for images, labels in stream(feed, epoch * feed.steps_per_epoch, (epoch + 1) * feed.steps_per_epoch):
            assert images.shape == (batch_size, 12, 16, 3)
            assert images.dtype == np.uint8
            assert labels.dtype == np.int32
            assert [label_of[image.tobytes()] for image in images] == labels.tolist()
            seen += [image.tobytes() for image in images]
        assert max(Counter(seen).values()) == 1
        assert len(seen) == feed.steps_per_epoch * batch_size
        orders.append(seen)
    assert orders[0] != orders[1]


def test_no_steps_are_no_batches(small: PreparedDataset) -> None:
    """A stream that ends where it begins is empty."""
    assert stream(Feed(small.split("train"), settings(9), 16), 5, 5) == []


def test_another_seed_is_another_order(small: PreparedDataset) -> None:
    """Two seeds do not show the same first batch."""
    one, two = (stream(Feed(small.split("train"), settings(16, seed), 16), 0, 1) for seed in (1, 2))
    assert not same(one, two)


@pytest.mark.parametrize("option", [name for name in OPTIONS if name not in ("plain", "mixup", "cutmix")])
def test_what_an_image_gets_does_not_depend_on_its_batch(option: str, small: PreparedDataset) -> None:
    """In one epoch an example is changed alike under another batch size; something is changed at all."""
    split = small.split("train")
    augment = OPTIONS[option].model_copy(update={"mixup": 0.0, "cutmix": 0.0})
    shown = []
    for batch_size in (3, len(split) // 2):
        feed = Feed(split, settings(batch_size, 3, augment), 16)
        images = [image for batch, _ in stream(feed, 0, feed.steps_per_epoch) for image in batch]
        shown.append(np.stack(images))
    count = min(map(len, shown))
    assert np.array_equal(shown[0][:count], shown[1][:count])
    originals = split.images(feed.indices(0)[1])
    assert not np.array_equal(originals, shown[1][: len(originals)])


def test_where_images_are_mixed_labels_are_targets(small: PreparedDataset) -> None:
    """Float32 shares of all classes instead of numbers, as the stream says beforehand."""
    split = small.split("train")
    plain = stream(Feed(split, settings(8, 2), 16), 0, 6)
    feed = Feed(split, settings(8, 2, Augment(mixup=1.0)), 16)
    for (images, targets), (own, labels) in zip(stream(feed, 0, 6), plain, strict=True):
        assert images.dtype == np.uint8
        assert targets.dtype == np.float32
        assert targets.shape == (8, 3)
        np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)
        assert np.all(targets[np.arange(8), labels] > 0)
        assert not np.array_equal(images, own)
    assert [spec.shape for spec in feed.batches(0, 1).element_spec] == [(8, 12, 16, 3), (8, 3)]


def test_balanced_sampling_shows_every_class_equally_often(tmp_path: Path) -> None:
    """In as many steps as without it; an image that comes again in an epoch is changed otherwise."""
    data = dataset_of(tmp_path, [(12, 16)] * 40, rare=2)
    split = data.split("train")
    assert np.bincount(split.labels).min() * 3 < np.bincount(split.labels).max()
    train = settings(6, 1, Augment(rotation=30), sampling="balanced")
    feed = Feed(split, train, 16)
    assert feed.steps_per_epoch == len(split) // 6
    for epoch in range(2):
        steps = range(epoch * feed.steps_per_epoch, (epoch + 1) * feed.steps_per_epoch)
        batches = stream(feed, steps[0], steps[-1] + 1)
        labels = np.concatenate([labels for _, labels in batches])
        assert np.ptp(np.bincount(labels, minlength=3)) <= 1
        taken = np.concatenate([feed.indices(step)[1] for step in steps])
        assert np.array_equal(split.labels[taken], labels)
        assert len(set(taken)) < len(taken)
        assert len({image.tobytes() for images, _ in batches for image in images}) == len(taken)


def test_an_example_gets_something_else_in_every_epoch(small: PreparedDataset) -> None:
    """Augmentation is drawn anew: of one example ten epochs show ten pictures."""
    split = small.split("train")
    feed = Feed(split, settings(1, 0, Augment(rotation=30)), 16)
    shown = set()
    for epoch in range(10):
        step = next(s for s in range(epoch * len(split), (epoch + 1) * len(split)) if feed.indices(s)[1][0] == 0)
        shown.add(stream(feed, step, step + 1)[0][0].tobytes())
    assert len(shown) == 10


@pytest.mark.parametrize(
    ("kind", "image_size", "shape"),
    [
        ("small", 224, (12, 16)),
        ("small", 16, (12, 16)),
        ("small", 15, (15, 15)),
        ("large", 96, (70, 68)),
        ("large", 32, (32, 32)),
        ("mixed", 48, (48, 48)),
        ("mixed", 96, (96, 96)),
    ],
)
def test_only_images_that_differ_or_are_too_large_are_resized(
    kind: str, image_size: int, shape: tuple[int, int], request: pytest.FixtureRequest
) -> None:
    """Images of one shape within the network's size stay as they are, for the model to enlarge on its device."""
    split = split_of(kind, request)
    feed = Feed(split, settings(4), image_size)
    assert feed.shape == shape
    images, _ = stream(feed, 0, 1)[0]
    _, indices = feed.indices(0)
    for image, index in zip(images, indices, strict=True):
        original = split.image(int(index))
        assert np.array_equal(image, original if split.shape == shape else resize(original, image_size))
    assert feed.batches(0, 1).element_spec[0].shape == (4, *shape, 3)


def test_fewer_images_than_a_batch_is_an_error(small: PreparedDataset) -> None:
    """A batch size that no epoch can fill is refused with the number of images there are."""
    count = len(small.split("train"))
    with pytest.raises(DataError, match=f"has {count} images, fewer than one batch of {count + 1}") as caught:
        Feed(small.split("train"), settings(count + 1), 16)
    assert f"train.batch_size to {count}" in caught.value.remedy
    assert Feed(small.split("train"), settings(count), 16).steps_per_epoch == 1


@pytest.mark.parametrize("kind", ["small", "large", "mixed"])
@pytest.mark.parametrize("batch_size", [1, 8, 1000])
def test_in_order_every_example_comes_once(kind: str, batch_size: int, request: pytest.FixtureRequest) -> None:
    """For evaluation: all examples in the split's order, the last batch as large as what is left."""
    split = split_of(kind, request)
    batches = [(images.numpy(), labels.numpy()) for images, labels in ordered(split, batch_size, 64)]
    assert [len(labels) for _, labels in batches[:-1]] == [min(batch_size, len(split))] * (len(batches) - 1)
    assert np.array_equal(np.concatenate([labels for _, labels in batches]), split.labels)
    images = np.concatenate([images for images, _ in batches])
    for index in range(len(split)):
        original = split.image(index)
        assert np.array_equal(images[index], original if kind == "small" else resize(original, 64))


def test_images_of_many_sizes_need_a_size_to_make_a_batch(small: PreparedDataset, mixed: PreparedDataset) -> None:
    """Without a size, images of one shape come as they are, and others are refused."""
    assert next(iter(ordered(small.split("test"), 4)))[0].shape[1:] == (12, 16, 3)
    with pytest.raises(ValueError, match="image_size"):
        ordered(mixed.split("test"), 4)


def test_reading_is_safe_under_threads(large: PreparedDataset) -> None:
    """Many threads that read one split at once each get the image they asked for."""
    from concurrent.futures import ThreadPoolExecutor

    split = Split("train", large.path / "train", large.manifest)
    expected: list[Any] = [large.split("train").image(i) for i in range(len(split))]
    asked = np.random.default_rng(0).integers(0, len(split), 600).tolist()
    with ThreadPoolExecutor(16) as pool:
        for index, pixels in zip(asked, pool.map(split.image, asked), strict=True):
            assert np.array_equal(pixels, expected[index])
