"""The alias follows the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from trainer.errors import RegistryError
from trainer.registry.ledger import deciding, follow, moved_by_hand, reconcile
from trainer.registry.memory import MemoryRegistry
from trainer.registry.protocol import Entry, champion
from trainer.registry.stores import MemoryLedger


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
        (["1", "3"], "2", "3", "was version 2, is version 3 again as the ledger says (an earlier run ended"),
    ],
)
def test_the_alias_is_brought_in_line_with_the_ledger(
    promoted: list[str], alias: str | None, head: str | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A crash between the two is put right and said; a second time nothing is."""
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


@pytest.mark.parametrize("to", ["1", "2", None])
def test_an_alias_that_a_hand_moved_stays_where_it_is(to: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    """Reconcile and follow leave it alone, as often as they are asked; it is said, with what to do."""
    registry, ledger = registry_with(3), MemoryLedger()
    for version in ("1", "3"):
        append(ledger, version)
        assert follow(registry, ledger, "digits") == version
    assert moved_by_hand(registry, ledger, "digits") is None
    if to is None:
        registry.delete_alias("digits", "champion")
    else:
        registry.set_alias("digits", "champion", to)
    for _ in range(2):
        assert reconcile(registry, ledger, "digits") == follow(registry, ledger, "digits") == "3"
        assert registry.alias("digits", "champion") == to
        out = capsys.readouterr().out
        assert f"{f'moved to version {to}' if to else 'taken away'} by hand" in out
        assert "inception models audit digits" in out
    assert moved_by_hand(registry, ledger, "digits") == (to, "3")


def test_a_promotion_after_the_hand_goes_before_it() -> None:
    """The ledger's newest word was never followed yet, so the alias goes there, wherever the hand had put it."""
    registry, ledger = registry_with(3), MemoryLedger()
    append(ledger, "1")
    follow(registry, ledger, "digits")
    registry.set_alias("digits", "champion", "2")
    append(ledger, "3")
    assert moved_by_hand(registry, ledger, "digits") is None
    assert follow(registry, ledger, "digits") == "3"
    assert registry.alias("digits", "champion") == "3"


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("killed", [True, False])
def test_a_late_mover_is_no_hand(killed: bool) -> None:
    """Between its look at the ledger and its move somebody else was promoted and done: others see a move under way.

    If it is killed there, the next start heals; if not, it finds the newer champion itself.
    """

    class Late(MemoryRegistry):
        def set_alias(self, name: str, alias: str, version: str) -> None:
            if version == "2" and champion(ledger.read().entries) == "2":
                append(ledger, "3")
                assert follow(self, ledger, name) == "3"
                super().set_alias(name, alias, "2")
                assert moved_by_hand(self, ledger, name) is None
                if killed:
                    raise Killed
            else:
                super().set_alias(name, alias, version)

    registry, ledger = Late(), MemoryLedger()
    for number in range(3):
        registry.create_version("digits", "file:///m", "", {"run_key": f"k{number}"})
    append(ledger, "1")
    follow(registry, ledger, "digits")
    append(ledger, "2")
    if killed:
        with pytest.raises(Killed):
            follow(registry, ledger, "digits")
        assert reconcile(registry, ledger, "digits") == "3"
    else:
        assert follow(registry, ledger, "digits") == "3"
        assert registry.get("digits", "2").aliases == []
    assert registry.alias("digits", "champion") == "3"
    registry.set_alias("digits", "champion", "1")
    assert moved_by_hand(registry, ledger, "digits") == ("1", "3")


def test_of_two_movers_the_later_is_no_hand() -> None:
    """Two are on the way to one version, the first arrives, a third is promoted and done, then the second moves."""

    class Late(MemoryRegistry):
        slow = False

        def set_alias(self, name: str, alias: str, version: str) -> None:
            if alias == "champion" and version == "2" and not self.slow:
                self.slow = True
                with pytest.MonkeyPatch.context() as another:
                    another.setattr("os.getpid", lambda: 1)
                    assert follow(self, ledger, name) == "2"
                append(ledger, "3")
                with pytest.MonkeyPatch.context() as another:
                    another.setattr("os.getpid", lambda: 1)
                    assert follow(self, ledger, name) == "3"
                super().set_alias(name, alias, version)
                assert moved_by_hand(self, ledger, name) is None
            else:
                super().set_alias(name, alias, version)

    registry, ledger = Late(), MemoryLedger()
    for _ in range(3):
        registry.create_version("digits", "file:///m", "", {})
    for version in ("1", "2"):
        append(ledger, version)
    assert follow(registry, ledger, "digits") == "3"
    assert [one.aliases for one in registry.versions("digits")] == [[], [], ["champion"]]


def test_what_a_dead_mover_left_goes_in_time() -> None:
    """Its alias hides a hand's work for ten minutes; a younger one may live, one of another name is a user's."""
    registry, ledger = registry_with(2, "2"), MemoryLedger()
    for number, minutes in ((1, 11), (2, 9)):
        entries, generation = ledger.read()
        at = datetime.now(UTC) - timedelta(minutes=minutes)
        entry = Entry(
            number=number, event="promote", version=str(number), previous=champion(entries), run_key=None,
            verdict_digest=None, reason="r", tick=None, at=at,
        )  # fmt: skip
        ledger.append(entry, generation)
    for alias in ("moving-0123abcd-7-1", "moving-0123abcd-7-2", "moving-house"):
        registry.set_alias("digits", alias, "2")
    follow(registry, ledger, "digits")
    assert registry.get("digits", "2").aliases == ["champion", "moving-0123abcd-7-2", "moving-house"]


def test_entries_that_change_nothing_leave_the_mark_alone() -> None:
    """A challenger that was kept out, and one that retires, say nothing of where the alias belongs."""
    registry, ledger = registry_with(3), MemoryLedger()
    append(ledger, "1")
    follow(registry, ledger, "digits")
    for event in ("keep", "retire"):
        entries, generation = ledger.read()
        changed = {"number": len(entries) + 1, "event": event, "previous": "1", "challenger": "2"}
        ledger.append(entries[0].model_copy(update=changed), generation)
    decided = deciding(ledger.read().entries)
    assert decided is not None
    assert decided.number == 1
    registry.set_alias("digits", "champion", "2")
    assert moved_by_hand(registry, ledger, "digits") == ("2", "1")


def test_when_nobody_is_champion_the_alias_goes() -> None:
    """A crash before it went is healed; an alias that a hand sets afterwards is a hand's, whoever bears the mark."""
    registry, ledger = registry_with(3), MemoryLedger()
    append(ledger, "1")
    follow(registry, ledger, "digits")
    entries, generation = ledger.read()
    gone = {"number": 2, "event": "retire", "version": None, "previous": "1", "challenger": "1"}
    ledger.append(entries[0].model_copy(update=gone), generation)
    assert moved_by_hand(registry, ledger, "digits") is None
    assert reconcile(registry, ledger, "digits") is None
    assert registry.alias("digits", "champion") is None
    registry.set_alias("digits", "champion", "2")
    assert moved_by_hand(registry, ledger, "digits") == ("2", None)
    registry.delete_version("digits", "1")
    assert moved_by_hand(registry, ledger, "digits") == ("2", None)
    assert reconcile(registry, ledger, "digits") is None
    assert registry.alias("digits", "champion") == "2"


def test_a_version_that_was_retired_before_anybody_was_champion_is_not_adopted() -> None:
    """An alias that a hand sets on it is a hand's, although the ledger has named no champion yet."""
    registry, ledger = registry_with(3), MemoryLedger()
    first = Entry(
        number=1, event="retire", version=None, previous=None, challenger="2", run_key=None, verdict_digest=None,
        reason="r", tick=None, at=datetime.now(UTC),
    )  # fmt: skip
    ledger.append(first, 0)
    assert follow(registry, ledger, "digits") is None
    registry.set_alias("digits", "champion", "2")
    assert moved_by_hand(registry, ledger, "digits") == ("2", None)
    assert reconcile(registry, ledger, "digits") is None
    assert ledger.read().entries == (first,)
    append(ledger, "3")
    assert follow(registry, ledger, "digits") == "3"


def test_a_promotion_during_the_look_is_no_hand() -> None:
    """What is read one after the other is read again before it counts."""

    class Promoting(MemoryRegistry):
        """Somebody is promoted just before the alias is read."""

        def alias(self, name: str, alias: str) -> str | None:
            if champion(ledger.read().entries) == "1" and self.armed:
                self.armed = False
                append(ledger, "2")
                follow(self, ledger, name)
            return super().alias(name, alias)

        armed = False

    registry, ledger = Promoting(), MemoryLedger()
    for _ in range(2):
        registry.create_version("digits", "file:///m", "", {})
    append(ledger, "1")
    follow(registry, ledger, "digits")
    registry.armed = True
    assert moved_by_hand(registry, ledger, "digits") is None
