"""All runs of a store on a machine that has seen none of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from trainer import record, sharing
from trainer.errors import UsageError
from trainer.index.finding import card, find
from trainer.index.page import refresh
from trainer.index.runs import read
from trainer.sharing import overview
from trainer.state import State, write_atomically

pytestmark = pytest.mark.slow
START = datetime(2026, 3, 1, tzinfo=UTC)


def ran(state: State, number: int) -> None:
    """A run as its steps leave it: a tick, a record with its card, and more than a list needs."""
    tick, key = f"t{number}", f"{number:016x}"
    for folder in (state.tick(tick), state.run(key), state.data(f"f{number}")):
        sharing.fetch(state, folder)
    folder = state.run(key)
    write_atomically(folder / "card.html", f"card of {key}")
    write_atomically(folder / "challenger.npz", "large")
    write_atomically(folder / "evaluate.json", "large")
    outcome = record.Outcome(
        tick=tick, result="kept", reason="Not better.", model="digits", version=str(number), accuracy=0.9,
        champion="1", run_key=key, fingerprint=f"f{number}", mlflow_run_id=None, card=str(folder / "card.html"),
        failed_step=None, remedy="", seconds=1.0, at=START + timedelta(days=number),
    )  # fmt: skip
    record.write(state.tick(tick), outcome)
    sharing.push(state)


@pytest.fixture
def runs(store: str, pod: Any) -> int:
    for number in range(1, 6):
        ran(pod(), number)
    return 5


def test_all_runs_are_listed_and_the_newest_have_their_cards(
    runs: int, pod: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of a record stays where it is."""
    monkeypatch.setattr(overview, "CARDS", 2)
    state = pod()
    listed = refresh(state)
    assert [run.tick for run in listed] == ["t5", "t4", "t3", "t2", "t1"]
    assert [run.card is not None for run in listed] == [True, True, False, False, False]
    assert sorted(path.name for path in (state.root / "runs").rglob("*") if path.is_file()) == ["card.html"] * 2
    assert f"runs/{5:016x}/card.html" in state.index.read_text()


def test_any_card_can_be_asked_for(runs: int, pod: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is fetched then; what the store has none of is an error, as without one."""
    monkeypatch.setattr(overview, "CARDS", 1)
    state = pod()
    path = card(state, find(state, f"{2:016x}"))
    assert path.read_text() == f"card of {2:016x}"
    with pytest.raises(UsageError, match="There is no run 'unknown'"):
        find(state, "unknown")


def fetched(bucket: Any) -> int:
    return sum(operation == "download" and "/ledger/" not in name for operation, name in bucket.asked)


def test_a_second_look_fetches_what_is_new(bucket: Any, pod: Any) -> None:
    """And forgets what was removed there."""
    for number in (1, 2):
        ran(pod(), number)
    state = pod()
    refresh(state)
    before = fetched(bucket)
    refresh(state)
    assert fetched(bucket) == before
    ran(pod(), 3)
    before = fetched(bucket)
    refresh(state)
    assert fetched(bucket) == before + 2
    del bucket.objects["b", "team/ticks/t1/outcome.json"]
    assert [run.tick for run in refresh(state)] == ["t3", "t2"]
    assert len(read(state)) == 2
