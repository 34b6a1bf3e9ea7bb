"""What people do past the gate, on the twin in memory: planned, checked, entered, followed."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from trainer.errors import EvaluationError, InceptionError, LedgerConflict, RegistryError, UsageError
from trainer.registry.audit import adopt, audit, put_right, restore
from trainer.registry.hands import Deed, Hands, line
from trainer.registry.ledger import ENTRY_TAG, follow, moved_by_hand
from trainer.registry.memory import MemoryRegistry
from trainer.registry.protocol import Entry, Event, ModelVersion, champion, retired
from trainer.registry.stores import MemoryLedger

NAME = "digits"


@dataclass
class House:
    """Five versions of which some were promoted, and whoever's hands are in it."""

    registry: MemoryRegistry = field(default_factory=MemoryRegistry)
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    loaded: list[str] = field(default_factory=list)
    damaged: set[str] = field(default_factory=set)

    @classmethod
    def built(cls, *promoted: str) -> House:
        house = cls()
        for number in range(1, 6):
            house.registry.create_version(NAME, f"file:///{number}", "", {"run_key": f"k{number}"})
        for version in promoted:
            house.enter("promote", version)
        follow(house.registry, house.ledger, NAME)
        return house

    @property
    def hands(self) -> Hands:
        return Hands(self.registry, self.ledger, NAME, self.check)

    def check(self, version: ModelVersion) -> None:
        self.loaded.append(version.version)
        if version.version in self.damaged:
            raise EvaluationError("It cannot be loaded.", "Train again.")

    def enter(self, event: Event, version: str | None, challenger: str | None = None) -> None:
        entries, generation = self.ledger.read()
        previous = champion(entries)
        entry = Entry(
            number=len(entries) + 1, event=event, version=version, previous=previous, challenger=challenger,
            run_key=None, verdict_digest=None, reason="r", tick=None, at=datetime.now(UTC),
        )  # fmt: skip
        self.ledger.append(entry, generation)
        if event in ("promote", "keep"):
            verdict = "promoted" if event == "promote" else "kept"
            self.registry.set_tags(NAME, challenger or version or "", {"verdict": verdict})

    @property
    def champion(self) -> str | None:
        """As ledger and alias agree."""
        by_ledger, by_alias = champion(self.ledger.read().entries), self.registry.alias(NAME, "champion")
        assert by_ledger == by_alias
        assert audit(self.registry, self.ledger, NAME).agrees
        return by_ledger


def test_a_forced_version_is_checked_entered_and_champion() -> None:
    """The entry has the event, both versions, the reason and who it was; the alias follows."""
    house = House.built("1", "2")
    entry = house.hands.do(house.hands.force("4", " wrong labels "))
    assert house.champion == "4"
    assert house.loaded == ["4"]
    assert (entry.number, entry.event, entry.version, entry.previous) == (3, "force", "4", "2")
    assert (entry.reason, entry.run_key, entry.challenger) == ("wrong labels", "k4", None)
    assert entry.actor == f"{getpass.getuser()}@{socket.gethostname()}"
    assert house.registry.get(NAME, "4").tags[ENTRY_TAG] == "3"


def test_a_version_that_fails_its_check_changes_nothing() -> None:
    """Whether by force, by rollback or as a successor."""
    house = House.built("1", "2")
    house.damaged = {"1", "4"}
    before = house.ledger.read()
    deeds = (house.hands.force("4", "r"), house.hands.rollback(), house.hands.retire("2", "r", "4"))
    for deed in deeds:
        with pytest.raises(EvaluationError, match="cannot be loaded"):
            house.hands.do(deed)
    assert house.ledger.read() == before
    assert house.champion == "2"
    assert house.loaded == ["4", "1", "4"]


def test_rollbacks_go_further_and_further_back() -> None:
    """Each to the champion before, past those who are retired or gone, until none is left; and never forth again."""
    house = House.built("1", "2", "3", "4", "5")
    house.hands.do(house.hands.retire("3", "r"))
    house.registry.delete_version(NAME, "2")
    seen = []
    for _ in range(2):
        house.hands.do(house.hands.rollback())
        seen.append(house.champion)
    assert seen == ["4", "1"]
    with pytest.raises(RegistryError, match="no earlier champion"):
        house.hands.rollback()
    assert house.ledger.read().entries[-1].reason == "Rolled back from version 4."


def test_a_rollback_to_a_version_needs_it_to_have_been_champion() -> None:
    """Others are promoted by force, which takes a reason."""
    house = House.built("1", "2", "3")
    house.hands.do(house.hands.rollback("1", "why"))
    assert house.champion == "1"
    assert house.ledger.read().entries[-1].reason == "why"
    with pytest.raises(RegistryError, match="Version 4 of 'digits' was never champion") as caught:
        house.hands.rollback("4")
    assert "inception models promote digits 4 --reason TEXT" in caught.value.remedy


@pytest.mark.parametrize(
    ("version", "successor", "after"), [("2", None, None), ("2", "4", "4"), ("1", None, "2"), ("5", None, "2")]
)
def test_who_retires_is_never_champion_again(version: str, successor: str | None, after: str | None) -> None:
    """A champion leaves nobody or a successor behind; others leave the champion what it is. The tag says why."""
    house = House.built("1", "2")
    entry = house.hands.do(house.hands.retire(version, "bad images", successor))
    assert house.champion == after
    assert (entry.event, entry.version, entry.previous, entry.challenger) == ("retire", after, "2", version)
    assert retired(house.ledger.read().entries) == {version}
    assert house.registry.get(NAME, version).tags["retired"] == "bad images"
    assert house.loaded == ([successor] if successor else [])
    for again in (house.hands.force, house.hands.rollback):
        if again == house.hands.force or version != "5":
            with pytest.raises(RegistryError, match=f"Version {version} of 'digits' is retired: bad images"):
                again(version, "r")
    with pytest.raises(RegistryError, match="retired already"):
        house.hands.retire(version, "r")


def test_after_nobody_a_rollback_finds_the_last_champion() -> None:
    """Retired without a successor, the champion before comes back."""
    house = House.built("1", "2")
    house.hands.do(house.hands.retire("2", "r"))
    assert house.champion is None
    house.hands.do(house.hands.rollback())
    assert house.champion == "1"
    assert house.ledger.read().entries[-1].reason == "Rolled back."


REFUSED: dict[str, tuple[Callable[[Hands], Deed], type[InceptionError], str]] = {
    "no reason": (lambda h: h.force("3", " "), UsageError, "no reason"),
    "no reason to retire": (lambda h: h.retire("1", ""), UsageError, "no reason"),
    "no version": (lambda h: h.force("digits/3", "r"), UsageError, "Received the version 'digits/3'"),
    "no version to go back to": (lambda h: h.rollback("a"), UsageError, "Received the version 'a'"),
    "no version to retire": (lambda h: h.retire("a", "r"), UsageError, "Received the version 'a'"),
    "no version to succeed": (lambda h: h.retire("2", "r", "a"), UsageError, "Received the version 'a'"),
    "unknown": (lambda h: h.force("9", "r"), RegistryError, "no version '9'"),
    "unknown to retire": (lambda h: h.retire("9", "r"), RegistryError, "no version '9'"),
    "champion already": (lambda h: h.force("2", "r"), RegistryError, "is the champion of 'digits' already"),
    "back to the champion": (lambda h: h.rollback("2"), RegistryError, "is the champion of 'digits' already"),
    "successor of another": (lambda h: h.retire("1", "r", "3"), UsageError, "which is not champion"),
    "own successor": (lambda h: h.retire("2", "r", "2"), UsageError, "cannot be its own successor"),
    "unknown successor": (lambda h: h.retire("2", "r", "9"), RegistryError, "no version '9'"),
    "unknown model": (
        lambda h: Hands(h.registry, h.ledger, "digit", h.check).force("1", "r"), RegistryError, "Did you mean 'digits'",
    ),
    "nothing to adopt": (lambda h: adopt(h, "r"), UsageError, "was not moved by hand"),
    "nothing to restore": (restore, UsageError, "agree"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_before_anything_is_done(case: str) -> None:
    """With what was wrong; ledger and registry are as before."""
    house = House.built("1", "2")
    plan, kind, message = REFUSED[case]
    before = house.ledger.read()
    with pytest.raises(kind, match=message):
        plan(house.hands)
    assert house.ledger.read() == before


def test_a_deed_decided_on_another_champion_is_not_done() -> None:
    """Between the question and the answer somebody was promoted; an entry that changes nothing hinders nobody."""
    house = House.built("1", "2")
    deed = house.hands.force("4", "r")
    house.enter("keep", "2", challenger="3")
    assert house.hands.do(deed).number == 4
    deed = house.hands.rollback()
    house.enter("promote", "5")
    with pytest.raises(LedgerConflict, match="is version 5 by now; this was decided when it was version 4"):
        house.hands.do(deed)
    follow(house.registry, house.ledger, NAME)
    assert house.champion == "5"


def test_a_version_retired_meanwhile_is_not_promoted() -> None:
    """Though the champion is still the one that was shown."""
    house = House.built("1", "2")
    deed = house.hands.force("4", "r")
    house.hands.do(house.hands.retire("4", "bad"))
    with pytest.raises(LedgerConflict):
        house.hands.do(deed)
    assert house.champion == "2"


def test_of_two_hands_at_once_one_is_told() -> None:
    """The loser's entry is not written over the winner's."""

    class Raced(MemoryLedger):
        """Somebody else rolls back while the first entry is on its way."""

        def append(self, entry: Entry, expected_generation: int) -> None:
            if entry.event == "force":
                rolled_back = entry.model_copy(update={"event": "rollback", "version": "1"})
                super().append(rolled_back, expected_generation)
            super().append(entry, expected_generation)

    house = House.built()
    house.ledger = Raced()
    house.enter("promote", "1")
    house.enter("promote", "2")
    follow(house.registry, house.ledger, NAME)
    with pytest.raises(LedgerConflict, match="is version 1 by now"):
        house.hands.do(house.hands.force("4", "r"))
    assert [one.event for one in house.ledger.read().entries] == ["promote", "promote", "rollback"]


def test_a_champion_older_than_the_ledger_is_adopted_first() -> None:
    """So that a forced promotion knows whom it replaces, and a rollback can go back there."""
    house = House.built()
    house.registry.set_alias(NAME, "champion", "3")
    house.hands.do(house.hands.force("4", "r"))
    assert [(one.event, one.version) for one in house.ledger.read().entries] == [("adopt", "3"), ("force", "4")]
    house.hands.do(house.hands.rollback())
    assert house.champion == "3"


def test_a_champion_the_registry_lost_can_be_left_behind() -> None:
    """Its version was deleted in MLflow's pages: a rollback goes to the one before."""
    house = House.built("1", "2")
    house.registry.delete_version(NAME, "2")
    assert "gone from the registry" in audit(house.registry, house.ledger, NAME).discrepancies[0]
    with pytest.raises(RegistryError, match="is gone from the registry"):
        restore(house.hands)
    house.hands.do(house.hands.rollback())
    assert house.champion == "1"


@pytest.mark.parametrize("to", ["1", "3", None])
def test_a_hand_that_moved_the_alias_is_answered_by_adopt_or_restore(to: str | None) -> None:
    """Until then nothing else is done; both are entries, and afterwards ledger and alias agree."""
    for answer in ("adopt", "restore"):
        house = House.built("1", "2")
        if to is None:
            house.registry.delete_alias(NAME, "champion")
        else:
            house.registry.set_alias(NAME, "champion", to)
        found = audit(house.registry, house.ledger, NAME)
        assert not found.agrees
        assert (found.alias, found.ledger_champion) == (to, "2")
        for deed in (lambda h: h.force("4", "r"), lambda h: h.rollback(), lambda h: h.retire("1", "r")):
            with pytest.raises(RegistryError, match="by hand") as caught:
                deed(house.hands)
            assert "inception models audit digits --restore, or --adopt --reason TEXT" in caught.value.remedy
        plan = adopt(house.hands, "moved on purpose") if answer == "adopt" else restore(house.hands)
        entry = put_right(house.hands, plan)
        assert (entry.event, entry.version, entry.previous) == (answer, to if answer == "adopt" else "2", "2")
        assert house.champion == entry.version
        assert house.loaded == ([to] if answer == "adopt" and to else [])
        assert moved_by_hand(house.registry, house.ledger, NAME) is None


def test_an_adopted_version_is_checked_and_not_retired() -> None:
    """A hand cannot make champion what could not be promoted; and it says why."""
    house = House.built("1", "2")
    house.hands.do(house.hands.retire("1", "bad"))
    house.registry.set_alias(NAME, "champion", "1")
    with pytest.raises(RegistryError, match="version 1 of 'digits', which is retired"):
        adopt(house.hands, "r")
    house.registry.set_alias(NAME, "champion", "3")
    with pytest.raises(UsageError, match="no reason"):
        adopt(house.hands, "")
    house.damaged = {"3"}
    with pytest.raises(EvaluationError):
        put_right(house.hands, adopt(house.hands, "r"))
    assert moved_by_hand(house.registry, house.ledger, NAME) == ("3", "2")


@pytest.mark.parametrize("killed_before", ["announcement", "move", "clearing", "mark"])
@pytest.mark.parametrize("event", ["force", "retire", "restore"])
def test_a_hand_that_is_killed_is_no_hand_that_moved_the_alias(event: str, killed_before: str) -> None:
    """Cut anywhere after its entry, a deed is finished by the next command, and taken for a crash until then."""
    house = House.built("1", "2")
    if event == "restore":
        house.registry.set_alias(NAME, "champion", "1")
    deed = {
        "force": lambda: house.hands.force("4", "r"),
        "retire": lambda: house.hands.retire("2", "r"),
        "restore": lambda: restore(house.hands),
    }[event]()

    class Killed(BaseException):
        pass

    real = {name: getattr(house.registry, name) for name in ("set_tags", "set_alias", "delete_alias")}

    def stop(method: str) -> Callable[..., None]:
        def call(*arguments: object) -> None:
            mover = str(arguments[1]).startswith("moving-")
            moment = {
                "set_alias": "announcement" if mover else "move",
                "delete_alias": "clearing" if mover else "move",
                "set_tags": "mark" if "ledger_entry" in str(arguments) else "",
            }[method]
            if moment == killed_before:
                raise Killed
            real[method](*arguments)

        return call

    for name in real:
        setattr(house.registry, name, stop(name))
    with pytest.raises(Killed):
        put_right(house.hands, deed)
    for name, method in real.items():
        setattr(house.registry, name, method)
    assert moved_by_hand(house.registry, house.ledger, NAME) is None
    follow(house.registry, house.ledger, NAME)
    assert house.champion == {"force": "4", "retire": None, "restore": "2"}[event]


LINES: list[tuple[str, list[str]]] = [
    ("", []),
    ("promote 1, promote 2, keep 2, promote 3", ["1", "2", "3"]),
    ("promote 1, promote 2, promote 3, rollback 2", ["1", "2"]),
    ("promote 1, promote 2, promote 3, rollback 1, promote 4", ["1", "4"]),
    ("promote 1, promote 2, force 1", ["1", "2", "1"]),
    ("promote 1, adopt -, adopt 2", ["1", "2"]),
    ("promote 1, promote 2, restore 2", ["1", "2"]),
]


@pytest.mark.parametrize(("told", "expected"), LINES, ids=[told for told, _ in LINES])
def test_the_line_of_champions(told: str, expected: list[str]) -> None:
    """What a rollback goes back along."""
    house = House.built()
    for event in filter(None, told.split(", ")):
        kind, version = event.split()
        house.enter(kind, None if version == "-" else version)  # type: ignore[arg-type]
    assert line(house.ledger.read().entries) == expected


@pytest.mark.parametrize("version", ["2", "4"])
def test_a_retired_version_is_no_challenger(version: str) -> None:
    """The alias goes with it, and stays where it is on another."""
    house = House.built("1", "2")
    house.registry.set_alias(NAME, "challenger", "4")
    house.hands.do(house.hands.retire(version, "bad"))
    assert house.registry.alias(NAME, "challenger") == (None if version == "4" else "4")
    assert house.registry.get(NAME, version).tags["retired"] == "bad"
