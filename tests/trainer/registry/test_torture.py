"""Promotion under torture: eight processes, two hundred models, and a kill every few milliseconds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from trainer import record
from trainer.registry.audit import audit
from trainer.registry.protocol import champion

ROOT = Path(__file__).resolve().parents[3]
SUPPORT = ROOT / "tests" / "support"
MODELS, WORKERS, KILLS = 200, 8, 60

SERVING = """
import sys
sys.path.insert(0, sys.argv[1])
from google_storage import Storage, serving
with serving(Storage("b")) as address:
    print(address, flush=True)
    sys.stdin.read()
"""


@contextmanager
def bucket() -> Iterator[str]:
    """A Google Cloud Storage in a process of its own. Gives its address."""
    command = [sys.executable, "-c", SERVING, str(SUPPORT)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        yield server.stdout.readline().strip()
        server.stdin.close()


@pytest.fixture(params=["file", "google"])
def address(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "file":
        yield str(tmp_path / "ledger" / "digits.json")
        return
    with bucket() as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server)
        yield "gs://b/ledgers/digits.json"


@pytest.mark.slow
def test_the_best_model_is_champion_whatever_is_killed(tmp_path: Path, address: str) -> None:
    """Eight processes promote two hundred models and are killed at least sixty times, at random moments.

    In the end the champion is the best of all, every decision is in the ledger once and was right when it was made,
    alias and tags agree with it, and no crash was ever taken for a hand.
    """
    numbers = [str(number) for number in (MODELS, WORKERS, KILLS, 5)]
    done = subprocess.run(
        [sys.executable, str(SUPPORT / "torture.py"), str(tmp_path), address, *numbers],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout) >= KILLS

    import torture

    registry, ledger = torture.FileRegistry(tmp_path / "registry.pickle"), torture.ledger_at(address)
    merit = {one.version: torture.merit_of(one.tags["run_key"]) for one in registry.versions("digits")}
    entries = ledger.read().entries
    best = max(merit, key=merit.__getitem__)
    assert champion(entries) == registry.alias("digits", "champion") == best

    assert [entry.number for entry in entries] == list(range(1, MODELS + 1))
    assert Counter(entry.challenger for entry in entries) == Counter(list(merit))
    present = None
    for entry in entries:
        assert entry.previous == present
        assert (entry.event == "promote") == (present is None or merit[entry.challenger or ""] > merit[present])
        present = entry.version
    assert sum(entry.event == "promote" for entry in entries) > 10

    assert audit(registry, ledger, "digits").discrepancies == []
    for run in (tmp_path / "runs").iterdir():
        assert record.read(run, record.Promoted).result in ("promoted", "kept")
