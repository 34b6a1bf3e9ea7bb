"""What a training leaves in its MLflow run so that its model can be judged later: golden images with its answers, and
the identities of the images it has seen."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer import tracking
from trainer.errors import RegistryError
from trainer.judging.predictions import DAMAGE
from trainer.patience import patiently
from trainer.state import State, reported, write_atomically

FOLDER = "golden"
"""Among the run's artifacts."""
GOLDEN, IDENTITIES = "golden.npz", "identities.npz"

Arrays = Mapping[str, NDArray[Any]]


def leave(state: State, run_id: str, beside: Path, files: Mapping[str, Arrays]) -> None:
    """Write arrays to files in a folder and log those to a run. Errors: StateError, RegistryError."""
    for name, arrays in files.items():
        buffer = io.BytesIO()
        content: dict[str, Any] = dict(arrays)
        np.savez_compressed(buffer, **content)
        write_atomically(beside / name, buffer.getvalue())
    tracking.log_files(state, run_id, [beside / name for name in files], FOLDER)


def fetch(state: State, run_id: str, name: str) -> Arrays | None:
    """A file's arrays; None where the run, or the file in it, is not there.

    Errors: RegistryError (out of reach, or damaged).
    """
    address = tracking.connect(state)
    import mlflow
    from mlflow.exceptions import MlflowException

    client = mlflow.MlflowClient()
    try:
        held = patiently(address, lambda: client.list_artifacts(run_id, FOLDER))
        if name not in [Path(one.path).name for one in held]:
            return None
        with reported(state.cache):
            state.cache.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=state.cache, prefix="run-") as folder:
                path = patiently(address, lambda: client.download_artifacts(run_id, f"{FOLDER}/{name}", folder))
                with np.load(path, allow_pickle=False) as arrays:
                    return {key: arrays[key] for key in arrays.files}
    except (MlflowException, *DAMAGE) as error:
        if isinstance(error, MlflowException) and error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise RegistryError(
            f"The file {FOLDER}/{name} of run {run_id} cannot be read from {address}: {error}.",
            "See that the server answers and that the run's artifacts are whole.",
        ) from error
