"""Learning rates at each step, against closed forms and against Keras' own schedules where it has them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from trainer.config import Constant, Cosine, Exponential, InverseTime, OneCycle, Schedule, Step
from trainer.training.schedules import learning_rate

PEAK, EPOCHS, STEPS = 0.01, 25, 40
TOTAL = EPOCHS * STEPS

EVERY: list[Schedule] = [
    Constant(name="constant"),
    InverseTime(name="inverse_time"),
    InverseTime(name="inverse_time", decay=0.1),
    Step(name="step", factor=0.96, every_epochs=8),
    Step(name="step", factor=0.5, every_epochs=1),
    Exponential(name="exponential", factor=0.94),
    Exponential(name="exponential", factor=0.5, every_epochs=2.5),
    Cosine(name="cosine"),
    Constant(name="constant", warmup_epochs=2.5),
    Exponential(name="exponential", factor=0.94, every_epochs=2.0, warmup_epochs=2.5),
    Step(name="step", factor=0.5, every_epochs=3, warmup_epochs=2.5),
    Cosine(name="cosine", warmup_epochs=2.5, final_fraction=0.1),
    OneCycle(name="one_cycle"),
    OneCycle(name="one_cycle", rise=0.5, initial_fraction=0.0, final_fraction=0.0),
]


def rates(schedule: Schedule, peak: float = PEAK, epochs: int = EPOCHS, steps: int = STEPS) -> np.ndarray:
    rate = learning_rate(schedule, peak, epochs, steps)
    return np.array([rate(step) for step in range(epochs * steps)])


def keras_twin(schedule: Schedule) -> Any:
    from keras.optimizers import schedules

    match schedule:
        case InverseTime():
            return schedules.InverseTimeDecay(PEAK, decay_steps=1, decay_rate=schedule.decay or PEAK / EPOCHS)
        case Step():
            every = schedule.every_epochs * STEPS
            return schedules.ExponentialDecay(PEAK, decay_steps=every, decay_rate=schedule.factor, staircase=True)
        case Exponential():
            every = round(schedule.every_epochs * STEPS)
            return schedules.ExponentialDecay(PEAK, decay_steps=every, decay_rate=schedule.factor)
        case Cosine():
            return schedules.CosineDecay(PEAK, decay_steps=TOTAL, alpha=schedule.final_fraction)
    raise AssertionError(schedule)


@pytest.mark.parametrize(
    "schedule",
    [*EVERY[1:8], Cosine(name="cosine", final_fraction=0.25)],
    ids=repr,
)
def test_a_schedule_that_keras_has_is_equal_to_keras_own(schedule: Schedule) -> None:
    """At every step of the training, to single precision, which is what Keras computes in."""
    twin = keras_twin(schedule)
    keras_rates = np.array(twin(np.arange(TOTAL)))
    np.testing.assert_allclose(rates(schedule), keras_rates, rtol=1e-4, atol=1e-8)


def test_a_cosine_after_its_warm_up_is_equal_to_keras_own() -> None:
    """The warm-up itself differs: Keras' first step is at 0, which learns nothing."""
    from keras.optimizers.schedules import CosineDecay

    warmup = 100
    twin = CosineDecay(0.0, TOTAL - warmup, alpha=0.1, warmup_target=PEAK, warmup_steps=warmup)
    ours = rates(Cosine(name="cosine", warmup_epochs=2.5, final_fraction=0.1))
    later = range(warmup, TOTAL, 50)
    np.testing.assert_allclose(ours[later], [float(twin(step)) for step in later], rtol=1e-4)
    np.testing.assert_allclose(ours[:warmup], PEAK * np.arange(1, warmup + 1) / warmup)


def test_the_tutorials_decay_is_what_keras_used_to_do_with_it() -> None:
    """`SGD(lr, decay=lr / epochs)`: lr / (1 + decay · iterations), so that 25 epochs of 1,563 steps end at 0.0006."""
    ours = rates(InverseTime(name="inverse_time"), 0.01, 25, 1563)
    assert ours[0] == 0.01
    assert ours[-1] == pytest.approx(0.01 / (1 + 0.0004 * 39_074))
    assert ours[1] == pytest.approx(0.01 / 1.0004)


def test_the_other_tutorials_steps_are_every_eight_epochs() -> None:
    """0.01 · 0.96^⌊epoch / 8⌋, changed between epochs and not within one."""
    ours = rates(Step(name="step", factor=0.96, every_epochs=8)).reshape(EPOCHS, STEPS)
    np.testing.assert_allclose(ours, np.repeat(0.01 * 0.96 ** (np.arange(EPOCHS) // 8), STEPS).reshape(EPOCHS, STEPS))


@pytest.mark.parametrize(("factor", "every"), [(0.94, 2.0), (0.5, 0.25), (1.0, 1.0)])
def test_an_exponential_falls_by_its_factor_over_its_epochs(factor: float, every: float) -> None:
    """peak · factor^(epochs / every), a little at each step; the Inception papers' 0.94 every two epochs is one."""
    ours = rates(Exponential(name="exponential", factor=factor, every_epochs=every))
    np.testing.assert_allclose(ours, PEAK * factor ** (np.arange(TOTAL) / STEPS / every), rtol=1e-12)


@pytest.mark.parametrize(
    ("schedule", "warm"),
    [
        (Constant(name="constant"), Constant(name="constant", warmup_epochs=2.5)),
        (
            Exponential(name="exponential", factor=0.5, every_epochs=3.0),
            Exponential(name="exponential", factor=0.5, every_epochs=3.0, warmup_epochs=2.5),
        ),
        (
            Step(name="step", factor=0.5, every_epochs=3),
            Step(name="step", factor=0.5, every_epochs=3, warmup_epochs=2.5),
        ),
    ],
    ids=["constant", "exponential", "step"],
)
def test_a_warm_up_rises_in_a_straight_line_and_puts_the_rest_off(schedule: Schedule, warm: Schedule) -> None:
    """From one part of the peak, not from nothing, to all of it; the schedule begins after, and its end is cut."""
    ours = rates(warm)
    np.testing.assert_allclose(ours[:100], PEAK * np.arange(1, 101) / 100)
    np.testing.assert_array_equal(ours[100:], rates(schedule)[:-100])


def test_a_warm_up_longer_than_the_training_only_rises() -> None:
    """And ends at the peak."""
    ours = rates(Exponential(name="exponential", factor=0.5, warmup_epochs=99.0))
    np.testing.assert_allclose(ours, PEAK * np.arange(1, TOTAL + 1) / TOTAL)


@pytest.mark.parametrize(("rise", "initial", "final"), [(0.25, 0.1, 0.01), (0.5, 0.0, 0.0), (0.1, 1.0, 1.0)])
def test_one_cycle_rises_and_falls_in_straight_lines(rise: float, initial: float, final: float) -> None:
    """From the first fraction to the peak, and down to the last at the last step."""
    ours = rates(OneCycle(name="one_cycle", rise=rise, initial_fraction=initial, final_fraction=final))
    corners = [0, rise * TOTAL, TOTAL - 1]
    np.testing.assert_allclose(
        ours, np.interp(np.arange(TOTAL), corners, [initial * PEAK, PEAK, final * PEAK]), atol=1e-12
    )


@pytest.mark.parametrize(
    ("schedule", "first", "last"),
    [
        (Constant(name="constant"), PEAK, PEAK),
        (InverseTime(name="inverse_time", decay=0.1), PEAK, PEAK / (1 + 0.1 * (TOTAL - 1))),
        (Step(name="step", factor=0.5, every_epochs=1), PEAK, PEAK * 0.5**24),
        (Exponential(name="exponential", factor=0.5), PEAK, PEAK * 0.5 ** ((TOTAL - 1) / STEPS)),
        (Constant(name="constant", warmup_epochs=1), PEAK / STEPS, PEAK),
        (Cosine(name="cosine"), PEAK, PEAK * 0.5 * (1 - math.cos(math.pi / TOTAL))),
        (Cosine(name="cosine", warmup_epochs=1), PEAK / STEPS, PEAK * 0.5 * (1 - math.cos(math.pi / (TOTAL - STEPS)))),
        (OneCycle(name="one_cycle"), PEAK * 0.1, PEAK * 0.01),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_the_first_and_the_last_step(schedule: Schedule, first: float, last: float) -> None:
    """The ends, where counting from 0 or from 1 shows."""
    ours = rates(schedule)
    assert ours[0] == pytest.approx(first)
    assert ours[-1] == pytest.approx(last, rel=1e-6)


@pytest.mark.parametrize("schedule", EVERY, ids=repr)
def test_a_rate_rises_to_the_peak_once_and_never_again(schedule: Schedule) -> None:
    """Never above the peak, never negative, and never up again once it fell."""
    ours = rates(schedule)
    top = int(np.argmax(ours))
    assert ours.max() == pytest.approx(PEAK)
    assert ours.min() >= 0
    assert (np.diff(ours[: top + 1]) >= 0).all()
    assert (np.diff(ours[top:]) <= 1e-15).all()


@pytest.mark.parametrize("schedule", EVERY, ids=repr)
@pytest.mark.parametrize(("epochs", "steps"), [(1, 1), (1, 2), (2, 1), (1, 7)])
def test_the_shortest_trainings_have_a_rate_too(schedule: Schedule, epochs: int, steps: int) -> None:
    """One step, two steps, one step an epoch: nothing is divided by nothing, nothing exceeds the peak."""
    ours = rates(schedule, PEAK, epochs, steps)
    assert np.isfinite(ours).all()
    assert (ours <= PEAK * (1 + 1e-12)).all()
    assert (ours >= 0).all()


@pytest.mark.parametrize("schedule", EVERY, ids=repr)
def test_every_schedule_scales_with_the_peak(schedule: Schedule) -> None:
    """Twice the learning rate is twice the rate at every step (inverse time without a decay of its own aside)."""
    if isinstance(schedule, InverseTime) and schedule.decay is None:
        schedule = schedule.model_copy(update={"decay": 0.01})
    np.testing.assert_allclose(rates(schedule, 2 * PEAK), 2 * rates(schedule))
