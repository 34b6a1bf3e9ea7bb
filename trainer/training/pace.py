"""How many optimiser steps a device is sent off with at once."""

from __future__ import annotations

CALL_SECONDS = 0.2
"""A call this long hides what it costs to make one, and lets a progress line, a signal or a divergence be noticed."""
LONG_STEP_SECONDS = 0.05
"""A processor's step from which on the call costs nothing beside it."""


def steps_at_once(seconds_per_step: float | None, asked: int | None, until_boundary: int, on_gpu: bool) -> int:
    """At least 1, and never past the epoch's end.

    Args:
        seconds_per_step: as measured so far; None: not measured yet.
        asked: the recipe's `resources.steps_per_execution`.
        until_boundary: steps left in the epoch, at least 1.
        on_gpu: whether steps run on a GPU.
    """
    if asked is None:
        asked = 1
        if seconds_per_step and (on_gpu or seconds_per_step <= LONG_STEP_SECONDS):
            asked = round(CALL_SECONDS / seconds_per_step)
    return max(1, min(asked, until_boundary))
