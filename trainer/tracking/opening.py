"""How an MLflow run is opened, found again and ended."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

from trainer import system_metrics as machine
from trainer.errors import RegistryError
from trainer.patience import HASTY_SECONDS, OutOfReach, alone, patiently
from trainer.state import State
from trainer.tracking.connection import SERVER_REMEDY, answering, connect, embedded, tracking_uri
from trainer.tracking.context import resolved_tags
from trainer.tracking.run import Run

RUN_KEY_TAG = "run_key"
PARENT_TAG = "mlflow.parentRunId"
OPENING_TAG = "opening"
"""A word of its own for every opening of a run, by which one that was made without our hearing of it is found."""
_GOES_ON = "Run again: the training goes on from its last checkpoint."


@contextmanager
def open_run(
    state: State,
    experiment: str,
    run_key: str,
    name: str,
    system_metrics: bool = False,
    run_id: str | None = None,
) -> Iterator[Run]:
    """The MLflow run of a training: handed over, found again by run key, or new.

    With `system_metrics` it gets the machine's figures too, until the block is left. With `run_id` that run is taken
    up, finished or not, if it is still there.

    Errors: RegistryError where the tracking server cannot be reached, now or while the run is open.
    """
    address = connect(state)
    handed_over = os.environ.get("MLFLOW_RUN_ID")
    with alone():
        with answering(_refused(address), SERVER_REMEDY):
            if handed_over:
                info = patiently(address, lambda: _taken_up(handed_over))
            else:
                info = _opened(
                    address,
                    lambda: _experiment(state, experiment),
                    lambda experiment_id: _existing(run_id) or _unfinished(experiment_id, run_key),
                    name,
                    {RUN_KEY_TAG: run_key},
                )
        run = Run(address, info.run_id, info.experiment_id, run_key, joined=bool(handed_over))
        with _ending(run), machine.watched(run.run_id) if system_metrics else nullcontext():
            yield run


@contextmanager
def open_trial(state: State, parent: str, name: str, run_id: str | None = None) -> Iterator[Run]:
    """The MLflow run of one trial of a tuning, nested in the tuning's run.

    Args:
        state: the state folder.
        parent: id of the tuning's run.
        name: of a new run.
        run_id: the trial's run of an earlier sitting, to go on with; a new one where it is no longer there.

    Errors: RegistryError, as `open_run`.
    """
    address = connect(state)
    from mlflow import MlflowClient

    with alone():
        with answering(_refused(address), SERVER_REMEDY):
            info = _opened(
                address,
                lambda: str(MlflowClient().get_run(parent).info.experiment_id),
                lambda _: _existing(run_id),
                name,
                {PARENT_TAG: parent},
            )
        run = Run(address, info.run_id, info.experiment_id, f"{parent}/{name}", joined=False)
        with _ending(run):
            yield run


def _opened(
    address: str,
    experiment: Callable[[], str],
    earlier: Callable[[str], str | None],
    name: str,
    tags: Mapping[str, str],
) -> Any:
    """An earlier run taken up, or a new one. Returns what MLflow knows of it."""
    from mlflow import MlflowClient

    opening = uuid.uuid4().hex
    tries = 0

    def find_or_make() -> Any:
        nonlocal tries
        tries += 1
        experiment_id = experiment()
        made = _first(experiment_id, f"tags.{OPENING_TAG} = '{opening}'") if tries > 1 else None
        found = made or earlier(experiment_id)
        if found is not None:
            return _taken_up(found, name, tags)
        resolved = resolved_tags({**tags, OPENING_TAG: opening})
        return MlflowClient().create_run(experiment_id, tags=resolved, run_name=name).info

    return patiently(address, find_or_make)


def _taken_up(run_id: str, name: str | None = None, tags: Mapping[str, str] | None = None) -> Any:
    from mlflow import MlflowClient

    client = MlflowClient()
    client.update_run(run_id, status="RUNNING", name=name)
    for key, value in (tags or {}).items():
        client.set_tag(run_id, key, value)
    return client.get_run(run_id).info


@contextmanager
def _ending(run: Run) -> Iterator[None]:
    """End a run as the block ends."""
    from mlflow import MlflowException

    with answering(f"The MLflow store at {run.address} refused to log the training", f"{SERVER_REMEDY} {_GOES_ON}"):
        try:
            yield
        except BaseException as error:
            status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
            # Where the store is out of reach, the run stays as it is rather than hide what happened.
            with suppress(MlflowException, RegistryError):
                _end(run, status, 0.0 if isinstance(error, OutOfReach) else HASTY_SECONDS)
            raise
        _end(run, "FINISHED")


def _end(run: Run, status: str, seconds: float | None = None) -> None:
    from mlflow import MlflowClient

    if not run.joined:
        patiently(run.address, lambda: MlflowClient().set_terminated(run.run_id, status), seconds)


def _refused(address: str) -> str:
    return f"The MLflow store at {address} refused to open a run"


def _experiment(state: State, name: str) -> str:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient()
    found = client.get_experiment_by_name(name)
    if found is None:
        # A server decides for itself where artifacts lie; the embedded store would put them into the working folder.
        # That the variable is set says nothing: MLflow sets it itself, for its child processes.
        location = state.artifacts.as_uri() if tracking_uri(state) == embedded(state) else None
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException:
            found = client.get_experiment_by_name(name)  # somebody else made it in between, or we did unheard
            if found is None:
                raise
    return str(found.experiment_id)


def _existing(run_id: str | None) -> str | None:
    """A run that is there and not deleted."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    if run_id is None:
        return None
    try:
        stage = MlflowClient().get_run(run_id).info.lifecycle_stage
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    return run_id if stage == "active" else None


def _unfinished(experiment_id: str, run_key: str) -> str | None:
    """The run of an earlier try at the same work, which was killed or failed."""
    return _first(experiment_id, f"tags.{RUN_KEY_TAG} = '{run_key}' and status != 'FINISHED'")


def _first(experiment_id: str, query: str) -> str | None:
    from mlflow import MlflowClient

    runs = MlflowClient().search_runs([experiment_id], query, max_results=1)
    return str(runs[0].info.run_id) if runs else None
