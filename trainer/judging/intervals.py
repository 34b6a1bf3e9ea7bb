"""Bootstrap intervals (Efron 1979, Annals of Statistics 7): how far a figure could be off on account of which examples
happen to be in the test split.

Every resample draws as many examples as there are, with replacement. That is to weigh each example by how often it was
drawn, so all resamples come as one matrix of weights and one product with the tally, in portions that bound the memory.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainer.judging import figures
from trainer.judging.figures import Figures, Floats, Tally

CONFIDENCE = 0.95
SEED = 0
"""The same predictions have the same intervals, whenever they are asked for."""
PORTION = 4_000_000
"""Weights in memory at once: some 100 MB with what it takes to draw them."""

Bounds = tuple[Floats, Floats]


def resampled(tally: Tally, resamples: int) -> Figures:
    """The figures of as many resamples as asked for: 1,000 of 10,000 examples take half a second."""
    across = tally.matrix().T.tocsr()
    count = across.shape[1]
    random = np.random.default_rng(SEED)
    portion = max(1, PORTION // count)
    sums = [
        (across @ _weights(random, count, min(portion, resamples - start))).T for start in range(0, resamples, portion)
    ]
    return figures.of(np.concatenate(sums), tally)


def _weights(random: np.random.Generator, count: int, resamples: int) -> Floats:
    """(count, resamples): how often each example was drawn."""
    drawn = random.integers(0, count, (count, resamples)) * resamples + np.arange(resamples)
    weights = np.bincount(drawn.ravel(), minlength=count * resamples)
    return weights.reshape(count, resamples).astype(np.float64)


def percentile(values: Floats, confidence: float = CONFIDENCE) -> Bounds:
    """Lower and upper bounds of each column of (B, …), over the resamples in which it could be computed; NaN if none.

    A class of three examples is missing from one resample in twenty: its recall there is not 0, there is none.
    """
    ordered = np.sort(values, axis=0)  # NaN comes last
    last = (~np.isnan(ordered)).sum(axis=0) - 1
    tail = (1 - confidence) / 2
    return _quantile(ordered, last, tail), _quantile(ordered, last, 1 - tail)


def _quantile(ordered: Floats, last: NDArray[np.intp], share: float) -> Floats:
    """Interpolated linearly between the two nearest, as `numpy.quantile` does it."""
    at = np.maximum(last, 0) * share
    below = np.floor(at).astype(np.intp)
    above = np.minimum(below + 1, np.maximum(last, 0))
    low = np.take_along_axis(ordered, below[None], axis=0)[0]
    high = np.take_along_axis(ordered, above[None], axis=0)[0]
    bound: Floats = low + (high - low) * (at - below)
    return bound


def mirrored(figure: Floats, values: Floats, confidence: float = CONFIDENCE) -> Bounds:
    """The basic bootstrap interval, mirrored at the figure, for one that resampling only makes larger.

    A calibration error adds up absolute gaps, which chance alone widens: the resamples' errors lie above the figure as
    the figure lies above the truth. Mirroring takes that back; the bounds hold the figure and are never negative.
    """
    low, high = percentile(values, confidence)
    return np.clip(np.minimum(2 * figure - high, figure), 0.0, None), np.maximum(2 * figure - low, figure)
