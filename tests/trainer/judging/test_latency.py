"""The times of two models side by side, on a clock of the test's own."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.judging import latency
from trainer.judging.registered_model import RegisteredModel

IMAGE = np.zeros((8, 8, 3), np.uint8)


class Clock:
    """Stands still but for what the models take; remembers who was asked about how many images."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.calls: list[tuple[str, int]] = []
        monkeypatch.setattr(latency.time, "perf_counter", lambda: self.now)

    def model(self, name: str, seconds: float, views: int = 1) -> RegisteredModel:
        """One that takes so long for each image."""

        def answer(images: NDArray[np.uint8]) -> NDArray[np.float32]:
            self.calls.append((name, len(images)))
            self.now += seconds * len(images)
            return np.zeros((len(images), 2), np.float32)

        return RegisteredModel(name, ["a", "b"], answer, views, 1, 1)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_two_models_take_turns(clock: Clock) -> None:
    """Whoever was first in one round is second in the next; the ratio is that of their times."""
    one, many = latency.measure(clock.model("new", 0.003), clock.model("old", 0.002), IMAGE)
    assert (one.batch, many.batch) == (1, 32)
    assert (one.challenger_ms, one.champion_ms, one.ratio) == pytest.approx((3.0, 2.0, 1.5))
    assert (many.challenger_ms, many.ratio_low, many.ratio_high) == pytest.approx((96.0, 1.5, 1.5))
    assert [name for name, _ in clock.calls[4:10]] == ["new", "old", "old", "new", "new", "old"]


def test_slow_models_are_asked_less_often(clock: Clock) -> None:
    """As many rounds as the budget holds, and never fewer than it takes to speak of a spread."""
    quick, slow = (latency.measure(clock.model("m", seconds), None, IMAGE)[0] for seconds in (1e-6, 0.5))
    assert (quick.rounds, slow.rounds) == (latency.MOST, latency.FEWEST)
    assert (slow.challenger_ms, slow.champion_ms, slow.ratio) == (pytest.approx(500), None, None)


def test_a_batch_that_would_take_minutes_is_left_out(clock: Clock) -> None:
    """What one image takes says how long many would."""
    assert [one.batch for one in latency.measure(clock.model("m", 1.0), None, IMAGE)] == [1]


def test_images_of_many_views_come_in_portions(clock: Clock) -> None:
    """As they do when the model is scored; the time is that of the whole batch."""
    many = latency.measure(clock.model("m", 0.001, views=10), None, IMAGE)[1]
    assert many.challenger_ms == pytest.approx(32.0)
    assert {count for _, count in clock.calls} == {1, 3, 2}
