"""The alias follows the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from trainer.errors import RegistryError
from trainer.registry.ledger import MemoryLedger, follow, reconcile
from trainer.registry.memory import MemoryRegistry
from trainer.registry.protocol import Entry, champion


def append(ledger: MemoryLedger, version: str) -> None:
    entries, generation = ledger.read()
    entry = Entry(
        number=len(entries) + 1,
        event="promote",
        version=version,
        previous=champion(entries),
        run_key=None,
        verdict_digest=None,
        reason="r",
        tick=None,
        at=datetime.now(UTC),
    )
    ledger.append(entry, generation)


def registry_with(versions: int, alias: str | None = None) -> MemoryRegistry:
    registry = MemoryRegistry()
    for number in range(versions):
        registry.create_version("digits", "file:///m", "", {"run_key": f"k{number + 1}"})
    if alias:
        registry.set_alias("digits", "champion", alias)
    return registry


@pytest.mark.parametrize(
    ("promoted", "alias", "head", "said"),
    [
        ([], None, None, ""),
        (["1"], "1", "1", ""),
        (["1"], None, "1", "nobody, is version 1 again as the ledger says (an earlier run ended"),
        (["1", "3"], "1", "3", "was version 1, is version 3 again as the ledger says (an earlier run ended"),
        (["1", "3"], "2", "3", "was version 2, is version 3 again as the ledger says (the alias was moved without"),
        (["1", "3"], None, "3", "the alias was moved without the ledger"),
    ],
)
def test_the_alias_is_brought_in_line_with_the_ledger(
    promoted: list[str], alias: str | None, head: str | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A crash between the two, or a hand that moved the alias, is put right and said; a second time nothing is."""
    registry, ledger = registry_with(3, alias), MemoryLedger()
    for version in promoted:
        append(ledger, version)
    assert reconcile(registry, ledger, "digits") == head
    assert registry.alias("digits", "champion") == head
    out = capsys.readouterr().out
    assert said in out if said else not out
    assert reconcile(registry, ledger, "digits") == head
    assert not capsys.readouterr().out
    assert len(ledger.read().entries) == len(promoted)


def test_a_registry_without_the_model_has_no_champion() -> None:
    """The first run of all finds nothing to reconcile."""
    assert reconcile(MemoryRegistry(), MemoryLedger(), "digits") is None


def test_a_champion_older_than_the_ledger_is_adopted_once(capsys: pytest.CaptureFixture[str]) -> None:
    """It becomes the first entry, with its run key."""
    registry, ledger = registry_with(3, "2"), MemoryLedger()
    assert reconcile(registry, ledger, "digits") == "2"
    assert "adopted" in capsys.readouterr().out
    assert reconcile(registry, ledger, "digits") == "2"
    (entry,) = ledger.read().entries
    assert (entry.event, entry.version, entry.previous, entry.run_key) == ("adopt", "2", None, "k2")


def test_of_two_that_adopt_one_writes() -> None:
    """The one that comes second sees what the first has written."""

    class Raced(MemoryLedger):
        def append(self, entry: Entry, expected_generation: int) -> None:
            if not self.read().entries:
                super().append(entry, expected_generation)
            super().append(entry, expected_generation)

    registry, ledger = registry_with(1, "1"), Raced()
    assert reconcile(registry, ledger, "digits") == "1"
    assert len(ledger.read().entries) == 1


@pytest.mark.parametrize("registry", [MemoryRegistry(), registry_with(2), registry_with(2, "1")])
def test_a_champion_that_the_registry_lost_is_an_error(registry: MemoryRegistry) -> None:
    """A ledger beside a registry that is not its own changes nothing there."""
    ledger = MemoryLedger()
    append(ledger, "7")
    with pytest.raises(RegistryError, match="version 7 of 'digits' is champion, but the registry has no such version"):
        reconcile(registry, ledger, "digits")


def test_a_promotion_during_the_move_of_the_alias_is_followed_too() -> None:
    """Whoever moves the alias looks at the ledger again: an older champion is never left in place."""

    class Overtaken(MemoryRegistry):
        """While the alias is being moved, another run promotes version 3 and moves it first."""

        def set_alias(self, name: str, alias: str, version: str) -> None:
            if version == "2" and champion(ledger.read().entries) == "2":
                append(ledger, "3")
                super().set_alias(name, alias, "3")
            super().set_alias(name, alias, version)

    registry, ledger = Overtaken(), MemoryLedger()
    tags: Mapping[str, str] = {}
    for _ in range(3):
        registry.create_version("digits", "file:///m", "", tags)
    append(ledger, "1")
    append(ledger, "2")
    assert follow(registry, ledger, "digits") == "3"
    assert registry.alias("digits", "champion") == "3"
