"""Promotions at once: every race is lost cleanly."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer.registry.ledger import FileLedger, MemoryLedger
from trainer.registry.mlflow import MlflowRegistry
from trainer.registry.protocol import Entry, champion

ROOT = Path(__file__).resolve().parents[3]


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
    world: Any, mine: int, theirs: int, result: str, final: str
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
def test_a_new_champion_without_predictions_leaves_the_verdict_open(world: Any, loss: Callable[[Path], None]) -> None:
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


def test_a_new_champion_on_other_test_examples_leaves_the_verdict_open(world: Any) -> None:
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


def test_promoters_at_once_end_with_the_best_model(new_world: Callable[..., Any], tmp_path: Path) -> None:
    """Four processes promote twelve models through one ledger file and one MLflow store: the best is champion."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    path = tmp_path / "ledger" / "digits.json"
    world = new_world(tmp_path / "runs", MlflowRegistry(uri), FileLedger(path))
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
    assert sorted(entry.run_key or "" for entry in entries) == sorted(f"key{number}" for number in range(12))
    assert all(after.previous == before.version for before, after in itertools.pairwise(entries))
    hands = [entry for entry in entries if entry.event == "promote"]
    order = [accuracies[int(entry.version or 0) - 1] for entry in hands]
    assert order == sorted(set(order))
    promoted = {entry.version for entry in hands}
    for one in world.registry.versions("digits"):
        assert one.tags["verdict"] == ("promoted" if one.version in promoted else "kept")
