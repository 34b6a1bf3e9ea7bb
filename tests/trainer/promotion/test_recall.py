"""A run key is decided once: the same again, whatever has happened since."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainer.config import Gate
from trainer.promotion import verdicts
from trainer.registry.ledger import follow

PAIRED = Gate(threshold=0.5)


def test_an_overtaken_promotion_run_again_changes_nothing(world: Any) -> None:
    """The former champion's run, run again, leaves the present champion in place."""
    world.run("a", 80)
    world.promote("a")
    world.run("b", 90, against="1")
    world.promote("b")
    before = world.seen()
    again = world.promote("a")
    assert (again.result, again.champion_before, again.champion_after, again.ledger_entry) == ("promoted", None, "2", 1)
    assert world.seen() == before


def lose_nothing(folder: Path) -> None:
    pass


def lose_predictions(folder: Path) -> None:
    (folder / "challenger.npz").unlink()


def lose_verdict(folder: Path) -> None:
    [kept] = folder.glob("verdict-*.json")
    kept.unlink()


def damage_verdict(folder: Path) -> None:
    [kept] = folder.glob("verdict-*.json")
    kept.write_text(kept.read_text().replace('"reason": "', '"reason": "Not: '))


@pytest.mark.parametrize("loss", [lose_nothing, lose_predictions, lose_verdict, damage_verdict])
@pytest.mark.parametrize(("right", "result"), [(95, "promoted"), (85, "undecided"), (70, "kept")])
def test_the_verdict_is_the_same_whatever_has_happened_since(world: Any, right: int, result: str, loss: Any) -> None:
    """Another champion, a smaller budget left, lost predictions or a lost verdict: every rule is as it was."""
    world.run("a", 80)
    world.promote("a")
    world.run("b", right, against="1")
    first = world.promote("b", PAIRED)
    assert first.result == result
    world.run("c", 99, against=first.champion_after)
    world.promote("c")
    loss(world.runs / "b")
    before = world.seen()
    again = world.promote("b", PAIRED)
    assert again.model_dump(exclude={"at", "champion_after"}) == first.model_dump(exclude={"at", "champion_after"})
    assert again.champion_after == world.registry.alias("digits", "champion")
    assert world.seen() == before


@pytest.mark.parametrize(("right", "result"), [(95, "promoted"), (85, "undecided"), (70, "kept")])
def test_with_all_evidence_gone_the_ledger_tells_it_in_its_own_words(world: Any, right: int, result: str) -> None:
    """Result and reason hold; only the rules are lost."""
    world.run("a", 80)
    world.promote("a")
    world.run("b", right, against="1")
    first = world.promote("b", PAIRED)
    lose_predictions(world.runs / "b")
    lose_verdict(world.runs / "b")
    before = world.seen()
    again = world.promote("b", PAIRED)
    assert (again.result, again.ledger_entry, again.verdict.reason) == (result, 2, first.verdict.reason)
    assert again.verdict.rules == []
    assert world.seen() == before


def test_a_run_key_is_recalled_under_another_policy(world: Any) -> None:
    """What was decided stays decided: a policy that changes makes another run key."""
    world.run("a", 80)
    world.promote("a")
    world.run("b", 85, against="1")
    first = world.promote("b", PAIRED)
    assert world.promote("b").verdict == first.verdict
    assert len(world.ledger.read().entries) == 2


@pytest.mark.parametrize(("right", "result", "after"), [(95, "promoted", "3"), (70, "kept", "1")])
def test_a_version_made_anew_is_judged_for_itself(world: Any, right: int, result: str, after: str) -> None:
    """The first of this run key was kept and deleted since; what was said of that one is not said of the second."""
    world.run("a", 80)
    world.promote("a")
    world.run("b", 60, against="1")
    world.promote("b", PAIRED)
    world.registry.delete_version("digits", "2")
    world.run("b", right, against="1")
    done = world.promote("b", PAIRED)
    assert (done.result, done.version, done.champion_after, done.ledger_entry) == (result, "3", after, 3)
    assert world.ledger.read().entries[-1].challenger == "3"
    before = world.seen()
    assert world.promote("b", PAIRED).ledger_entry == 3
    assert world.seen() == before


def test_the_twin_of_a_retired_version_is_kept_out(world: Any) -> None:
    """Made anew after the retired one was deleted, it is not said to be promoted, and it is not."""
    world.run("a", 80)
    world.promote("a")
    entries, generation = world.ledger.read()
    changed = {"number": 2, "event": "retire", "version": None, "previous": "1", "challenger": "1", "reason": "because"}
    world.ledger.append(entries[0].model_copy(update=changed), generation)
    follow(world.registry, world.ledger, "digits")
    world.registry.delete_version("digits", "1")
    world.run("a", 80)
    done = world.promote("a", PAIRED)
    assert (done.result, done.version, done.champion_after, done.ledger_entry) == ("kept", "2", None, None)
    assert done.verdict.reason == "Version 1, made of the same images, recipe and code, was retired: because"
    assert world.registry.alias("digits", "champion") is None


def test_a_verdict_on_file_is_found_by_its_digest_alone(world: Any, tmp_path: Path) -> None:
    """One that was changed, or that is another's, is none."""
    world.run("a", 80)
    verdict = world.promote("a").verdict
    verdicts.keep(tmp_path, verdict)
    assert verdicts.find(tmp_path, verdict.digest()) == verdict
    assert verdicts.find(tmp_path, "0" * 64) is None
    damage_verdict(tmp_path)
    assert verdicts.find(tmp_path, verdict.digest()) is None
