"""A lock on a file: one process at a time on one machine. It goes with the process that holds it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from trainer.errors import RegistryError
from trainer.state import storage_error

LOCK_SECONDS = 120.0


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock file at `path`, made if need be.

    Errors: RegistryError (another process has held it for `LOCK_SECONDS`), StateError (it cannot be written).
    """
    lock = FileLock(path, timeout=LOCK_SECONDS)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise RegistryError(
            f"Another process has held the lock {path} for {LOCK_SECONDS:.0f} s.",
            "Find it (`fuser` names it) and end it; the lock goes with its process.",
        ) from None
    except OSError as error:
        raise storage_error(error, path) from error
    try:
        yield
    finally:
        lock.release()
