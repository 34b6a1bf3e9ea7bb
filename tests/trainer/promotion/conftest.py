"""A world for promotions: registry, ledger, and runs that have come as far as `register`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer import record
from trainer.config import Gate
from trainer.promote import promote
from trainer.registry.ledger import MemoryLedger
from trainer.registry.memory import MemoryRegistry
from trainer.registry.protocol import Ledger, Registry
from trainer.scorecard import Predictions, score

EXAMPLES = 100
THRESHOLD = Gate(threshold=0.5, policy="threshold")


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


@pytest.fixture
def new_world() -> Callable[..., World]:
    return World
