"""Where everything of one installation lies, and how files get there: written beside, then renamed.

One folder (`.inception/` unless told otherwise) holds all that the project ever writes; deleting it forgets
everything.

    mlflow.db, artifacts/        MLflow: runs, registry, logged models (where no server is given)
    data/<fingerprint>/          prepared datasets
    checkpoints/<run key>/       training under way
    runs/<run key>/              run records: one JSON document per step, predictions, the run card
    ticks/<tick>/                one folder per pipeline run: what it was asked, how it ended
    index.html                   all runs on one page, with links to their cards
    ledger/<model>.json          the order of promotions
    logs/                        everything the steps of each local run printed
    cache/, kfp/                 file digests, published weights, libraries' caches, the local orchestrator's own files
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from trainer.errors import StateError

DEFAULT_ROOT = ".inception"

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_PERMISSION = (errno.EACCES, errno.EPERM, errno.EROFS)
_UMASK = os.umask(0o077)
os.umask(_UMASK)  # to ask is to set, so it is asked before there are threads
STORAGE_REFUSALS = (*_NO_SPACE, *_NO_PERMISSION)
"""What the operating system says when it is the storage that will not do."""


@dataclass(frozen=True)
class State:
    root: Path

    @classmethod
    def open(cls, root: str | Path) -> State:
        """Make the folder if need be, see that it can be written, and keep libraries' caches in it too.

        Errors: StateError.
        """
        path = Path(root).absolute()
        with reported(path):
            path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path):
                pass
            _stay_inside(path / "cache")
        return cls(path)

    @classmethod
    def existing(cls, root: str | Path) -> State:
        """A state folder that is only read. With an MLflow server in use there need be none.

        Errors: StateError (there is no such folder).
        """
        path = Path(root).absolute()
        if not path.is_dir() and not os.environ.get("MLFLOW_TRACKING_URI"):
            raise StateError(
                f"There is no state folder at {root}.",
                "Name the folder that `inception run` wrote with --state DIR, or run a recipe first.",
            )
        with suppress(OSError):
            _stay_inside(path / "cache")
        return cls(path)

    def data(self, fingerprint: str) -> Path:
        return self.root / "data" / fingerprint

    def failed_data(self, fingerprint: str) -> Path:
        """Where a preparation that failed says why; the prepared dataset itself is there whole or not at all."""
        return self.root / "data" / f"{fingerprint}.failed"

    def checkpoints(self, run_key: str) -> Path:
        return self.root / "checkpoints" / run_key

    def run(self, run_key: str) -> Path:
        return self.root / "runs" / run_key

    def tick(self, tick: str) -> Path:
        return self.root / "ticks" / tick

    @property
    def index(self) -> Path:
        return self.root / "index.html"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def ledger(self, model: str) -> Path:
        return self.root / "ledger" / f"{model}.json"

    @property
    def tfds(self) -> Path:
        return self.root / "tfds"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def digests(self) -> Path:
        return self.cache / "digests.db"

    @property
    def artifacts(self) -> Path:
        return self.root / "artifacts"

    @property
    def mlflow_database(self) -> Path:
        return self.root / "mlflow.db"

    @property
    def pipeline_root(self) -> Path:
        return self.root / "kfp"


def _stay_inside(cache: Path) -> None:
    """Libraries write settings and caches into the home folder unless told otherwise, before they are imported."""
    for variable, folder in (("KERAS_HOME", "keras"), ("MPLCONFIGDIR", "matplotlib"), ("XDG_CACHE_HOME", "xdg")):
        os.environ.setdefault(variable, str(cache / folder))
        Path(os.environ[variable]).mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@contextmanager
def reported(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals about `path` into a StateError that says what to do."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, path) from error


def storage_error(error: OSError, path: Path | str) -> StateError:
    """The StateError for a failed read or write, with the remedy that fits."""
    where = error.filename or path
    if error.errno in _NO_SPACE:
        return StateError(
            f"No space is left to write {where}.",
            "Free some space, or put the state elsewhere with --state DIR. The next run goes on from here.",
        )
    if error.errno in _NO_PERMISSION:
        return StateError(
            f"{where} may not be written: {error.strerror}.",
            "Give write permission, or choose a folder with --state DIR.",
        )
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return StateError(
            f"{where} is not a folder that can hold the state.",
            "Move that file away, or choose a folder with --state DIR.",
        )
    return StateError(f"{where} cannot be used: {error.strerror or error}.", "Choose another folder with --state DIR.")


def shared(mode: int) -> int:
    """The mode of what others may read, as far as the umask lets them: temporary files are made for nobody else."""
    return mode & ~_UMASK


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a file so that it is there whole or not at all, even after a crash. Errors: StateError."""
    payload = content.encode() if isinstance(content, str) else content
    with reported(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(payload)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(beside, shared(0o666))
            os.replace(beside, path)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
