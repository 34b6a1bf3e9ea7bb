"""The audit finds what registry and ledger say otherwise of each other, in words, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from trainer.errors import RegistryError, StateError, UsageError
from trainer.registry.audit import adopt, audit, doubt, put_right, restore, results
from trainer.registry.hands import Hands
from trainer.registry.ledger import follow, reconcile
from trainer.registry.memory import MemoryRegistry
from trainer.registry.protocol import Entry, Event
from trainer.registry.stores import MemoryLedger

NAME = "digits"


class House:
    """Version 1 was promoted, 2 kept out, 3 promoted; 4 awaits its verdict."""

    def __init__(self) -> None:
        self.registry, self.ledger = MemoryRegistry(), MemoryLedger()
        for number in range(1, 5):
            self.registry.create_version(NAME, f"file:///{number}", "", {"run_key": f"k{number}"})
        told: list[tuple[Event, str, str | None, str]] = [
            ("promote", "1", None, "1"), ("keep", "1", "1", "2"), ("promote", "3", "1", "3"),
        ]  # fmt: skip
        for event, version, previous, challenger in told:
            self.enter(event, version, previous, challenger)
            word = "promoted" if event == "promote" else "undecided"
            self.registry.set_tags(NAME, challenger, {"verdict_digest": f"d{challenger}", "verdict": word})
        follow(self.registry, self.ledger, NAME)

    def enter(self, event: Event, version: str, previous: str | None, challenger: str) -> None:
        entries, generation = self.ledger.read()
        entry = Entry(
            number=len(entries) + 1, event=event, version=version, previous=previous, challenger=challenger,
            run_key=f"k{challenger}", verdict_digest=f"d{challenger}", reason=f"Why {challenger}.", tick=None,
            at=datetime.now(UTC) - timedelta(days=1),
        )  # fmt: skip
        self.ledger.append(entry, generation)

    def found(self) -> list[str]:
        return audit(self.registry, self.ledger, NAME).discrepancies

    def tag(self, version: str, **tags: str) -> None:
        self.registry.set_tags(NAME, version, tags)


def test_what_both_say_stands_side_by_side() -> None:
    """Every version, those that are gone too, with its aliases and verdict here and its entries there."""
    house = House()
    house.registry.delete_version(NAME, "2")
    found = audit(house.registry, house.ledger, NAME)
    assert found.agrees
    assert (found.alias, found.ledger_champion, found.ledger) == ("3", "3", "memory")
    rows = [(one.version, one.created_at is None, one.aliases, one.verdict, one.entries) for one in found.versions]
    assert rows == [
        ("1", False, [], "promoted", ["1 promote"]),
        ("2", True, [], None, ["2 keep"]),
        ("3", False, ["champion"], "promoted", ["3 promote"]),
        ("4", False, [], None, []),
    ]


EDITS: dict[str, tuple[Callable[[House], Any], str]] = {
    "alias moved": (lambda h: h.registry.set_alias(NAME, "champion", "1"), "was moved to version 1 by hand"),
    "alias gone": (lambda h: h.registry.delete_alias(NAME, "champion"), "was taken away by hand"),
    "champion deleted": (
        lambda h: h.registry.delete_version(NAME, "3"), "champion is version 3, which is gone from the registry",
    ),
    "crowned by tag": (
        lambda h: h.tag("4", verdict="promoted"), "Version 4 is tagged 'promoted', and the ledger never promoted it.",
    ),
    "kept turned promoted": (
        lambda h: h.tag("2", verdict="promoted"), "Version 2 is tagged 'promoted'; entry 2 of the ledger says keep.",
    ),
    "promoted turned kept": (
        lambda h: h.tag("3", verdict="kept"), "Version 3 is tagged 'kept'; entry 3 of the ledger says promote.",
    ),
    "another verdict": (
        lambda h: h.tag("3", verdict_digest="dd"), "names another verdict (dd) than entry 3 of the ledger (d3)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_in_the_registry_is_found(edit: str) -> None:
    """Each alone, and said in one sentence."""
    house = House()
    assert house.found() == []
    change, expected = EDITS[edit]
    change(house)
    (said,) = house.found()
    assert expected in said


@pytest.mark.parametrize("edit", [name for name in EDITS if name != "champion deleted"])
def test_restore_puts_back_what_the_ledger_says(edit: str) -> None:
    """Alias and tags alike, with one entry; then they agree."""
    house = House()
    EDITS[edit][0](house)
    hands = Hands(house.registry, house.ledger, NAME, lambda version: None)
    entry = put_right(hands, restore(hands))
    assert (entry.number, entry.event, entry.version, entry.previous) == (4, "restore", "3", "3")
    assert house.found() == []
    assert house.registry.get(NAME, "3").tags["verdict"] == "promoted"
    assert house.registry.get(NAME, "2").tags["verdict"] != "promoted"


def test_what_was_promoted_before_the_ledger_began_is_no_discrepancy() -> None:
    """A registry that is older than its ledger."""
    registry, ledger = MemoryRegistry(), MemoryLedger()
    registry.create_version(NAME, "file:///1", "", {"verdict": "promoted"})
    registry.create_version(NAME, "file:///2", "", {"verdict": "promoted"})
    registry.set_alias(NAME, "champion", "2")
    (said,) = audit(registry, ledger, NAME).discrepancies
    assert "on version 2, and no ledger was begun yet: the next run adopts it" in said
    assert ledger.read().entries == ()
    with pytest.raises(UsageError, match="is empty"):
        restore(Hands(registry, ledger, NAME, lambda version: None))
    reconcile(registry, ledger, NAME)
    assert [one.event for one in ledger.read().entries] == ["adopt"]
    assert audit(registry, ledger, NAME).agrees


def test_a_crash_is_named_as_one_and_left_to_the_next_run() -> None:
    """The entry is there and nothing after it: no hand was at work. The audit itself changes nothing."""
    house = House()
    house.enter("promote", "4", "3", "4")
    said = house.found()
    assert "a run was killed in between, or is at work" in said[0]
    assert "Version 4 has no verdict tag (its run was killed; run it again)" in said[1]
    assert house.registry.alias(NAME, "champion") == "3"
    reconcile(house.registry, house.ledger, NAME)
    assert house.registry.alias(NAME, "champion") == "4"
    assert len(house.found()) == 1


def test_an_undecided_challenger_is_told_from_one_that_lost() -> None:
    """The ledger says keep of both, the tag which it was; what people did is no result of the gate."""
    house = House()
    events: list[Event] = ["keep", "retire"]
    for event in events:
        house.enter(event, "3", "3", "4")
    versions = house.registry.versions(NAME)
    assert results(house.ledger.read().entries, versions) == ["promoted", "undecided", "promoted", "kept", None]


def test_an_alias_is_doubted_when_a_hand_moved_it() -> None:
    """Where the ledger cannot be asked, nothing is known against it."""

    class OutOfReach(MemoryLedger):
        def read(self) -> Any:
            raise StateError("It does not answer.")

    house = House()
    assert doubt(house.registry, house.ledger, NAME) is None
    house.registry.set_alias(NAME, "champion", "2")
    assert "moved to version 2 by hand" in str(doubt(house.registry, house.ledger, NAME))
    assert doubt(house.registry, OutOfReach(), NAME) is None


@pytest.mark.parametrize("alias", ["3", None])
def test_an_empty_ledger_is_not_taken_for_one_that_lies_elsewhere(alias: str | None) -> None:
    """Nobody adopts, promotes or audits on it until it is begun on purpose, with a reason."""
    house = House()
    if alias is None:
        house.registry.delete_alias(NAME, "champion")
    hands = Hands(house.registry, MemoryLedger(), NAME, lambda version: None)
    deeds: list[Callable[[], object]] = [
        lambda: reconcile(house.registry, hands.ledger, NAME),
        lambda: audit(house.registry, hands.ledger, NAME),
        lambda: restore(hands),
        lambda: hands.force("4", "r"),
        lambda: hands.retire("4", "r"),
    ]
    for deed in deeds:
        with pytest.raises(RegistryError, match="a ledger knows it, and there is none at memory") as caught:
            deed()
        assert "INCEPTION_LEDGERS" in caught.value.remedy
        assert "audit digits --adopt --reason TEXT" in caught.value.remedy
    assert hands.ledger.read().entries == ()
    entry = put_right(hands, adopt(hands, "the ledger is lost"))
    assert (entry.number, entry.event, entry.version) == (1, "adopt", alias)
    assert reconcile(house.registry, hands.ledger, NAME) == alias
    assert [one.number for one in hands.ledger.read().entries] == [1]
