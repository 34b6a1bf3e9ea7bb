"""What MLflow keeps of a training: its run and the models that it logged.

MLflow itself only marks them as deleted. Where the store is the embedded one, their files in the state folder go too;
a server is asked by its API and keeps its own house.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from trainer import tracking
from trainer.registry.protocol import RUN_KEY_TAG
from trainer.retention import folders
from trainer.state import State

T = TypeVar("T")


class Tracked:
    """Errors of all methods: RegistryError (MLflow is out of reach, or refuses), StateError."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._embedded = tracking.connect(state).startswith("sqlite")
        from mlflow.tracking import MlflowClient

        self._client: Any = MlflowClient()

    def is_of(self, run_id: str, run_key: str) -> bool:
        """Whether an MLflow run is there, and was opened for this run key alone: one that was handed over was not."""
        run = self._asked(lambda: self._run(run_id))
        return run is not None and run.data.tags.get(RUN_KEY_TAG) == run_key

    def models(self, run_id: str) -> list[str]:
        """The models that a run has logged; none where it is not there."""

        def ask() -> list[str]:
            run = self._run(run_id)
            if run is None:
                return []
            found = self._client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run_id}'")
            return sorted(str(one.model_id) for one in found)

        return self._asked(ask)

    def run_of(self, model_id: str) -> str | None:
        """The run that logged a model; None where the model is not there."""
        model = self._asked(lambda: _unless_missing(lambda: self._client.get_logged_model(model_id)))
        return model.source_run_id if model is not None else None

    def run_bytes(self, run_id: str) -> int:
        return folders.size(self._state.artifacts / run_id) if self._embedded else 0

    def model_bytes(self, model_id: str) -> int:
        return folders.size(self._state.artifacts / "models" / model_id) if self._embedded else 0

    def delete_run(self, run_id: str) -> None:
        """Whether it is there or not. Its files go first: a sweep that is cut here finds it once more."""
        self._remove(self._state.artifacts / run_id)
        self._asked(lambda: self._run(run_id) and self._client.delete_run(run_id))

    def delete_model(self, model_id: str) -> None:
        """Whether it is there or not. Its files go first, as a run's."""
        self._remove(self._state.artifacts / "models" / model_id)
        self._asked(lambda: _unless_missing(lambda: self._client.delete_logged_model(model_id)))

    def _remove(self, folder: Path) -> None:
        if self._embedded:
            folders.remove(self._state, folder)

    def _run(self, run_id: str) -> Any | None:
        """A run that is there and not deleted."""
        run = _unless_missing(lambda: self._client.get_run(run_id))
        return run if run is not None and run.info.lifecycle_stage == "active" else None

    def _asked(self, deed: Callable[[], T]) -> T:
        problem = f"The MLflow store at {tracking.tracking_uri(self._state)} refused"
        return tracking.asked(self._state, deed, problem)


def _unless_missing(deed: Callable[[], T]) -> T | None:
    from mlflow.exceptions import MlflowException

    try:
        return deed()
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
