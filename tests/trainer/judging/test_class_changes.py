"""What two models of different classes both know."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.judging.class_changes import Change, find, restricted

CHANGES = {
    "none": (["a", "b"], ["a", "b"], {}, Change([], [], {}, ["a", "b"])),
    "another order": (["b", "a"], ["a", "b"], {}, Change([], [], {}, ["a", "b"])),
    "added": (["a"], ["a", "b"], {}, Change(["b"], [], {}, ["a"])),
    "removed": (["a", "b"], ["b"], {}, Change([], ["a"], {}, ["b"])),
    "renamed": (["a", "old"], ["a", "new"], {"old": "new"}, Change([], [], {"old": "new"}, ["a", "new"])),
    "not declared": (["a", "old"], ["a", "new"], {}, Change(["new"], ["old"], {}, ["a"])),
    "declared in vain": (["a", "b"], ["a", "b"], {"old": "a"}, Change([], [], {}, ["a", "b"])),
    "two become one": (["x", "y"], ["z", "q"], {"x": "z", "y": "z"}, Change(["q"], [], {"x": "z", "y": "z"}, ["z"])),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changes_are_told_apart(name: str) -> None:
    """Added, removed and renamed; another order is no change."""
    known, classes, renamed, expected = CHANGES[name]
    found = find(known, classes, renamed)
    assert found == expected
    assert bool(found) == (name not in ("none", "another order", "declared in vain"))


def test_a_change_in_words_is_short() -> None:
    """A thousand new classes are counted, the first of them named."""
    words = str(find(["a", "old"], ["a", "new", *map(str, range(1000))], {"old": "new"}))
    assert words == "1000 added (0, 1, 2, 3, 4 and 995 more), 1 renamed (old → new)"


def test_probabilities_are_those_of_a_choice_among_the_common_classes() -> None:
    """What went to others is shared out in proportion, merged classes add up, and nothing at all is undecided."""
    answers = np.array([[0.5, 0.1, 0.1, 0.3], [0.0, 0.0, 1.0, 0.0]], np.float32)
    kept = restricted(answers, ["a", "b", "gone", "b2"], ["b", "a"], {"b2": "b"})
    np.testing.assert_allclose(kept, [[0.4 / 0.9, 0.5 / 0.9], [0.5, 0.5]], rtol=1e-6)
    assert kept.dtype == np.float32
