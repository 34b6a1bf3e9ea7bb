"""Images of one batch mixed with each other, and their labels by the same shares.

MixUp (Zhang et al. 2018, arXiv:1710.09412) blends two images, CutMix (Yun et al. 2019, arXiv:1905.04899) pastes a
rectangle of one into the other. With both, every batch draws one.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.config import Augment
from trainer.data.augmentation import draws
from trainer.data.images import Pixels


class Mixture(NamedTuple):
    """What becomes of a batch of B images."""

    partners: NDArray[np.int32]
    """(B,): whose image is mixed in; never the own one, where there is another."""
    shares: NDArray[np.float32]
    """(B,): how much remains of the own image, and of its label."""
    boxes: NDArray[np.int32]
    """(B, 4): top, bottom, left, right of what is pasted in; an empty one where images are blended."""


def wanted(config: Augment) -> bool:
    return bool(config.mixup or config.cutmix)


def mixture(config: Augment, seed: int, step: int, batch_size: int, shape: tuple[int, int]) -> Mixture:
    """What is mixed at a step.

    Args:
        config: the recipe's `[train.augment]`.
        seed: of the training.
        step: counted from the start of the training.
        shape: (h, w) of the images.
    """
    random = np.random.default_rng(draws.seed_of(seed, step, "mix"))
    order = random.permutation(batch_size)
    partners = np.empty(batch_size, np.int32)
    partners[order] = np.roll(order, 1)
    cuts = bool(config.cutmix) and (not config.mixup or random.random() < 0.5)
    alpha = config.cutmix if cuts else config.mixup
    shares = random.beta(alpha, alpha, batch_size)
    if not cuts:
        return Mixture(partners, shares.astype(np.float32), np.zeros((batch_size, 4), np.int32))
    boxes = _boxes(shares, random.random((batch_size, 2)), shape)
    top, bottom, left, right = boxes.T
    # What lies outside the image is not pasted, so the share is counted anew.
    kept = 1.0 - (bottom - top) * (right - left) / math.prod(shape)
    return Mixture(partners, kept.astype(np.float32), boxes)


def _boxes(shares: NDArray[np.float64], centres: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.int32]:
    """(B, 4): as much of the image as the shares leave over, of its own shape, about a centre anywhere in it."""
    size = np.array(shape)
    half = np.sqrt(1.0 - shares)[:, None] * size / 2.0
    first = np.clip(np.round(centres * size - half), 0, size)
    last = np.clip(np.round(centres * size + half), 0, size)
    return np.stack([first[:, 0], last[:, 0], first[:, 1], last[:, 1]], axis=1).astype(np.int32)


def mixed(images: Pixels, mixture: Mixture) -> Pixels:
    """(B, H, W, 3) uint8, mixed."""
    changed = images.copy()
    if not mixture.boxes.any():
        for image, partner, share in zip(changed, mixture.partners, mixture.shares, strict=True):
            other = images[partner].astype(np.float32)
            image[:] = np.rint(other + share * (image - other))
        return changed
    for image, partner, (top, bottom, left, right) in zip(changed, mixture.partners, mixture.boxes, strict=True):
        image[top:bottom, left:right] = images[partner, top:bottom, left:right]
    return changed


def targets(labels: NDArray[np.int32], mixture: Mixture, classes: int) -> NDArray[np.float32]:
    """(B, classes): the share of each class; every row sums to 1."""
    rows = np.arange(len(labels))
    shares = np.zeros((len(labels), classes), np.float32)
    shares[rows, labels] = mixture.shares
    shares[rows, labels[mixture.partners]] += 1.0 - mixture.shares
    return shares
