"""Places that a user names for a result, found to be usable before any work is done for it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainer.errors import StateError, UsageError


def expect(path: Path, option: str) -> None:
    """See that something can be put at `path`, which a user gave as `option`.

    Errors: UsageError (its folder is not there), StateError (nothing can be written into that).
    """
    folder = path.absolute().parent
    if not folder.is_dir():
        raise UsageError(
            f"There is no folder {str(path.parent)!r} for {str(path)!r}.", f"Make it first, or choose another {option}."
        )
    with written(path, option), tempfile.NamedTemporaryFile(dir=folder, prefix=f".{path.name}."):
        pass


@contextmanager
def written(path: Path | str, option: str) -> Iterator[None]:
    """Say of what keeps `path` from being written that it is about that, not about a name beside it or the state."""
    try:
        yield
    except (OSError, StateError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(cause, OSError) or cause.errno is None:
            raise  # about something else, or a network's
        raise StateError(f"{path} cannot be written: {cause.strerror}.", f"Choose another {option}.") from cause
