"""Which side an example is on."""

from __future__ import annotations

from hashlib import sha256

import pytest

from trainer.data.splits import SPLITS, position, side

IDENTITIES = [sha256(f"example {i}".encode()).hexdigest() for i in range(4000)]


@pytest.mark.parametrize("official", [(), ("train",), ("train", "test"), ("train", "validation"), SPLITS])
@pytest.mark.parametrize("validation", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("test", [0.0, 0.2, 0.6])
def test_shares_are_as_asked_and_official_splits_are_left_alone(
    official: tuple[str, ...], validation: float, test: float
) -> None:
    """Of training examples, the asked share goes to each split that the source lacks, and none to one it has."""
    given = "train" if official else None
    sides = [side(identity, given, official, validation, test) for identity in IDENTITIES]
    wanted = {
        "test": 0.0 if "test" in official else test,
        "validation": 0.0 if "validation" in official else validation,
    }
    for split, share in wanted.items():
        assert sides.count(split) / len(sides) == pytest.approx(share, abs=0.03 if share else 0)
    assert set(sides) <= set(SPLITS)


@pytest.mark.parametrize("official", ["validation", "test"])
def test_an_official_split_is_kept(official: str) -> None:
    """No fraction moves an example out of the source's own validation or test split."""
    assert {side(i, official, SPLITS, 0.4, 0.5) for i in IDENTITIES} == {official}


@pytest.mark.parametrize(
    ("before", "after"), [((0.1, 0.2), (0.3, 0.2)), ((0.1, 0.2), (0.1, 0.5)), ((0.3, 0.1), (0.0, 0.6))]
)
def test_changing_one_fraction_moves_examples_only_across_its_own_border(
    before: tuple[float, float], after: tuple[float, float]
) -> None:
    """Examples come from or go to train; none goes from test to validation or back."""
    moves = {(side(i, None, (), *before), side(i, None, (), *after)) for i in IDENTITIES}
    assert not moves & {("test", "validation"), ("validation", "test")}


def test_a_side_depends_on_the_example_alone() -> None:
    """Asked again, in any company, an example answers the same; these four answers are frozen for good."""
    known = {0: 0.9466, 1: 0.6585, 2: 0.3458, 3: 0.1314}
    assert all(0 <= position(i) < 1 for i in IDENTITIES)
    assert {n: round(position(IDENTITIES[n]), 4) for n in known} == known


def test_sides_are_independent_of_the_order_of_identities() -> None:
    """`data.limit` takes the smallest identities of a split; they are not all on one side."""
    first = sorted(IDENTITIES)[:500]
    assert sum(side(i, None, (), 0.0, 0.5) == "test" for i in first) == pytest.approx(250, abs=50)
