"""The error budget of a test set: what each decision on it may risk.

Whoever asks the same test examples again and again, at 5 % each time, is bound to be told "better" some day by chance.
So each comparison with a champion may take upon itself a share of what is left of the budget, and the ledger remembers
what was taken. The chance that a model which is no better was ever promoted is at most the sum (union bound), and the
sum never exceeds the budget: what is left shrinks by the same factor each time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from trainer.config import Gate

if TYPE_CHECKING:
    from trainer.registry.protocol import Entry


def level(entries: Iterable[Entry], policy: Gate, test_digest: str, examples: int) -> float:
    """The level of the next decision: `1 / horizon` of what is left of `budget`, and never more than `alpha`.

    Args:
        entries: the ledger, whose trials have spent some of the budget.
        policy: `budget`, `horizon` and `alpha`.
        test_digest: of the test examples that the next decision is made on.
        examples: how many they are.

    Returns 0 where nothing is left: under a larger budget more was spent than there is now, or the horizon is 1.
    """
    return min(policy.alpha, max(0.0, policy.budget - spent(entries, test_digest, examples)) / policy.horizon)


def spent(entries: Iterable[Entry], test_digest: str, examples: int) -> float:
    """What the ledger's trials have taken from the budget of these test examples.

    A trial counts in full on the same examples, and by their share where the set has grown.
    """
    trials = [entry.trial for entry in entries if entry.trial is not None]
    return sum(
        trial.level * (1.0 if trial.test_digest == test_digest else min(1.0, trial.examples / examples))
        for trial in trials
    )
