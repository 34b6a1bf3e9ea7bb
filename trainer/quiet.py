"""Keeps what native libraries print away from what the user asked for."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from trainer.errors import InceptionError
from trainer.events import DEBUG_VARIABLE


@contextmanager
def hushed() -> Iterator[None]:
    """Hold back everything written to standard error and standard output, by C++ too; show it if the block fails.

    An error of our own says all by itself: with it, what was held back is shown under --debug only.

    TensorFlow announces on every import, before any setting of its own is read, what it found no driver for; Keras
    draws a progress bar for every prediction. Neither belongs in an answer, or in a JSON object.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    kept = {stream: os.dup(stream) for stream in (1, 2)}
    with tempfile.TemporaryFile() as held:
        for stream in kept:
            os.dup2(held.fileno(), stream)
        try:
            yield
        except BaseException as error:
            _restore(kept)
            if not isinstance(error, InceptionError) or os.environ.get(DEBUG_VARIABLE):
                held.seek(0)
                sys.stderr.buffer.write(held.read())
            raise
        else:
            _restore(kept)


def _restore(kept: dict[int, int]) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    for stream, copy in kept.items():
        os.dup2(copy, stream)
        os.close(copy)
