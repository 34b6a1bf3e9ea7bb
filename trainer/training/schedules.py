"""Learning-rate schedules as pure functions of the step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import assert_never

from trainer.config import Constant, Cosine, Exponential, InverseTime, OneCycle, Schedule, Step

LearningRate = Callable[[int], float]


def learning_rate(schedule: Schedule, peak: float, epochs: int, steps_per_epoch: int) -> LearningRate:
    """The learning rate at each step, counted from 0.

    Args:
        schedule: the recipe's `[train.schedule]`.
        peak: the optimiser's learning rate, which every schedule scales.
        epochs: length of the whole training.
        steps_per_epoch: optimiser steps in one epoch.
    """
    total = epochs * steps_per_epoch
    match schedule:
        case InverseTime():
            decay = schedule.decay if schedule.decay is not None else peak / epochs
            return lambda step: peak / (1.0 + decay * step)
        case OneCycle():
            return _one_cycle(schedule, peak, total)
        case _:
            warmup = min(round(schedule.warmup_epochs * steps_per_epoch), total)
            return _after_warmup(warmup, peak, _without_warmup(schedule, peak, total - warmup, steps_per_epoch))


def _without_warmup(
    schedule: Constant | Step | Exponential | Cosine, peak: float, total: int, steps_per_epoch: int
) -> LearningRate:
    """From the peak on; `total` is the number of steps after the warm-up."""
    match schedule:
        case Constant():
            return lambda step: peak
        case Step():
            period = schedule.every_epochs * steps_per_epoch
            return lambda step: peak * schedule.factor ** (step // period)
        case Exponential():
            over = schedule.every_epochs * steps_per_epoch
            return lambda step: peak * schedule.factor ** (step / over)
        case Cosine():
            return _cosine(schedule, peak, total)
        case _:
            assert_never(schedule)


def _after_warmup(warmup: int, peak: float, schedule: LearningRate) -> LearningRate:
    """Linear rise to the peak over `warmup` steps, then the schedule, which counts its own steps from 0."""
    return lambda step: peak * (step + 1) / warmup if step < warmup else schedule(step - warmup)


def _cosine(schedule: Cosine, peak: float, total: int) -> LearningRate:
    """Half a cosine (Loshchilov and Hutter 2017, arXiv:1608.03983, without restarts)."""
    floor = peak * schedule.final_fraction

    def rate(step: int) -> float:
        return floor + (peak - floor) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, step / max(1, total))))

    return rate


def _one_cycle(schedule: OneCycle, peak: float, total: int) -> LearningRate:
    """Linear rise and fall (Smith and Topin 2018, arXiv:1708.07120, figure 1a)."""
    top = max(1, round(schedule.rise * total))
    first, last = peak * schedule.initial_fraction, peak * schedule.final_fraction

    def rate(step: int) -> float:
        if step < top:
            return first + (peak - first) * step / top
        return peak + (last - peak) * min(1.0, (step - top) / max(1, total - 1 - top))

    return rate
