"""Two models that know different classes, compared on what both know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEWEST = 2
"""Common classes below which there is nothing to tell apart."""


@dataclass(frozen=True)
class Change:
    """How the classes of a model differ from those of the data.

    Attributes:
        added: the data has them, the model does not.
        removed: the model's own names of what the data has no more.
        renamed: the model's name to the data's, of those that the recipe declares.
        common: names in the data of what both know, in the data's order.
    """

    added: list[str]
    removed: list[str]
    renamed: dict[str, str]
    common: list[str]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.renamed)

    def __str__(self) -> str:
        parts = [
            f"{len(names)} {what} ({_listed(names)})"
            for what, names in (("added", self.added), ("removed", self.removed))
            if names
        ]
        if self.renamed:
            pairs = [f"{old} → {new}" for old, new in self.renamed.items()]
            parts.append(f"{len(pairs)} renamed ({_listed(pairs)})")
        return ", ".join(parts)


def find(known: Sequence[str], classes: Sequence[str], renamed: Mapping[str, str]) -> Change:
    """Compare a model's classes with the data's.

    Args:
        known: the model's.
        classes: the data's.
        renamed: old name to new name; a name that the model does not know says nothing about it.
    """
    now = {name: renamed.get(name, name) for name in known}
    return Change(
        added=[name for name in classes if name not in now.values()],
        removed=[name for name in known if now[name] not in classes],
        renamed={old: new for old, new in now.items() if old != new and new in classes},
        common=[name for name in classes if name in now.values()],
    )


def restricted(
    probabilities: NDArray[np.float32], known: Sequence[str], common: Sequence[str], renamed: Mapping[str, str]
) -> NDArray[np.float32]:
    """(N, common): what a model would say if it had to choose among the common classes.

    Classes that have become one add up. A row that has nothing for any of them is undecided among all.
    """
    kept = np.zeros((len(probabilities), len(common)), np.float64)
    for column, name in enumerate(known):
        now = renamed.get(name, name)
        if now in common:
            kept[:, common.index(now)] += probabilities[:, column]
    total = kept.sum(axis=1, keepdims=True)
    even = np.full_like(kept, 1 / len(common))
    shares: NDArray[np.float32] = np.divide(kept, total, out=even, where=total > 0).astype(np.float32)
    return shares


def _listed(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
