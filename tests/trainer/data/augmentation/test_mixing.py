"""MixUp and CutMix."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from trainer.config import Augment
from trainer.data.augmentation.mixing import Mixture, mixed, mixture, targets, wanted

SHAPE = (12, 20)
BATCH = 64
IMAGES = np.random.default_rng(0).integers(0, 256, (BATCH, *SHAPE, 3), dtype=np.uint8)
LABELS = np.random.default_rng(1).integers(0, 5, BATCH).astype(np.int32)
MIXUP, CUTMIX, BOTH = Augment(mixup=0.4), Augment(cutmix=1.0), Augment(mixup=0.4, cutmix=1.0)


def drawn(config: Augment, step: int, seed: int = 7, batch: int = BATCH) -> Mixture:
    return mixture(config, seed, step, batch, SHAPE)


@pytest.mark.parametrize("config", [MIXUP, CUTMIX, BOTH], ids=["mixup", "cutmix", "both"])
def test_targets_are_shares_of_the_two_labels(config: Augment) -> None:
    """A row sums to 1 and holds the share of the own class, the rest of the partner's, and nothing else."""
    for step in range(6):
        given = drawn(config, step)
        rows = targets(LABELS, given, 5)
        assert rows.dtype == np.float32
        np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-6)
        expected = np.zeros((BATCH, 5))
        np.add.at(expected, (np.arange(BATCH), LABELS), given.shares)
        np.add.at(expected, (np.arange(BATCH), LABELS[given.partners]), 1 - given.shares.astype(float))
        np.testing.assert_allclose(rows, expected, atol=1e-6)


def test_mixup_blends_every_pixel_by_the_share() -> None:
    """Share · own + (1 − share) · partner, to half a level; the given images stay."""
    before = IMAGES.copy()
    for step in range(3):
        given = drawn(MIXUP, step)
        images = mixed(IMAGES, given)
        share = given.shares[:, None, None, None].astype(float)
        expected = share * IMAGES + (1 - share) * IMAGES[given.partners]
        assert np.abs(images - expected).max() <= 0.5 + 1e-3
        assert images.dtype == np.uint8
        assert not given.boxes.any()
    assert np.array_equal(IMAGES, before)


def test_cutmix_pastes_the_share_of_the_area() -> None:
    """A rectangle of the partner at its own place; the own image's share is what is left of it, to the pixel."""
    areas = []
    for step in range(8):
        given = drawn(CUTMIX, step)
        images = mixed(IMAGES, given)
        for index, (top, bottom, left, right) in enumerate(given.boxes):
            expected = IMAGES[index].copy()
            expected[top:bottom, left:right] = IMAGES[given.partners[index], top:bottom, left:right]
            assert np.array_equal(images[index], expected)
            area = (bottom - top) * (right - left) / np.prod(SHAPE)
            assert given.shares[index] == pytest.approx(1 - area, abs=1e-6)
            areas.append(area)
    assert 0.15 < np.mean(areas) < 0.45
    assert max(areas) > 0.8


def test_shares_of_mixup_are_beta_distributed() -> None:
    """With the recipe's alpha on both sides."""
    shares = np.concatenate([drawn(Augment(mixup=0.4), step).shares for step in range(60)])
    assert stats.kstest(shares, stats.beta(0.4, 0.4).cdf).pvalue > 1e-3
    assert stats.kstest(shares, stats.beta(1.0, 1.0).cdf).pvalue < 1e-6


@pytest.mark.parametrize("batch", [2, 3, 64])
def test_everybody_has_a_partner_and_is_one(batch: int) -> None:
    """Nobody is mixed with himself; with a batch of one there is nothing else."""
    for step in range(20):
        partners = drawn(MIXUP, step, batch=batch).partners
        assert sorted(partners) == list(range(batch))
        assert not (partners == np.arange(batch)).any()
    assert drawn(MIXUP, 0, batch=1).partners.tolist() == [0]


def test_with_both_every_batch_draws_one() -> None:
    """About half of the batches are cut and the others blended; never both in one."""
    cuts = [drawn(BOTH, step).boxes.any() for step in range(200)]
    assert 70 < sum(cuts) < 130
    assert not any(drawn(MIXUP, step).boxes.any() for step in range(20))
    assert all(drawn(CUTMIX, step).boxes.any() for step in range(20))


def test_a_step_is_mixed_the_same_every_time() -> None:
    """And another step, or another seed, otherwise."""
    one, again, other, another = drawn(BOTH, 5), drawn(BOTH, 5), drawn(BOTH, 6), drawn(BOTH, 5, seed=8)
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    for different in (other, another):
        assert not np.array_equal(one.shares, different.shares)
        assert not np.array_equal(one.partners, different.partners)


def test_it_is_wanted_where_an_alpha_is_given() -> None:
    """And not otherwise."""
    assert [wanted(config) for config in (MIXUP, CUTMIX, BOTH, Augment())] == [True, True, True, False]
