"""All that a rule may look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainer.config import Gate
from trainer.gate.candidate import Candidate

if TYPE_CHECKING:
    from trainer.record import ClassChange, Golden, Latency


@dataclass(frozen=True, eq=False)
class Circumstances:
    """What counts beside the two candidates.

    Attributes:
        level: of the significance test, as the error budget leaves it; None: the policy's `alpha`.
        incomparable: why there is a champion and no comparison with it. `champion` is None then.
        class_change: challenger and champion know different classes. `champion` is then the champion on the examples
            of the classes that both know, and `compared` the challenger on the same.
        latency: the two models' times in alternation; empty where they were not measured.
        golden: how the registered challenger answered to its golden images.
    """

    level: float | None = None
    incomparable: str | None = None
    class_change: ClassChange | None = None
    compared: Candidate | None = None
    latency: Sequence[Latency] = ()
    golden: Golden | None = None


@dataclass(frozen=True, eq=False)
class Case:
    """A challenger before the gate.

    Attributes:
        challenger: on all test examples.
        champion: on the examples of the comparison; None where there is none, or none to compare with.
        policy: what it must show.
        circumstances: what else counts.
    """

    challenger: Candidate
    champion: Candidate | None
    policy: Gate
    circumstances: Circumstances

    @property
    def first(self) -> bool:
        """There is no champion at all."""
        return self.champion is None and self.circumstances.incomparable is None

    @property
    def compared(self) -> Candidate:
        """The challenger on the examples of the comparison."""
        return self.circumstances.compared or self.challenger

    @property
    def level(self) -> float:
        """Of the significance test."""
        return self.policy.alpha if self.circumstances.level is None else self.circumstances.level
