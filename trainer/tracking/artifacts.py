"""Files of runs, figures of runs that are over, and models as they are fetched."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from trainer.errors import RegistryError
from trainer.patience import patiently
from trainer.state import State
from trainer.tracking.connection import asked, connect


def log_files(state: State, run_id: str, paths: Sequence[Path], folder: str) -> None:
    """Put files among a run's artifacts, under `folder`. Errors: RegistryError."""
    address = connect(state)
    import mlflow
    from mlflow.exceptions import MlflowException

    client = mlflow.MlflowClient()
    try:
        for path in paths:
            patiently(address, partial(client.log_artifact, run_id, str(path), folder))
    except (MlflowException, OSError) as error:
        raise RegistryError(
            f"The files of run {run_id} could not be logged to {address}: {error}.",
            "See that the artifact store can be written; the files are still in the run record.",
        ) from error


def log_card(state: State, run_id: str, paths: Sequence[Path]) -> None:
    """Put a run card's files among a run's artifacts. Errors: RegistryError."""
    log_files(state, run_id, paths, "card")


def log_metrics(state: State, run_id: str, metrics: Mapping[str, float]) -> None:
    """Add figures to a run that has ended. Errors: RegistryError."""
    address = connect(state)
    import mlflow

    now = int(time.time() * 1000)  # a figure that comes twice with one time is one figure
    asked(
        state,
        lambda: mlflow.log_metrics(dict(metrics), run_id=run_id, timestamp=now),
        f"The MLflow store at {address} refused figures of run {run_id}",
    )


def download(state: State, model_uri: str, destination: Path) -> Path:
    """Fetch a logged model's files. Returns their folder. Errors: RegistryError."""
    address = connect(state)
    import mlflow
    from mlflow.exceptions import MlflowException

    destination.mkdir(parents=True, exist_ok=True)
    try:
        fetched = patiently(
            address, lambda: mlflow.artifacts.download_artifacts(artifact_uri=model_uri, dst_path=str(destination))
        )
    except (MlflowException, OSError) as error:
        raise RegistryError(
            f"The model {model_uri} cannot be fetched from {address}: {error}.",
            "See that its artifacts were not deleted.",
        ) from error
    return Path(fetched)
