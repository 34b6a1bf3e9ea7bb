"""Following what steps write while they write it."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pipelines.events import Follower
from trainer.events import EVENTS_VARIABLE, emit


def test_everything_written_before_the_end_has_been_shown_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leaving the block waits for the last event, and no event is shown twice."""
    path, seen = tmp_path / "events.jsonl", []
    monkeypatch.setenv(EVENTS_VARIABLE, str(path))
    with Follower(path, lambda event: seen.append(event["number"])):
        for number in range(500):
            emit("note", number=number)
    assert seen == list(range(500))


def test_events_are_shown_while_the_writer_works(tmp_path: Path) -> None:
    """They do not wait for the end."""
    path, first = tmp_path / "events.jsonl", threading.Event()
    with Follower(path, lambda event: first.set()):
        path.write_text('{"kind": "note"}\n')
        assert first.wait(5)


def test_half_a_line_waits_for_its_other_half(tmp_path: Path) -> None:
    """A writer may be interrupted in the middle of a line."""
    path = tmp_path / "events.jsonl"
    seen: list[dict[str, Any]] = []
    whole = json.dumps({"kind": "note", "line": "one"})
    with Follower(path, seen.append):
        path.write_text(whole[:10])
        time.sleep(0.3)
        assert seen == []
        with path.open("a") as file:
            file.write(whole[10:] + "\n")
    assert [event["line"] for event in seen] == ["one"]


def test_no_event_at_all_is_no_error(tmp_path: Path) -> None:
    """A run may end before its first step."""
    with Follower(tmp_path / "events.jsonl", lambda event: pytest.fail("nothing was written")):
        pass
