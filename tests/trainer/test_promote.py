"""Promotion: every crash heals, every race is lost cleanly, and what is champion deserves to be."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer import record
from trainer.config import Gate
from trainer.errors import RegistryError, StateError
from trainer.promote import promote
from trainer.registry.ledger import FileLedger, MemoryLedger
from trainer.registry.memory import MemoryRegistry
from trainer.registry.mlflow import MlflowRegistry
from trainer.registry.protocol import Entry, Ledger, Registry, champion
from trainer.scorecard import Predictions, score

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = 100
THRESHOLD = Gate(threshold=0.5, policy="threshold")
PAIRED = Gate(threshold=0.5)


@dataclass
class World:
    """A registry, a ledger and run records, with runs that have come as far as `register`."""

    runs: Path
    registry: Registry = field(default_factory=MemoryRegistry)
    ledger: Ledger = field(default_factory=MemoryLedger)
    run_keys: dict[str, str] = field(default_factory=dict)

    def predictions(self, right: int, prefix: str = "") -> Predictions:
        correct = np.arange(EXAMPLES)[:, None] < right
        probabilities = np.where(correct, np.float32([0.9, 0.1]), np.float32([0.2, 0.8])).astype(np.float32)
        return Predictions([f"{prefix}{i}" for i in range(EXAMPLES)], np.zeros(EXAMPLES, np.int32), probabilities)

    def run(self, key: str, right: int, against: str | None = None, test: str = "") -> str:
        """Evaluate a model that is right on the first so many examples against a version; register it."""
        folder = self.runs / key
        predictions = self.predictions(right, test)
        predictions.save(folder / "challenger.npz")
        theirs = None
        if against is not None:
            their_folder = self.runs / self.run_keys[against]
            champion_predictions = Predictions.load(their_folder / "challenger.npz")
            champion_predictions.save(folder / "champion.npz")
            theirs = score(champion_predictions, ["x", "y"], "champion.npz")
        ours = score(predictions, ["x", "y"], "challenger.npz")
        evaluated = record.Evaluated(challenger=ours, champion=theirs, champion_version=against, worst_mistakes=[])
        record.write(folder, evaluated)
        version = self.registry.create_version("digits", f"file:///{key}", "", {"run_key": key}).version
        record.write(folder, record.Registered(name="digits", version=version, created=True))
        self.run_keys[version] = key
        return version

    def promote(self, key: str, policy: Gate = THRESHOLD) -> record.Promoted:
        folder = self.runs / key
        registered, evaluated = record.read(folder, record.Registered), record.read(folder, record.Evaluated)
        return promote(self.registry, self.ledger, "digits", folder, registered, evaluated, policy, f"tick {key}", key)

    def seen(self) -> tuple[Any, ...]:
        """All that a promotion leaves behind, times left out."""
        entries = [entry.model_dump(exclude={"at"}) for entry in self.ledger.read().entries]
        versions = [one.model_dump(exclude={"created_at"}) for one in self.registry.versions("digits")]
        return entries, versions, self.registry.alias("digits", "champion")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "runs")


def test_the_first_model_above_the_threshold_is_promoted(world: World) -> None:
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
        (82, PAIRED, "undecided"),
        (82, THRESHOLD, "promoted"),
        (80, PAIRED, "kept"),
        (70, PAIRED, "kept"),
        (90, Gate(threshold=0.95), "kept"),
    ],
)
def test_a_challenger_becomes_champion_only_if_the_gate_says_so(
    world: World, right: int, policy: Gate, result: str
) -> None:
    """Whatever the verdict, it is tagged; only a promotion moves the alias and enters the ledger."""
    world.run("a", 80)
    world.promote("a")
    world.run("b", right, against="1")
    done = world.promote("b", policy)
    after = "2" if result == "promoted" else "1"
    assert (done.result, done.champion_before, done.champion_after) == (result, "1", after)
    assert world.registry.alias("digits", "champion") == after
    assert len(world.ledger.read().entries) == (2 if result == "promoted" else 1)
    assert done.ledger_entry == (2 if result == "promoted" else None)
    assert world.registry.get("digits", "2").tags["verdict"] == result


class Crash(BaseException):
    """The process ends here."""


class Crashing:
    """Counts calls through its proxies, and crashes at one of them, before or after it has worked."""

    def __init__(self, at: int | None, *, before: bool) -> None:
        self.at, self.before, self.calls = at, before, 0

    def proxy(self, target: Any) -> Any:
        outer = self

        class Proxy:
            def __getattr__(self, name: str) -> Callable[..., Any]:
                real = getattr(target, name)

                def call(*args: Any, **kwargs: Any) -> Any:
                    outer.calls += 1
                    fatal = outer.calls == outer.at
                    if fatal and outer.before:
                        raise Crash
                    result = real(*args, **kwargs)
                    if fatal:
                        raise Crash
                    return result

                return call

        return Proxy()


SCENARIOS: dict[str, Callable[[World], str]] = {}


def scenario(build: Callable[[World], str]) -> Callable[[World], str]:
    SCENARIOS[build.__name__] = build
    return build


@scenario
def first_model(world: World) -> str:
    world.run("a", 80)
    return "a"


@scenario
def better_challenger(world: World) -> str:
    world.run("a", 80)
    world.promote("a")
    world.run("b", 90, against="1")
    return "b"


@scenario
def worse_challenger(world: World) -> str:
    world.run("a", 80)
    world.promote("a")
    world.run("b", 70, against="1")
    return "b"


@scenario
def overtaken_challenger(world: World) -> str:
    """Evaluated against version 1, but version 2 is champion by now, and the challenger beats that too."""
    world.run("a", 70)
    world.promote("a")
    world.run("b", 80, against="1")
    world.run("c", 90, against="1")
    world.promote("b")
    return "c"


@scenario
def champion_to_adopt(world: World) -> str:
    """The registry had a champion before there was a ledger."""
    world.run("a", 70)
    world.registry.set_alias("digits", "champion", "1")
    world.run("b", 80, against="1")
    return "b"


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("name", list(SCENARIOS))
def test_a_crash_at_any_point_heals(tmp_path: Path, name: str, before: bool) -> None:
    """Killed before or after any call to registry or ledger, the same promotion again ends as if nothing had been."""
    undisturbed = World(tmp_path / "undisturbed")
    key = SCENARIOS[name](undisturbed)
    counter = Crashing(None, before=before)
    whole = World(undisturbed.runs, counter.proxy(undisturbed.registry), counter.proxy(undisturbed.ledger))
    expected = whole.promote(key)
    assert counter.calls >= 6

    for at in range(1, counter.calls + 1):
        world = World(tmp_path / str(at))
        SCENARIOS[name](world)
        crashing = Crashing(at, before=before)
        killed = World(world.runs, crashing.proxy(world.registry), crashing.proxy(world.ledger))
        with pytest.raises(Crash):
            killed.promote(key)
        again = world.promote(key)
        assert world.seen() == undisturbed.seen(), f"crash at call {at}"
        assert again.model_dump(exclude={"at"}) == expected.model_dump(exclude={"at"}), f"crash at call {at}"
        world.promote(key)
        assert world.seen() == undisturbed.seen(), f"third time, after a crash at call {at}"


def test_a_promotion_is_recalled_when_its_evidence_is_gone(world: World) -> None:
    """With the predictions deleted, a promotion run again still ends well, in the ledger's own words."""
    world.run("a", 80)
    first = world.promote("a")
    (world.runs / "a" / "challenger.npz").unlink()
    again = world.promote("a")
    assert (again.result, again.ledger_entry, again.verdict.reason) == ("promoted", 1, first.verdict.reason)
    assert world.registry.get("digits", "1").tags["verdict_digest"] == first.verdict.digest()


def test_an_overtaken_promotion_run_again_changes_nothing(world: World) -> None:
    """The former champion's run, run again, leaves the present champion in place."""
    world.run("a", 80)
    world.promote("a")
    world.run("b", 90, against="1")
    world.promote("b")
    before = world.seen()
    again = world.promote("a")
    assert (again.result, again.champion_before, again.champion_after, again.ledger_entry) == ("promoted", None, "2", 1)
    assert world.seen() == before


class Overtaking(MemoryLedger):
    """Lets another run promote just before the first append."""

    def __init__(self, deed: Callable[[], object]) -> None:
        super().__init__()
        self.deed: Callable[[], object] | None = deed

    def append(self, entry: Entry, expected_generation: int) -> None:
        if entry.run_key == "mine" and self.deed is not None:
            deed, self.deed = self.deed, None
            deed()
        super().append(entry, expected_generation)


@pytest.mark.parametrize(
    ("mine", "theirs", "result", "final"),
    [(90, 80, "promoted", "1"), (80, 90, "kept", "2"), (90, 90, "kept", "2"), (90, 89, "promoted", "1")],
)
def test_the_loser_of_a_race_decides_again_against_the_new_champion(
    world: World, mine: int, theirs: int, result: str, final: str
) -> None:
    """Two first models at once: the second to append is judged on the predictions the first one's record kept."""
    world.ledger = Overtaking(lambda: world.promote("theirs"))
    world.run("mine", mine)
    world.run("theirs", theirs)
    done = world.promote("mine")
    assert (done.result, done.champion_before, done.champion_after) == (result, "2", final)
    assert world.registry.alias("digits", "champion") == final == champion(world.ledger.read().entries)
    assert "theirs" in {entry.run_key for entry in world.ledger.read().entries}


def lose_record(folder: Path) -> None:
    (folder / "evaluate.json").unlink()


def lose_predictions(folder: Path) -> None:
    (folder / "challenger.npz").unlink()


def damage_predictions(folder: Path) -> None:
    (folder / "challenger.npz").write_bytes(b"PK")


@pytest.mark.parametrize("loss", [lose_record, lose_predictions, damage_predictions])
def test_a_new_champion_without_predictions_leaves_the_verdict_open(world: World, loss: Callable[[Path], None]) -> None:
    """Nothing is promoted over a champion that it could not be held against."""
    world.run("a", 60)
    world.promote("a")
    world.run("b", 70, against="1")
    world.run("c", 99, against="1")
    world.promote("b")
    loss(world.runs / "b")
    done = world.promote("c")
    assert (done.result, done.champion_after) == ("undecided", "2")
    assert "Version 2 has become champion since the evaluation" in done.verdict.reason
    assert world.registry.get("digits", "3").tags["verdict"] == "undecided"


def test_a_new_champion_on_other_test_examples_leaves_the_verdict_open(world: World) -> None:
    """Scores on different examples are not compared."""
    world.run("a", 60)
    world.promote("a")
    world.run("b", 70, against=None, test="other-")
    world.run("c", 99, against="1")
    world.registry.set_alias("digits", "champion", "2")
    entry = world.ledger.read().entries[0].model_copy(update={"number": 2, "version": "2", "previous": "1"})
    world.ledger.append(entry, 1)
    done = world.promote("c")
    assert done.result == "undecided"
    assert "different test examples" in done.verdict.reason


def test_a_champion_that_somebody_else_registered_leaves_the_verdict_open(world: World) -> None:
    """A version without a run key has no predictions to compare with."""
    world.registry.create_version("digits", "file:///foreign", "", {})
    world.registry.set_alias("digits", "champion", "1")
    world.run("a", 99)
    done = world.promote("a")
    assert (done.result, done.champion_before, done.champion_after) == ("undecided", "1", "1")


def test_a_challenger_that_was_adopted_as_champion_is_kept(world: World) -> None:
    """It cannot be promoted over itself."""
    world.run("a", 80)
    world.registry.set_alias("digits", "champion", "1")
    done = world.promote("a")
    assert (done.result, done.champion_after) == ("kept", "1")
    assert "is the champion already" in done.verdict.reason
    assert [entry.event for entry in world.ledger.read().entries] == ["adopt"]


def test_missing_own_predictions_stop_the_step(world: World) -> None:
    """Nothing is decided without evidence."""
    world.run("a", 80)
    (world.runs / "a" / "challenger.npz").unlink()
    with pytest.raises(StateError, match=r"challenger\.npz"):
        world.promote("a")
    assert world.ledger.read().entries == ()
    assert "verdict" not in world.registry.get("digits", "1").tags


def test_a_registry_that_fails_after_the_append_is_healed_by_the_next_run(
    world: World, monkeypatch: pytest.MonkeyPatch
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


PROMOTING = """
import sys
from pathlib import Path
from trainer import record
from trainer.config import Gate
from trainer.promote import promote
from trainer.registry.ledger import FileLedger
from trainer.registry.mlflow import MlflowRegistry

uri, ledger, runs, *keys = sys.argv[1:]
registry = MlflowRegistry(uri)
print("ready", flush=True)
sys.stdin.readline()
for key in keys:
    folder = Path(runs) / key
    promote(registry, FileLedger(Path(ledger)), "digits", folder, record.read(folder, record.Registered),
            record.read(folder, record.Evaluated), Gate(threshold=0.5, policy="threshold"), "tick", key)
"""


def test_promoters_at_once_end_with_the_best_model(tmp_path: Path) -> None:
    """Four processes promote twelve models through one ledger file and one MLflow store: the best is champion."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    path = tmp_path / "ledger" / "digits.json"
    world = World(tmp_path / "runs", MlflowRegistry(uri), FileLedger(path))
    accuracies = [60, 75, 62, 90, 71, 88, 65, 91, 55, 86, 80, 70]
    for number, right in enumerate(accuracies):
        world.run(f"key{number}", right)
    batches = [[f"key{number}" for number in range(who, 12, 4)] for who in range(4)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROMOTING, uri, str(path), str(world.runs), *batch],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for batch in batches
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
    assert [process.wait(timeout=120) for process in processes] == [0] * 4
    for process in processes:
        process.communicate()

    best = str(1 + int(np.argmax(accuracies)))
    entries = world.ledger.read().entries
    assert champion(entries) == world.registry.alias("digits", "champion") == best
    order = [accuracies[int(entry.version) - 1] for entry in entries]
    assert order == sorted(set(order))
    assert all(after.previous == before.version for before, after in itertools.pairwise(entries))
    promoted = {entry.version for entry in entries}
    for one in world.registry.versions("digits"):
        assert one.tags["verdict"] == ("promoted" if one.version in promoted else "kept")
