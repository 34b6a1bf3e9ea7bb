"""Pixels of many pictures, read and decoded in threads a little ahead of whoever takes them."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from trainer.data.images import MAX_BYTES, TOO_LARGE, BadImage, Pixels, decode
from trainer.storage.objects import Objects

_MOST_THREADS = 8
_AHEAD = 2
"""Pictures in flight for every thread."""


@dataclass(frozen=True, eq=False)
class Picture:
    """One that was read, or could not be."""

    number: int
    """Its place among those that were named, from 0."""
    address: str
    pixels: Pixels | None
    problem: str = ""
    """Why there are no pixels, in words that fit after its address."""


def read(addresses: Sequence[str]) -> Iterator[Picture]:
    """Pictures in their order. Errors: DataError (a bucket that is not there or gives no access)."""
    objects = Objects()
    remote = any("://" in address for address in addresses)
    # A processor is busy with decoding; a bucket keeps a thread waiting.
    threads = _MOST_THREADS if remote else min(_MOST_THREADS, os.cpu_count() or 1)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="pictures")
    ahead: deque[Future[Picture]] = deque()
    try:
        for number, address in enumerate(addresses):
            ahead.append(pool.submit(_read, number, address, objects))
            if len(ahead) > threads * _AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _read(number: int, address: str, objects: Objects) -> Picture:
    try:
        payload = objects.read(address, MAX_BYTES) if "://" in address else _content(Path(address))
        if payload is None:
            raise BadImage(TOO_LARGE)
        return Picture(number, address, decode(payload))
    except BadImage as reason:
        problem = f"cannot be classified: {reason}"
    except FileNotFoundError:
        problem = "cannot be read: it is not there"
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    return Picture(number, address, None, problem)


def _content(path: Path) -> bytes:
    """Errors: OSError; BadImage where it is none whatever it holds: a pipe or a device never comes to an end."""
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        raise BadImage("not a file")
    if about.st_size > MAX_BYTES:
        raise BadImage(TOO_LARGE)
    return path.read_bytes()
