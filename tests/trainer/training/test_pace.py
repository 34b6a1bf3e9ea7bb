"""How many optimiser steps a device is sent off with at once."""

from __future__ import annotations

import pytest

from trainer.training.pace import steps_at_once


@pytest.mark.parametrize(
    ("seconds", "on_gpu", "steps"),
    [
        (None, False, 1),
        (None, True, 1),
        (0.001, False, 200),
        (0.001, True, 200),
        (0.03, False, 7),
        (0.05, False, 4),
        (0.051, False, 1),
        (0.051, True, 4),
        (0.15, True, 1),
        (0.5, True, 1),
        (9.0, False, 1),
    ],
)
def test_a_call_lasts_a_fifth_of_a_second(seconds: float | None, on_gpu: bool, steps: int) -> None:
    """Unmeasured steps go one by one, and so do a processor's long ones."""
    assert steps_at_once(seconds, None, 1000, on_gpu) == steps


@pytest.mark.parametrize(("until_boundary", "steps"), [(1000, 8), (8, 8), (5, 5), (1, 1)])
def test_what_the_recipe_asks_for_is_taken(until_boundary: int, steps: int) -> None:
    """Whatever the pace, but never past the epoch's end."""
    for seconds in (None, 0.0001, 5.0):
        for on_gpu in (False, True):
            assert steps_at_once(seconds, 8, until_boundary, on_gpu) == steps


@pytest.mark.parametrize("until_boundary", [1, 2, 199, 200, 201])
def test_a_call_never_crosses_the_end_of_an_epoch(until_boundary: int) -> None:
    """Whatever is left out or asked for."""
    assert steps_at_once(0.001, None, until_boundary, True) == min(200, until_boundary)
