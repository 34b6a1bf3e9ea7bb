"""What decisions spend of the error budget, as the ledger remembers it."""

from __future__ import annotations

from typing import Any

import pytest

from trainer.config import Gate

PAIRED = Gate(threshold=0.5)


def spent(world: Any) -> list[float | None]:
    return [entry.trial and entry.trial.level for entry in world.ledger.read().entries]


def test_every_decision_against_a_champion_spends_its_share(world: Any) -> None:
    """Promoted, kept or undecided; a first model spends nothing; and the next level is what the sum leaves."""
    world.run("first", 70)
    world.promote("first", PAIRED)
    for key, right in (("kept", 60), ("undecided", 75), ("promoted", 90)):
        world.run(key, right, against="1")
        assert world.promote(key, PAIRED).result == key
    expected, left = [None], 0.2
    for _ in range(3):
        expected.append(pytest.approx(left / 52))
        left -= left / 52
    assert spent(world) == expected
    trials = [entry.trial for entry in world.ledger.read().entries[1:]]
    assert [trial.p_value for trial in trials] == [None, pytest.approx(1 / 32), pytest.approx(2.0**-20)]
    assert {trial.examples for trial in trials} == {100}
    assert len({trial.test_digest for trial in trials}) == 1


@pytest.mark.parametrize(("earlier", "result"), [(0, "promoted"), (1, "undecided")])
def test_the_verdict_is_reached_at_the_level_that_the_ledger_leaves(world: Any, earlier: int, result: str) -> None:
    """The same eight wins that pass as the first decision are undecided as the second."""
    gate = Gate(threshold=0.5, horizon=51)
    world.run("a", 80)
    world.promote("a", gate)
    if earlier:
        world.run("tie", 80, against="1")
        world.promote("tie", gate)
    world.run("b", 88, against="1")
    done = world.promote("b", gate)
    assert (done.result, done.verdict.rule("significance").figure) == (result, pytest.approx(1 / 256))
    assert done.verdict.rule("significance").limit == pytest.approx(0.2 / 51 * (50 / 51) ** earlier)


def test_a_budget_that_was_lowered_below_what_is_spent_promotes_nothing(world: Any) -> None:
    """However clear the gain: the verdict says that new test examples would tell."""
    world.run("a", 60)
    world.promote("a")
    world.run("b", 50, against="1")
    world.promote("b", PAIRED)
    world.run("c", 99, against="1")
    late = world.promote("c", Gate(threshold=0.5, budget=0.003))
    assert late.result == "undecided"
    assert "error budget of these test examples is spent" in late.verdict.reason


@pytest.mark.parametrize(
    ("policy", "against"),
    [(Gate(threshold=0.5, policy="threshold"), "1"), (PAIRED, None)],
    ids=["no test is asked for", "nothing to compare with"],
)
def test_what_tests_nothing_spends_nothing(world: Any, policy: Gate, against: str | None) -> None:
    """It enters the ledger all the same, and is recalled from there."""
    world.run("a", 70)
    world.promote("a")
    world.run("b", 80, against=against)
    if against is None:
        (world.runs / "a" / "challenger.npz").unlink()
    done = world.promote("b", policy)
    assert done.ledger_entry == 2
    assert spent(world) == [None, None]


def test_a_run_that_loses_the_race_decides_at_what_the_winner_left(world: Any) -> None:
    """Both are in the ledger, each with its own level."""
    world.run("a", 70)
    world.promote("a")
    world.run("mine", 80, against="1")
    world.run("theirs", 65, against="1")
    append = world.ledger.append

    def overtaken(entry: Any, generation: int) -> None:
        world.ledger.append = append
        world.promote("theirs", PAIRED)
        append(entry, generation)

    world.ledger.append = overtaken
    done = world.promote("mine", PAIRED)
    assert done.result == "promoted"
    assert [entry.run_key for entry in world.ledger.read().entries] == ["a", "theirs", "mine"]
    assert spent(world) == [None, pytest.approx(0.2 / 52), pytest.approx(0.2 / 52 * 51 / 52)]
