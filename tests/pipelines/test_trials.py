"""What a tuning's events look like on a terminal and elsewhere."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from pipelines.trials import Trials

TRIAL = {"kind": "trial", "parameters": {"model.width": 0.5}, "reason": "", "epochs": 0, "seconds": None}
EVENTS: list[dict[str, Any]] = [
    {"kind": "progress", "line": "", "step": "prepare", "done": 300, "total": 1797, "unit": "images"},
    {"kind": "note", "line": "10 classes, images: 1,237 train, 195 validation, 365 test"},
    {"kind": "study", "line": "study m-1: 4 trials", "study": "m-1", "done": 1, "total": 4},
    TRIAL | {"line": "", "number": 1, "outcome": "running"},
    {
        "kind": "progress",
        "line": "",
        "step": "trial 1",
        "number": 1,
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
    TRIAL | {"line": "trial 1  validation_accuracy 0.9000  width 0.5", "number": 1, "outcome": "done"},
    TRIAL | {"line": "trial 2  refused: no  width 0.5", "number": 2, "outcome": "refused"},
]


def shown(events: list[dict[str, Any]], terminal: bool) -> str:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=140, highlight=False, color_system=None)
    with Trials(console) as view:
        for event in events:
            view.show(event)
    return screen.getvalue()


def test_a_log_gets_a_line_for_every_trial_that_ended() -> None:
    """And nothing of the bars."""
    assert shown(EVENTS, terminal=False).splitlines() == [event["line"] for event in EVENTS if event["line"]]


@pytest.mark.parametrize(
    ("events", "text"),
    [
        (1, "prepare: 300 of 1,797 images"),
        (3, "━━━━━━────────────────── 1/4"),
        (5, "trial 1 ━━━━━━────────────────── epoch 1/4  loss 1.2500  accuracy 0.5000  1,234 images/s  1:35 left"),
        (7, "━━━━━━━━━━━━━━━━━━────── 3/4"),
    ],
)
def test_a_terminal_shows_what_goes_on(events: int, text: str) -> None:
    """Preparation, every trial under way, and how many are done."""
    assert text in shown(EVENTS[:events], terminal=True)
