"""What people did by hand, as a promotion meets it."""

from __future__ import annotations

from typing import Any

import pytest

from trainer import record
from trainer.config import Gate
from trainer.registry.ledger import follow, reconcile
from trainer.registry.protocol import Entry

PAIRED = Gate(threshold=0.5)


def by_hand(world: Any, event: Any, version: str | None, challenger: str | None = None) -> None:
    """What `inception models` appends, and the alias that follows."""
    entries, generation = world.ledger.read()
    entry = Entry(
        number=len(entries) + 1,
        event=event,
        version=version,
        previous=entries[-1].version if entries else None,
        challenger=challenger,
        run_key=None,
        verdict_digest=None,
        reason="because",
        tick=None,
        actor="somebody@somewhere",
        at=record.now(),
    )
    world.ledger.append(entry, generation)
    follow(world.registry, world.ledger, "digits")


@pytest.mark.parametrize(("moved_to", "words"), [("2", "moved to version 2"), (None, "taken away")])
def test_while_an_alias_is_moved_by_hand_nothing_is_decided(world: Any, moved_to: str | None, words: str) -> None:
    """Undecided, with what to do; ledger, alias and tags are untouched, and after the restoration it is decided."""
    world.run("a", 70)
    world.promote("a")
    world.run("b", 60, against="1")
    world.promote("b", PAIRED)
    world.run("c", 95, against="1")
    if moved_to is None:
        world.registry.delete_alias("digits", "champion")
    else:
        world.registry.set_alias("digits", "champion", moved_to)
    before = world.seen()
    done = world.promote("c", PAIRED)
    assert (done.result, done.version, done.ledger_entry, done.champion_after) == ("undecided", "3", None, "1")
    assert [rule.name for rule in done.verdict.rules] == ["comparable"]
    assert words in done.verdict.reason
    assert "inception models audit digits" in done.verdict.reason
    assert world.seen() == before

    world.registry.set_alias("digits", "champion", "1")
    reconcile(world.registry, world.ledger, "digits")
    assert world.promote("c", PAIRED).result == "promoted"


def test_a_decided_run_is_recalled_while_the_alias_is_moved_by_hand(world: Any) -> None:
    """The verdict is what it was, and the alias stays where the hand put it."""
    world.run("a", 70)
    world.promote("a")
    world.run("b", 60, against="1")
    first = world.promote("b", PAIRED)
    world.registry.set_alias("digits", "champion", "2")
    before = world.seen()
    again = world.promote("b", PAIRED)
    assert (again.result, again.verdict) == ("kept", first.verdict)
    assert world.seen() == before
    assert world.registry.alias("digits", "champion") == "2"


@pytest.mark.parametrize(("right", "result", "after"), [(60, "promoted", "2"), (40, "kept", None)])
def test_after_a_retirement_only_the_threshold_counts(world: Any, right: int, result: str, after: str | None) -> None:
    """The evaluation saw a champion that is none any more: the challenger is judged as a first model."""
    world.run("a", 80)
    world.promote("a")
    world.run("b", right, against="1")
    by_hand(world, "retire", None, "1")
    done = world.promote("b", PAIRED)
    assert (done.result, done.champion_before, done.champion_after) == (result, None, after)
    assert world.registry.alias("digits", "champion") == after
    entries = world.ledger.read().entries
    assert [entry.event for entry in entries] == ["promote", "retire", *(["promote"] if after else [])]
    assert entries[-1].trial is None


@pytest.mark.parametrize("champion_is_there", [True, False])
def test_a_challenger_that_was_retired_is_kept_out(world: Any, champion_is_there: bool) -> None:
    """Somebody retired it between its registration and the decision: it challenges nobody, and spends nothing."""
    world.run("a", 60)
    if champion_is_there:
        world.promote("a")
    world.run("b", 99, against="1" if champion_is_there else None)
    by_hand(world, "retire", "1" if champion_is_there else None, "2")
    before = world.ledger.read()
    done = world.promote("b", PAIRED)
    assert (done.result, done.ledger_entry) == ("kept", None)
    assert "was retired" in done.verdict.reason
    assert world.ledger.read() == before


@pytest.mark.parametrize("event", ["force", "rollback"])
def test_a_champion_made_by_hand_is_the_one_to_beat(world: Any, event: str) -> None:
    """Judged again on the predictions of the run that made it; times are not known then."""
    world.run("a", 60)
    world.promote("a")
    world.run("b", 70, against="1")
    world.promote("b", PAIRED)
    world.run("c", 90, against="1")
    by_hand(world, event, "2")
    done = world.promote("c", PAIRED.model_copy(update={"max_latency_ratio": 9.0}))
    assert (done.result, done.champion_before) == ("undecided", "2")
    assert done.verdict.rule("significance").outcome == "pass"
    assert "not measured side by side" in done.verdict.reason
