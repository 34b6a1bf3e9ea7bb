"""What the state folder knows of ticks that have not ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from filelock import FileLock

from pipelines import pending
from trainer.state import State

DUE = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("later", "left"), [(timedelta(0), {}), (timedelta(seconds=1), {}), (-timedelta(1), {"a": DUE})]
)
def test_a_tick_that_has_ended_is_forgotten_if_it_was_due_when_it_began(
    later: timedelta, left: dict[str, datetime], state: State
) -> None:
    """One that came due afterwards is still to come."""
    pending.ask(state, "a", DUE)
    pending.forget(state, "b", DUE)
    pending.forget(state, "a", DUE + later)
    assert pending.asked(state) == left


def test_what_does_not_say_when_it_was_due_was_due_when_it_was_noted(state: State) -> None:
    """As older versions left it; folders and files under way are nobody's."""
    pending.ask(state, "a", DUE)
    folder = pending.folder(state) / "asked"
    before = datetime.now(UTC) - timedelta(seconds=5)
    (folder / "b").touch()
    (folder / ".c").touch()
    (folder / "d").mkdir()
    found = pending.asked(state)
    assert set(found) == {"a", "b"}
    assert before < found["b"] < datetime.now(UTC) + timedelta(seconds=5)


def test_a_tick_that_ends_while_it_is_looked_at_is_no_error(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file is gone between the listing and the reading."""
    pending.ask(state, "a", DUE)
    pending.ask(state, "b", DUE)
    whole = Path.read_text

    def gone(path: Path, **more: str) -> str:
        if path.name == "a":
            path.unlink()
        return whole(path, **more)

    monkeypatch.setattr(Path, "read_text", gone)
    assert pending.asked(state) == {"b": DUE}


def test_a_disk_that_refuses_stops_no_tick(state: State) -> None:
    """Asking and forgetting are notes for the case of a crash."""
    pending.folder(state).mkdir()
    (pending.folder(state) / "asked").write_text("in the way")
    pending.ask(state, "a", DUE)
    pending.forget(state, "a", DUE)
    assert pending.asked(state) == {}


def test_a_lock_that_is_looked_at_is_not_taken(state: State) -> None:
    """And one that nobody ever made is not made."""
    lock = pending.folder(state) / pending.LOCK
    assert not pending.held(lock)
    assert not lock.exists()
    lock.parent.mkdir()
    with FileLock(lock):
        assert pending.held(lock)
    assert not pending.held(lock)
