"""Many processes promote models of known merit, and are killed at random moments until all the work is done.

A program, because its workers are forks of one process that has loaded everything, and a process of pytest's has
threads. Called with a folder, the address of the ledger, the models, the workers, the kills and a seed.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from file_registry import FileRegistry

from trainer import record
from trainer.config import Gate
from trainer.promote import promote
from trainer.registry.protocol import Ledger
from trainer.registry.stores import FileLedger, GoogleLedger
from trainer.scorecard import Predictions, score

NAME = "digits"
EXAMPLES = 400
POLICY = Gate(threshold=0.25, policy="threshold")


def ledger_at(address: str) -> Ledger:
    return GoogleLedger(address) if address.startswith("gs://") else FileLedger(Path(address))


def merit_of(run_key: str) -> int:
    """How many of the examples a model is right on: its run key says so."""
    return int(run_key.removeprefix("merit-"))


def prepare(folder: Path, models: int) -> None:
    """Runs that have come as far as `register`, each with its predictions on disk."""
    registry = FileRegistry(folder / "registry.pickle")
    identities = [f"{index:03d}" for index in range(EXAMPLES)]
    for merit in range(EXAMPLES - models, EXAMPLES):
        key = f"merit-{merit}"
        right = np.arange(EXAMPLES)[:, None] < merit
        probabilities = np.where(right, np.float32([0.9, 0.1]), np.float32([0.2, 0.8])).astype(np.float32)
        predictions = Predictions(identities, np.zeros(EXAMPLES, np.int32), probabilities)
        run = folder / "runs" / key
        predictions.save(run / "challenger.npz")
        scored = score(predictions, ["x", "y"], "challenger.npz")
        record.write(run, record.Evaluated(challenger=scored, champion=None, champion_version=None, worst_mistakes=[]))
        version = registry.create_version(NAME, f"file:///{key}", "", {"run_key": key}).version
        record.write(run, record.Registered(name=NAME, version=version, created=True))


def work(folder: Path, address: str, keys: list[str]) -> None:
    """Promote these, one after the other; those that are done are done."""
    registry, ledger = FileRegistry(folder / "registry.pickle"), ledger_at(address)
    for key in keys:
        run = folder / "runs" / key
        if record.find(run, record.Promoted) is None:
            registered, evaluated = record.read(run, record.Registered), record.read(run, record.Evaluated)
            done = promote(registry, ledger, NAME, run, registered, evaluated, POLICY, f"tick-{os.getpid()}", key)
            record.write(run, done)


def start(folder: Path, address: str, keys: list[str]) -> int:
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        with (folder / f"{os.getpid()}.log").open("w") as log, redirect_stdout(log):
            work(folder, address, keys)
        status = 0
    finally:
        os._exit(status)


def main(folder: Path, address: str, models: int, workers: int, kills: int, seed: int) -> None:
    dice = random.Random(seed)
    ledger_at(address).read()  # what it imports, every fork has
    prepare(folder, models)
    # In a random order that tends upwards, so that hands change often.
    keys = sorted((path.name for path in (folder / "runs").iterdir()), key=lambda k: merit_of(k) + dice.gauss(0, 15))
    shares = [keys[who::workers] for who in range(workers)]
    running = {start(folder, address, share): share for share in shares}
    killed = 0
    while running:
        if killed < kills:
            time.sleep(dice.uniform(0.0, 0.06))
            victim = dice.choice(list(running))
            os.kill(victim, signal.SIGKILL)
        child, status = os.wait()
        share = running.pop(child)
        if os.WIFSIGNALED(status):
            killed += 1
            running[start(folder, address, share)] = share
        elif status:
            sys.exit(f"a worker ended with {status}: {(folder / f'{child}.log').read_text()}")
    print(killed)


if __name__ == "__main__":
    given = sys.argv[1:]
    main(Path(given[0]), given[1], *map(int, given[2:]))
