"""Which split an example belongs to: decided by the example alone, so it never changes sides as data grows."""

from __future__ import annotations

from collections.abc import Collection
from hashlib import sha256

SPLITS = ("train", "validation", "test")

OFFICIAL_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
    "testing": "test",
}
"""What sources call their splits, and what we call them."""


def side(
    identity: str,
    official_split: str | None,
    official_splits_present: Collection[str],
    validation_fraction: float,
    test_fraction: float,
) -> str:
    """`train`, `validation` or `test`.

    A split that the source has is kept as it is. One that it lacks is carved out of its training part (or out of
    everything, where it has no splits): test from the lower end of the hash's range, validation from the upper end,
    so that changing one fraction moves nothing across the other's border.
    """
    if official_split in ("validation", "test"):
        return official_split
    at = position(identity)
    if "test" not in official_splits_present and at < test_fraction:
        return "test"
    if "validation" not in official_splits_present and at >= 1 - validation_fraction:
        return "validation"
    return "train"


def position(identity: str) -> float:
    """A number in [0, 1) that depends on the identity alone.

    Hashed once more, so that it is independent of the order of the identities, by which `data.limit` chooses.
    """
    digest = sha256(b"split:" + identity.encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53
