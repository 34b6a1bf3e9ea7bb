"""What a run's events look like on a terminal and elsewhere."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console

from pipelines.progress import STEPS, Progress

RUN: list[dict[str, Any]] = [
    {"kind": "step", "line": "check …", "step": "check", "status": "started"},
    {"kind": "note", "line": "Work to do: there is no version of this model yet."},
    {"kind": "step", "line": "check done in 1.2 s", "step": "check", "status": "done", "seconds": 1.2},
    {"kind": "step", "line": "train …", "step": "train", "status": "started"},
    {
        "kind": "progress",
        "line": "",
        "step": "train",
        "done": 30,
        "total": 120,
        "unit": "steps",
        "epoch": 1,
        "epochs": 4,
        "loss": 1.25,
        "accuracy": 0.5,
        "images_per_second": 1234.0,
        "input_wait": 0.034,
        "seconds_left": 95.0,
        "member": 1,
        "members": 1,
    },
    {
        "kind": "epoch",
        "line": "epoch 1/4  loss 1.2000  accuracy 0.5500  validation 1.3000 0.5000  1,234 images/s",
        "epoch": 1,
        "epochs": 4,
        "member": 1,
        "members": 1,
        "loss": 1.2,
        "accuracy": 0.55,
        "validation_loss": 1.3,
        "validation_accuracy": 0.5,
    },
    {"kind": "step", "line": "train failed: The training diverged.", "step": "train", "status": "failed"},
    {"kind": "outcome", "line": "failed: The training diverged.", "result": "failed"},
]


TRAINING = next(event for event in RUN if event["kind"] == "progress")


def shown(events: list[dict[str, Any]], terminal: bool, width: int = 120) -> str:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=width, highlight=False, color_system=None)
    with Progress(console) as view:
        for event in events:
            view.show(event)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())  # cursor movements


def test_elsewhere_every_event_with_words_is_a_plain_line() -> None:
    """No bars and no control characters: a log reads like a log."""
    assert shown(RUN, terminal=False).splitlines() == [
        event["line"] for event in RUN if event["line"] and event["kind"] != "outcome"
    ]


def test_a_terminal_ends_with_the_state_of_every_step() -> None:
    """Done, failed or not reached: one row each."""
    rows = shown(RUN, terminal=True).splitlines()[-len(STEPS) :]
    assert rows[0].split() == ["✓", "check", "1.2", "s"]
    assert rows[2].split() == ["✗", "train"]
    assert rows[3].split() == ["·", "evaluate"]


def train_row(width: int, **changes: Any) -> str:
    rows = shown([*RUN[:4], TRAINING | changes], terminal=True, width=width).splitlines()[-len(STEPS) :]
    assert [row.split()[1] for row in rows] == list(STEPS)  # nothing has wrapped
    return rows[2].rstrip()


def test_a_terminal_shows_how_far_a_training_is_and_how_long_it_will_take() -> None:
    """In one row, with its speed and the share of the time in which it waits for its input."""
    figures = "epoch 1/4  loss 1.2500  accuracy 0.5000  1,234 images/s  input 3 %  1:35 left"
    assert train_row(120) == f"▸ train    ━━━━━━──────────────────  {figures}"


@pytest.mark.parametrize(
    ("width", "changes", "words"),
    [
        (120, {"members": 7, "member": 2}, "━━━─────────  member 2/7  epoch 1/4  loss 1.2500  accuracy 0.5000  1,234"),
        (120, {"seconds_left": 7505.0}, "2:05:05 left"),
        (100, {}, "━━━─────────  epoch 1/4  accuracy 0.5000  1,234 images/s  input 3 %  1:35 left"),
        (80, {}, "train    epoch 1/4  accuracy 0.5000  1,234 images/s  input 3 %  1:35 left"),
        (80, {"members": 7, "member": 2}, "train    member 2/7  epoch 1/4  1,234 images/s  input 3 %  1:35 left"),
        (50, {}, "train    epoch 1/4  1,234 images/s  1:35 left"),
        (40, {}, "train    epoch 1/4  1:35 left"),
    ],
)
def test_a_row_holds_what_the_terminal_has_room_for(width: int, changes: dict[str, Any], words: str) -> None:
    """The time left always; nothing wraps."""
    assert words in train_row(width, **changes)


def test_on_a_terminal_an_epoch_is_a_short_line() -> None:
    """Speed and time left are in the row below."""
    [line] = [line for line in shown(RUN, terminal=True, width=80).splitlines() if "validation" in line]
    assert line == "  epoch 1/4  loss 1.2000  accuracy 0.5500  validation 1.3000 0.5000"


@pytest.mark.parametrize(("terminal", "count"), [(True, 0), (False, 1)])
def test_progress_that_has_words_is_a_line_in_a_log_only(terminal: bool, count: int) -> None:
    """A terminal shows it in its row."""
    said = shown([TRAINING | {"line": "epoch 1/4  halfway"}], terminal)
    assert said.count("halfway") == count


@pytest.mark.parametrize("terminal", [True, False])
def test_a_failure_is_shown_in_words(terminal: bool) -> None:
    """Whoever looks at the screen sees why."""
    assert "The training diverged." in shown(RUN, terminal)
