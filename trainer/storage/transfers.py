"""Many files at once, between a place and this disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import TypeVar

from trainer.errors import StateError
from trainer.state import reported
from trainer.storage import Place, Stored
from trainer.storage.bucket import SLICED_BYTES

THREADS = 8
"""Google's client keeps ten connections."""
SPARE_BYTES = 64 << 20
"""That a disk must have left after a download."""

K = TypeVar("K")
R = TypeVar("R")


def fetch(place: Place, wanted: Sequence[Stored], folder: Path) -> None:
    """Download files below a folder, under their own names; room for all is seen to first.

    Each is compared with its checksum, where the place has one, before it gets its name.

    Errors: StateError (out of reach, no room, a name that leads elsewhere), FileNotFoundError (one is gone, or was
    written anew).
    """
    for held in wanted:
        expect_inside(held.name, place.address)
    expect_room(folder, sum(held.size for held in wanted))
    # A large one comes in slices, several at once; small ones come several at once.
    small = [held for held in wanted if held.size < SLICED_BYTES]
    together(lambda held: place.get(held, folder / held.name), small)
    for held in wanted:
        if held.size >= SLICED_BYTES:
            place.get(held, folder / held.name)


def send(place: Place, files: Mapping[str, Path]) -> list[Stored]:
    """Upload files under these names. Returns what the place knows of them. Errors: StateError."""
    return together(lambda name: place.put(name, files[name]), files)


def expect_room(folder: Path, needed: int) -> None:
    """Errors: StateError where the disk of a folder has less room than that, and some to spare."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    with reported(there):
        free = shutil.disk_usage(there).free
    if free < needed + SPARE_BYTES:
        raise StateError(
            f"{needed / 1e9:,.2f} GB are to be fetched into {folder}, and its disk has {free / 1e9:,.2f} GB left.",
            "Free some space, give the step a larger disk, or put the state elsewhere with --state DIR.",
        )


def expect_inside(name: str, address: str) -> None:
    """An object may be called anything, a file below a folder may not. Errors: StateError."""
    if any(part in ("", ".", "..") for part in name.split("/")):
        raise StateError(
            f"The name {name!r} in {address} leads out of the folder that it would be fetched into.",
            "Find out who made it, and remove it.",
        )


def together(work: Callable[[K], R], items: Iterable[K]) -> list[R]:
    """In threads; the results in order. The first error ends it: what has not begun does not begin."""
    with ThreadPoolExecutor(THREADS, thread_name_prefix="transfers") as pool:
        # Each with the caller's context: whether it is in a hurry is part of that.
        under_way: list[Future[R]] = [pool.submit(copy_context().run, work, item) for item in items]
        try:
            return [one.result() for one in under_way]
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
