"""The part of the state that runs share, in an object store: so that steps on several machines need no common volume.

`INCEPTION_STORE` names the place; without it nothing here does anything, and the state folder holds all. It has the
state folder's own layout:

    runs/<run key>/  ticks/<tick>/     as they are there, files that belong to one machine aside
    data/<fingerprint>/dataset.json    where the prepared dataset's files are: written last, never changed
    data/<fingerprint>/prepare.json    as it is there
    checkpoints/<run key>/             written and read there directly
    leases/<run key>.json              which machine trains it now
    ledger/<model>.json                the order of promotions, unless INCEPTION_LEDGERS says otherwise

Every step's state folder is then a cache. What a step needs is fetched when it asks for it; what it wrote is sent when
it ends, or when it must be known before it goes on. Documents are sent after the files they speak of, so nobody meets
one that is ahead of its files, and a step that is killed at any point is simply done again.

    mirror.py     one folder, here and there
    memory.py     which local files are known to be as they are there
    datasets.py   prepared datasets
    overview.py   all runs, as far as a list of them needs
    lease.py      one machine at a time
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.errors import StateError, without_credentials
from trainer.sharing import datasets, overview
from trainer.sharing.lease import end_this, held
from trainer.sharing.memory import Memory
from trainer.sharing.mirror import Mirrors, Wanted, documents, everything, named
from trainer.state import State
from trainer.storage import Bucket, place, store_address

if TYPE_CHECKING:
    from trainer.data.prepared import Manifest, PreparedDataset

__all__ = [
    "documents",
    "everything",
    "fetch",
    "fetch_runs",
    "has_dataset",
    "known_manifest",
    "named",
    "only_one",
    "opened_dataset",
    "push",
    "send_dataset",
]


def fetch(state: State, folder: Path, wanted: Wanted = everything) -> None:
    """Bring a folder of the state up to date with the store; what is changed in it from now on is sent by `push`.

    Args:
        state: the state folder.
        folder: `state.run(…)`, `state.tick(…)`, `state.data(…)` or `state.failed_data(…)`.
        wanted: which of its files; what is not wanted is left as it is, here and there.

    Errors: StateError (out of reach, no room).
    """
    if mirrors := _mirrors(state):
        mirrors.of(folder).fetch(wanted)


def fetch_runs(state: State) -> None:
    """Bring here what a list of all runs is made of, and the cards of the newest. Errors: StateError."""
    if mirrors := _mirrors(state):
        overview.fetch(state, mirrors)


def push(state: State) -> None:
    """Send what was changed in the folders that were fetched. Errors: StateError."""
    if mirrors := _mirrors(state):
        mirrors.push()


def has_dataset(state: State, fingerprint: str) -> bool:
    """Whether the store has a prepared dataset, whole. True where there is no store: the state folder says it then."""
    mirrors = _mirrors(state)
    return mirrors is None or datasets.find(mirrors.place, fingerprint) is not None


def known_manifest(state: State, fingerprint: str) -> Manifest | None:
    """What the store's prepared dataset holds; None where it has none. Errors: StateError."""
    mirrors = _mirrors(state)
    return datasets.manifest(mirrors.place, fingerprint) if mirrors else None


def send_dataset(state: State, fingerprint: str) -> None:
    """Put a prepared dataset of the state folder into the store, unless it is there. Errors: StateError."""
    if mirrors := _mirrors(state):
        datasets.send(state, mirrors.place, fingerprint)


def opened_dataset(state: State, fingerprint: str) -> PreparedDataset:
    """A prepared dataset, fetched where only the store has it. Errors: StateError (neither has it, no room)."""
    from trainer.data.prepared import find_prepared, open_prepared

    folder = state.data(fingerprint)
    mirrors = _mirrors(state)
    if mirrors is not None and find_prepared(folder) is None:
        datasets.fetch(state, mirrors.place, fingerprint)
    return open_prepared(folder)


@contextmanager
def only_one(state: State, folder: Path, what: str) -> Iterator[Callable[[], None]]:
    """Be the one machine that works on a folder, where the store can tell (Google Cloud Storage).

    Gives a function that raises StoreError where another machine has taken the work over. What the one before has left
    is fetched, whether it was waited for or ended just now.

    Errors: StateError.
    """
    mirrors = _mirrors(state)
    if mirrors is None or not isinstance(mirrors.place, Bucket):
        yield lambda: None
        return

    def lose() -> None:
        mirrors.give_up()
        end_this()

    with held(mirrors.place, f"leases/{folder.name}.json", what, lose) as lease:

        def confirm() -> None:
            try:
                lease.confirm()
            except StateError:
                mirrors.give_up()
                raise

        fetch(state, folder)
        yield confirm


def _mirrors(state: State) -> Mirrors | None:
    where = store_address()
    return None if where is None else _opened(state, where)


@lru_cache(maxsize=16)
def _opened(state: State, where: str) -> Mirrors:
    return Mirrors(state, place(where), Memory(state.cache / "shared.db", without_credentials(where)))
