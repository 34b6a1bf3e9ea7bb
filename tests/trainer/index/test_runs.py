from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from trainer import record
from trainer.card.numbers import wilson
from trainer.errors import StateError
from trainer.index import runs
from trainer.index.runs import Run
from trainer.state import State


def by_tick(state: State) -> dict[str, Run]:
    return {run.tick: run for run in runs.read(state)}


def test_runs_come_newest_first(year) -> None:
    """Whatever the names of their folders are."""
    found = runs.read(year.state)
    assert len(found) == 14
    assert [run.at for run in found] == sorted((run.at for run in found), reverse=True)
    # The one that an older version wrote has no time of its own: its file says when.
    assert (datetime.now(UTC) - found[0].at).total_seconds() < 600
    assert found[0].model == "digits"


def test_a_run_has_its_figures(year) -> None:
    """From its outcome, and from the small documents of its record."""
    run = by_tick(year.state)["flowers-00013"]
    assert (run.model, run.result, run.version, run.accuracy, run.change) == ("flowers", "promoted", "13", 0.933, 0.016)
    assert (run.variant, run.images, run.training_seconds) == ("inception_resnet_v2", 10_000, 754.0)
    assert run.interval is not None
    assert (run.interval.low, run.interval.high) == pytest.approx((0.923, 0.941))
    assert run.card == f"runs/{13:016x}/card.html"


def test_an_outcome_of_an_older_version_is_filled_from_the_record(history) -> None:
    """Wilson's interval on the test split's examples, and the change that the rule of improvement saw."""
    history.run(1, "kept", 0.9, change=0.004, old=True)
    (run,) = runs.read(history.state)
    assert run.interval is not None
    assert (run.interval.low, run.interval.high) == wilson(0.9, 1000)
    assert run.change == 0.004


def test_the_large_document_is_never_read(year, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand classes make a confusion matrix of a million cells; a list of runs does not wait for it."""
    asked: list[str] = []
    read = Path.read_bytes

    def noted(path: Path) -> bytes:
        asked.append(path.name)
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", noted)
    runs.read(year.state)
    assert "outcome.json" in asked
    assert "evaluate.json" not in asked


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\x00", b"[]", b'{"tick": "x", "surprise": 1}'], ids=repr)
def test_a_damaged_outcome_is_listed_as_damaged(history, content: bytes) -> None:
    """It takes nothing from the others, and its model is known where the run's question can still be read."""
    history.run(1, "kept", 0.9)
    history.run(2, "kept", 0.8)
    (history.state.tick("flowers-00002") / "outcome.json").write_bytes(content)
    found = by_tick(history.state)
    assert (found["flowers-00002"].result, found["flowers-00002"].model) == ("damaged", "flowers")
    assert found["flowers-00001"].result == "kept"


@pytest.mark.parametrize("name", ["check", "prepare", "train", "promote"])
def test_a_damaged_record_leaves_holes(history, name: str) -> None:
    """What the outcome says is there, what the document would have said is not."""
    history.run(1, "kept", 0.9, change=0.1)
    for folder in (history.state.run(f"{1:016x}"), history.state.data("f1"), history.state.tick("flowers-00001")):
        if (folder / f"{name}.json").exists():
            (folder / f"{name}.json").write_bytes(b"\xff{")
    (run,) = runs.read(history.state)
    assert (run.result, run.accuracy, run.change) == ("kept", 0.9, 0.1)
    assert (run.variant is None) == (name == "train")
    assert (run.images is None) == (name == "prepare")


def test_a_run_without_an_outcome_is_unfinished(history) -> None:
    """It is under way, or was killed with its machine; one that left nothing at all is no run."""
    history.run(1, "kept", 0.9)
    outcome = history.state.tick("flowers-00001") / "outcome.json"
    outcome.unlink()
    history.state.tick("empty").mkdir()
    early = record.Failure(step="check", message="No.", remedy="", traceback="", at=record.now())
    record.write(history.state.tick("early"), early)
    found = by_tick(history.state)
    assert set(found) == {"flowers-00001", "early"}
    assert (found["flowers-00001"].result, found["flowers-00001"].model) == ("unfinished", "flowers")
    assert (found["early"].result, found["early"].model) == ("unfinished", None)


def test_two_runs_with_one_record_share_one_card(history) -> None:
    """The card of a run that was killed is replaced by that of the one that finished its work: only that one links."""
    history.run(1, "failed")
    shutil.copytree(history.state.tick("flowers-00001"), history.state.tick("first"))
    outcome = record.read(history.state.tick("first"), record.Outcome)
    earlier = outcome.model_copy(update={"tick": "first", "at": datetime(2026, 1, 1, tzinfo=UTC)})
    record.write(history.state.tick("first"), earlier)
    found = by_tick(history.state)
    assert found["flowers-00001"].card is not None
    assert found["first"].card is None
    assert found["first"].reason.endswith(f". {runs.RESUMED}")


@pytest.mark.parametrize("reason", ["Say: inception models audit flowers", "It ended."])
def test_what_is_said_after_a_reason_is_a_sentence_of_its_own(history, reason: str) -> None:
    """A reason may end in a command to type."""
    history.run(1, "failed", reason=reason)
    shutil.copytree(history.state.tick("flowers-00001"), history.state.tick("first"))
    outcome = record.read(history.state.tick("first"), record.Outcome)
    earlier = outcome.model_copy(update={"tick": "first", "at": datetime(2026, 1, 1, tzinfo=UTC)})
    record.write(history.state.tick("first"), earlier)
    assert by_tick(history.state)["first"].reason == f"{reason.rstrip('.')}. {runs.RESUMED}"


def test_a_state_folder_that_was_moved_keeps_its_cards(year, tmp_path: Path) -> None:
    """Outcomes name cards by their old absolute paths; the page finds them where they are now."""
    shutil.move(year.state.root, tmp_path / "elsewhere")
    found = by_tick(State(tmp_path / "elsewhere"))
    assert found["flowers-00013"].card == f"runs/{13:016x}/card.html"


@pytest.mark.parametrize("card", ["../../../etc/passwd", "card.html", "", "/runs/x/card.html"])
def test_only_cards_that_are_there_are_linked(history, card: str) -> None:
    """And none outside the state folder."""
    history.run(1, "kept", 0.9, card=False, reason="x")
    path = history.state.tick("flowers-00001") / "outcome.json"
    outcome = record.read(path.parent, record.Outcome)
    record.write(path.parent, outcome.model_copy(update={"card": card}))
    assert runs.read(history.state)[0].card is None


def test_a_folder_without_runs_has_none(state: State) -> None:
    """A new state folder is no error."""
    assert runs.read(state) == []
    assert runs.ticks(state) == {}


def test_a_folder_that_cannot_be_read_is_an_error_that_says_so(state: State) -> None:
    """Where the runs should be lies a file."""
    state.tick("x").parent.write_text("not a folder")
    with pytest.raises(StateError):
        runs.read(state)
