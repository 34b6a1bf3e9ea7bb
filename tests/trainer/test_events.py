"""Progress: words on standard output, JSON lines where somebody wants to draw them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainer import events


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "events.jsonl"
    monkeypatch.setenv(events.EVENTS_VARIABLE, str(path))
    return path


def test_every_event_is_a_json_line(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In their order, with their figures and a time; words with line breaks stay one line."""
    before = time.time()
    events.emit("epoch", "epoch 1\nof 2", epoch=1, loss=0.5)
    events.note("größer")
    events.progress("train", 3, None, "steps")
    first, second, third = [json.loads(line) for line in file.read_text().splitlines()]
    assert before <= first.pop("at") <= second.pop("at") <= third.pop("at") <= time.time()
    assert first == {"kind": "epoch", "line": "epoch 1\nof 2", "epoch": 1, "loss": 0.5}
    assert second == {"kind": "note", "line": "größer"}
    assert third == {"kind": "progress", "line": "", "step": "train", "done": 3, "total": None, "unit": "steps"}
    assert capsys.readouterr().out == "epoch 1\nof 2\ngrößer\n"


@pytest.mark.parametrize("value", [None, ""])
def test_without_the_variable_there_are_only_words(
    value: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No file is written, and an event without words says nothing."""
    monkeypatch.chdir(tmp_path)
    if value is not None:
        monkeypatch.setenv(events.EVENTS_VARIABLE, value)
    events.note("words")
    events.progress("train", 3, 4, "steps")
    assert capsys.readouterr().out == "words\n"
    assert list(tmp_path.iterdir()) == []


def test_two_processes_add_to_one_file(file: Path, run_python: Callable[..., Any]) -> None:
    """The steps of a run are processes of their own; what one wrote, the next keeps."""
    events.note("mine")
    done = run_python("from trainer import events; events.note('theirs')")
    assert done.stdout == "theirs\n"
    assert [json.loads(line)["line"] for line in file.read_text().splitlines()] == ["mine", "theirs"]
