"""Promotion: what is champion deserves to be, and ledger, alias, tags and record agree."""

from __future__ import annotations

from typing import Any

import pytest

from trainer.config import Gate
from trainer.errors import RegistryError, StateError

THRESHOLD = Gate(threshold=0.5, policy="threshold")
PAIRED = Gate(threshold=0.5)


def test_the_first_model_above_the_threshold_is_promoted(world: Any) -> None:
    """Ledger, alias, tags and record agree."""
    world.run("a", 80)
    done = world.promote("a", PAIRED)
    assert (done.result, done.version, done.champion_before, done.champion_after) == ("promoted", "1", None, "1")
    (entry,) = world.ledger.read().entries
    assert done.ledger_entry == entry.number == 1
    assert (entry.event, entry.version, entry.previous, entry.run_key) == ("promote", "1", None, "a")
    assert (entry.tick, entry.reason, entry.verdict_digest) == ("tick a", done.verdict.reason, done.verdict.digest())
    version = world.registry.get("digits", "1")
    assert version.aliases == ["champion"]
    assert version.tags["verdict"] == "promoted"
    assert version.tags["verdict_digest"] == done.verdict.digest()
    assert version.tags["verdict_reason"] == done.verdict.reason


@pytest.mark.parametrize(
    ("right", "policy", "result"),
    [
        (90, PAIRED, "promoted"),
        (88, PAIRED, "undecided"),
        (82, THRESHOLD, "promoted"),
        (80, PAIRED, "kept"),
        (70, PAIRED, "kept"),
        (90, Gate(threshold=0.95), "kept"),
    ],
)
def test_a_challenger_becomes_champion_only_if_the_gate_says_so(
    world: Any, right: int, policy: Gate, result: str
) -> None:
    """Whatever the verdict, it is tagged and enters the ledger; only a promotion moves the alias."""
    world.run("a", 80)
    world.promote("a")
    world.run("b", right, against="1")
    done = world.promote("b", policy)
    after = "2" if result == "promoted" else "1"
    assert (done.result, done.champion_before, done.champion_after) == (result, "1", after)
    assert world.registry.alias("digits", "champion") == after
    first, entry = world.ledger.read().entries
    assert (first.trial, done.ledger_entry) == (None, 2)
    assert (entry.event, entry.version, entry.previous) == ("promote" if after == "2" else "keep", after, "1")
    assert (entry.challenger, entry.run_key, entry.tick, entry.actor) == ("2", "b", "tick b", None)
    assert (entry.reason, entry.verdict_digest) == (done.verdict.reason, done.verdict.digest())
    assert world.registry.get("digits", "2").tags["verdict"] == result
    assert world.registry.get("digits", "2").tags["verdict_digest"] == entry.verdict_digest


def test_a_first_model_below_the_threshold_enters_no_ledger(world: Any) -> None:
    """It challenged nobody, and spent nothing."""
    world.run("a", 40)
    done = world.promote("a", PAIRED)
    assert (done.result, done.champion_after, done.ledger_entry) == ("kept", None, None)
    assert world.ledger.read().entries == ()
    assert world.registry.get("digits", "1").tags["verdict"] == "kept"


def test_a_champion_that_somebody_else_registered_leaves_the_verdict_open(world: Any) -> None:
    """A version without a run key has no predictions to compare with."""
    world.registry.create_version("digits", "file:///foreign", "", {})
    world.registry.set_alias("digits", "champion", "1")
    world.run("a", 99)
    done = world.promote("a")
    assert (done.result, done.champion_before, done.champion_after) == ("undecided", "1", "1")


def test_a_challenger_that_was_adopted_as_champion_is_kept(world: Any) -> None:
    """It cannot be promoted over itself."""
    world.run("a", 80)
    world.registry.set_alias("digits", "champion", "1")
    done = world.promote("a")
    assert (done.result, done.champion_after) == ("kept", "1")
    assert "is the champion already" in done.verdict.reason
    assert [entry.event for entry in world.ledger.read().entries] == ["adopt"]


def test_missing_own_predictions_stop_the_step(world: Any) -> None:
    """Nothing is decided without evidence."""
    world.run("a", 80)
    (world.runs / "a" / "challenger.npz").unlink()
    with pytest.raises(StateError, match=r"challenger\.npz"):
        world.promote("a")
    assert world.ledger.read().entries == ()
    assert "verdict" not in world.registry.get("digits", "1").tags


def test_a_registry_that_fails_after_the_append_is_healed_by_the_next_run(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is passed on; the ledger has the promotion, and the next call moves the alias."""
    world.run("a", 80)

    def unreachable(*args: Any) -> None:
        raise RegistryError("out of reach")

    with monkeypatch.context() as patch:
        patch.setattr(world.registry, "set_alias", unreachable)
        with pytest.raises(RegistryError, match="out of reach"):
            world.promote("a")
    assert world.registry.alias("digits", "champion") is None
    assert world.promote("a").ledger_entry == 1
    assert world.registry.alias("digits", "champion") == "1"
