"""Images that look alike: which do, which do not, and that none is overlooked."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from sklearn.datasets import load_sample_images

from trainer.data.near_duplicates import DISTANCE, UNHASHED, find, perceptual_hash

BITS = 63


@pytest.fixture(scope="module")
def photographs() -> list[Image.Image]:
    """Ninety-six different parts of scikit-learn's two photographs."""
    return [
        Image.fromarray(image[top : top + 100, left : left + 150])
        for image in load_sample_images().images
        for top in range(0, 400, 65)
        for left in range(0, 480, 60)
    ]


def as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


CHANGES = {
    "a poor JPEG": lambda image: as_jpeg(image, 40),
    "half its size": lambda image: image.resize((75, 50), Image.Resampling.LANCZOS),
    "twice its size": lambda image: image.resize((300, 200), Image.Resampling.BICUBIC),
    "a small JPEG": lambda image: as_jpeg(image.resize((90, 60)), 75),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
    "less contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.7),
    "grey": lambda image: image.convert("L").convert("RGB"),
}


def differing(one: int, other: int) -> int:
    return (one ^ other).bit_count()


@pytest.mark.parametrize("change", CHANGES)
def test_an_image_over_again_looks_alike(change: str, photographs: list[Image.Image]) -> None:
    """Four in five and more stay within the distance, although many of these parts show little but sky."""
    distances = [
        differing(perceptual_hash(np.array(image)), perceptual_hash(np.array(CHANGES[change](image))))
        for image in photographs
    ]
    assert np.mean([distance <= DISTANCE for distance in distances]) >= 0.8


def test_different_images_do_not_look_alike(photographs: list[Image.Image]) -> None:
    """Parts of one photograph, even."""
    hashes = [perceptual_hash(np.array(image)) for image in photographs]
    pairs = [differing(one, other) for place, one in enumerate(hashes) for other in hashes[:place]]
    assert np.mean([distance <= DISTANCE for distance in pairs]) < 0.001


def test_an_image_without_contours_has_no_hash() -> None:
    """All blank pages would be one another's duplicates."""
    noise = np.random.default_rng(0).integers(250, 254, (40, 40, 3), np.uint8)
    assert perceptual_hash(noise) == UNHASHED
    assert perceptual_hash(np.zeros((8, 8, 3), np.uint8)) == UNHASHED
    assert find(np.array([UNHASHED], np.uint64), np.array([UNHASHED], np.uint64), 10).total == 0


@pytest.mark.parametrize("candidates", [4_000_000, 50])
def test_no_pair_is_overlooked_and_none_is_counted_twice(candidates: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bands give what looking at every pair gives, however small the portions are."""
    monkeypatch.setattr("trainer.data.near_duplicates._CANDIDATES", candidates)
    random = np.random.default_rng(1)
    one = random.integers(1, 1 << BITS, 400, dtype=np.uint64)
    other = one[random.integers(0, 400, 300)].copy()
    for row in range(300):
        for bit in random.choice(BITS, row % 9, replace=False):
            other[row] ^= np.uint64(1) << np.uint64(bit)
    distances = np.bitwise_count(one[:, None] ^ other[None, :])
    expected = {(int(i), int(j), int(distances[i, j])) for i, j in np.argwhere(distances <= DISTANCE)}
    found = find(one, other, 10_000)
    assert {tuple(pair) for pair in found.pairs.tolist()} == expected
    assert found.total == len(found.pairs) == len(expected) > 150


def test_the_closest_pairs_are_listed() -> None:
    """As many as asked for; all are counted."""
    a, b, c = np.random.default_rng(2).integers(1, 1 << BITS, 3, dtype=np.uint64)
    found = find(np.array([a, b, c]), np.array([b ^ np.uint64(7), a, c ^ np.uint64(1 << 62)]), 2)
    assert found.total == 3
    assert found.pairs.tolist() == [[0, 1, 0], [2, 2, 1]]
