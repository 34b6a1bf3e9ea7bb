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
        "seconds_left": 95.0,
    },
    {"kind": "epoch", "line": "epoch 1/4  loss 1.2000", "epoch": 1},
    {"kind": "step", "line": "train failed: The training diverged.", "step": "train", "status": "failed"},
    {"kind": "outcome", "line": "failed: The training diverged.", "result": "failed"},
]


def shown(events: list[dict[str, Any]], terminal: bool) -> str:
    screen = io.StringIO()
    with Progress(Console(file=screen, force_terminal=terminal, width=120, highlight=False, color_system=None)) as view:
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


def test_a_terminal_shows_epoch_loss_accuracy_speed_and_time_left() -> None:
    """While a training runs, its row says how far it is and how long it will take."""
    row = shown(RUN[:5], terminal=True).splitlines()[-len(STEPS) + 2]
    for figure in ("epoch 1/4", "loss 1.2500", "accuracy 0.5000", "1,234 images/s", "1:35 left", "━━━━━━──────"):
        assert figure in row


@pytest.mark.parametrize("terminal", [True, False])
def test_a_failure_is_shown_in_words(terminal: bool) -> None:
    """Whoever looks at the screen sees why."""
    assert "The training diverged." in shown(RUN, terminal)
