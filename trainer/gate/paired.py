"""Tests of a gain on paired answers: both models on the same examples, so that only those count on which they differ.

An example on which only the challenger is right is won, one on which only the champion is right is lost.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

POWER = 0.8
"""Chance of a result that the hint of an undecided verdict plans for."""
SEED = 0
"""The same answers have the same interval, whenever they are judged."""


def mcnemar(won: int, lost: int) -> float:
    """The exact McNemar test (McNemar 1947, Psychometrika 12), one-sided: the hypothesis is "no better".

    Returns the p-value: the chance of at least `won` of `won + lost` tosses of a fair coin.
    """
    tosses = won + lost
    # In whole numbers, which lose nothing however small the tail is: the image that decides holds no SciPy.
    ways = tail = math.comb(tosses, won)
    for heads in range(won, tosses):
        ways = ways * (tosses - heads) // (heads + 1)
        tail += ways
    return tail / (1 << tosses)


def gain_interval(won: int, lost: int, examples: int, confidence: float, resamples: int) -> tuple[float, float]:
    """Paired bootstrap percentile interval of the gain in accuracy (Efron & Tibshirani 1993, chapter 13).

    To draw examples with replacement and count the won and the lost ones is to draw both counts from a multinomial
    distribution, so that is drawn from: the same interval, in no time, and whatever order the examples are in.
    """
    shares = [won / examples, lost / examples, (examples - won - lost) / examples]
    drawn = np.random.default_rng(SEED).multinomial(examples, shares, size=resamples)
    gains = (drawn[:, 0] - drawn[:, 1]) / examples
    tail = (1 - confidence) / 2
    low, high = np.quantile(gains, [tail, 1 - tail])
    return float(low), float(high)


def examples_needed(won: int, lost: int, examples: int, alpha: float) -> int:
    """About how many test examples would make the observed gain significant, with a chance of `POWER`.

    Connor 1987 (Biometrics 43, 207-211), sample size for the paired design; one-sided. `won` must exceed `lost`.
    """
    discordant, gain = (won + lost) / examples, (won - lost) / examples
    # Of the tail itself: 1 - alpha is 1 where many decisions have left hardly any of the error budget.
    z_alpha, z_power = -NormalDist().inv_cdf(alpha), NormalDist().inv_cdf(POWER)
    root = z_alpha * math.sqrt(discordant) + z_power * math.sqrt(discordant - gain**2)
    return max(examples + 1, math.ceil((root / gain) ** 2))


def examples_for_interval(won: int, lost: int, examples: int, effect: float, confidence: float) -> int | None:
    """About how many would part the interval of the observed gain from `effect`, with a chance of `POWER`.

    None where the observed gain is that effect, so that no number would.
    """
    discordant, gain = (won + lost) / examples, (won - lost) / examples
    if abs(gain - effect) < 0.5 / examples:
        return None
    z = NormalDist().inv_cdf((1 + confidence) / 2) + NormalDist().inv_cdf(POWER)
    return max(examples + 1, math.ceil((discordant - gain**2) * (z / (gain - effect)) ** 2))
