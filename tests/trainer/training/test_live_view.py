"""What is seen of a training while it goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trainer.events import EVENTS_VARIABLE
from trainer.record import Epoch
from trainer.training import live_view
from trainer.training.live_view import LiveView
from trainer.training.observer import Look


class Logged:
    """A metric stream, or boards, that only remember."""

    def __init__(self) -> None:
        self.figures: list[tuple[str, float, int]] = []
        self.boards: list[tuple[int, str, int]] = []

    def log(self, *arguments: Any, **named: Any) -> None:
        *member, figures, step = arguments
        if member:
            self.boards += [(member[0], tag, step) for tag in figures]
        else:
            self.figures += [(key, value, step) for key, value in figures.items()]

    def steps(self, key: str) -> list[int]:
        return [step for name, _, step in self.figures if name == key]


@pytest.fixture
def logged() -> Logged:
    return Logged()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, to be set."""
    now = [1000.0]
    monkeypatch.setattr(live_view.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(EVENTS_VARIABLE, str(tmp_path / "events.jsonl"))
    return tmp_path / "events.jsonl"


def told(events: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in events.read_text().splitlines()]


def look(step: int, member: int = 1, left: float = 40.0) -> Look:
    """Of a training of 4 epochs of 25 steps."""
    return Look(
        member=member,
        step=step,
        total=100,
        epoch=(step - 1) // 25 + 1,
        epochs=4,
        loss=1.25,
        accuracy=0.5,
        learning_rate=0.1,
        images_per_second=1234.5,
        input_wait=0.034,
        seconds_left=left,
    )


def epoch(number: int, member: int = 1, **changes: float) -> Epoch:
    figures = {"loss": 1.25, "accuracy": 0.5, "validation_loss": 1.5, "validation_accuracy": 0.4, "learning_rate": 0.1}
    return Epoch(
        epoch=number, member=member, images_per_second=1234.5, seconds=10.0, input_wait=0.034, **(figures | changes)
    )


def test_figures_within_an_epoch_are_logged_by_step_every_few_seconds(logged: Logged, clock: list[float]) -> None:
    """Loss, accuracy, learning rate, speed, share of waiting for input, memory; the terminal alone gets every look."""
    view = LiveView(logged)  # type: ignore[arg-type]
    for step in range(1, 21):
        clock[0] += 1
        view.looked(look(step))
    assert logged.steps("step/loss") == [1, 6, 11, 16]
    of_first = {key: value for key, value, step in logged.figures if step == 1}
    memory = of_first.pop("step/memory_megabytes")
    assert of_first == {
        "step/loss": 1.25,
        "step/accuracy": 0.5,
        "step/learning_rate": 0.1,
        "step/images_per_second": 1234.5,
        "step/input_wait": 0.034,
    }
    assert 20 < memory < 100_000


def test_an_epochs_figures_are_logged_by_epoch(logged: Logged) -> None:
    """Under plain names; with them the last look of the epoch, once, however short the epoch is."""
    view = LiveView(logged)  # type: ignore[arg-type]
    view.looked(look(25))
    view.ended(epoch(1), look(25))
    view.ended(epoch(2), look(50))
    assert logged.steps("validation_loss") == logged.steps("input_wait") == [1, 2]
    assert logged.steps("step/loss") == [25, 50]
    assert {key for key, _, _ in logged.figures if "/" not in key} == {
        "loss", "accuracy", "validation_loss", "validation_accuracy", "learning_rate", "images_per_second", "seconds",
        "input_wait",
    }  # fmt: skip


def test_every_network_of_an_ensemble_has_figures_of_its_own(logged: Logged) -> None:
    """The first has the plain names, so that one network and many can be compared; TensorBoard has them by folder."""
    view = LiveView(logged, logged, members=2)  # type: ignore[arg-type]
    for member in (1, 2):
        view.ended(epoch(1, member), look(25, member))
    keys = {key for key, _, _ in logged.figures}
    assert {"loss", "step/loss", "member_2/loss", "member_2/step/loss"} <= keys
    assert not any(key.startswith("member_1") for key in keys)
    assert {(1, "epoch/loss", 1), (1, "step/loss", 25), (2, "epoch/loss", 1), (2, "step/loss", 25)} <= set(
        logged.boards
    )


def test_epochs_of_earlier_sittings_are_handed_on_and_those_of_this_one_are_not(logged: Logged) -> None:
    """The stream knows which of them arrived."""
    view = LiveView(logged)  # type: ignore[arg-type]
    view.ended(epoch(3), look(75))
    view.resumed([epoch(1), epoch(2), epoch(3)])
    assert sorted(logged.steps("loss")) == [1, 2, 3]


def test_an_epoch_is_a_line(logged: Logged, clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    """With what a log's reader wants to know."""
    LiveView(logged).ended(epoch(1), look(25))  # type: ignore[arg-type]
    LiveView(logged, members=3).ended(epoch(1, 2), look(25, 2))  # type: ignore[arg-type]
    alone, second = capsys.readouterr().out.splitlines()
    figures = "epoch 1/4  loss 1.2500  accuracy 0.5000  validation 1.5000 0.4000  1,234 images/s  input 3 %"
    assert alone == f"{figures}  40 s left"
    assert second == f"member 2/3  {figures}  40 s left"


def test_a_long_epoch_is_a_line_every_minute(
    logged: Logged, clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    """A log that says nothing for half an hour looks like a training that hangs."""
    view = LiveView(logged)  # type: ignore[arg-type]
    for step in range(1, 14):
        clock[0] += 10
        view.looked(look(step))
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2
    assert said[0] == "epoch 1/4  loss 1.2500  accuracy 0.5000  1,234 images/s  input 3 %  15 min 40 s left"


@pytest.mark.parametrize(("members", "left"), [(1, 75.0), (3, 275.0)])
def test_the_time_left_is_that_of_all_networks(
    members: int, left: float, logged: Logged, clock: list[float], events: Path
) -> None:
    """By the wall clock, so that validation and checkpoints count, and from the first look on: compiling does not.

    Here 20 steps take 20 seconds, whatever the fitting thinks of its own step.
    """
    view = LiveView(logged, members=members)  # type: ignore[arg-type]
    view.looked(look(5, left=1000.0))
    clock[0] += 20
    view.looked(look(25, left=30.0))
    first, second = told(events)
    assert first["seconds_left"] == 1000.0
    assert second["seconds_left"] == pytest.approx(left)
    assert (second["done"], second["total"]) == (25, members * 100)
    assert (second["member"], second["members"], second["input_wait"]) == (1, members, 0.034)


def test_the_next_network_takes_as_long_until_it_shows_otherwise(
    logged: Logged, clock: list[float], events: Path
) -> None:
    """Its first step is being compiled; and a training that goes back to a checkpoint is measured anew."""
    view = LiveView(logged, members=2)  # type: ignore[arg-type]
    for member, step, seconds in ((1, 50, 0), (1, 100, 100), (2, 1, 60), (2, 11, 10), (2, 5, 500), (2, 15, 20)):
        clock[0] += seconds
        view.looked(look(step, member, left=1000.0))
    left = [event["seconds_left"] for event in told(events)]
    assert left == [1000.0, 200.0, 198.0, 89.0, 95.0, 170.0]
