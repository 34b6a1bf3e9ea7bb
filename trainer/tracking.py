"""The only file that opens an MLflow run.

Where `MLFLOW_TRACKING_URI` names a server, that server is used; else SQLite and files in the state folder. Where
`MLFLOW_RUN_ID` hands a run over (Kubeflow's own MLflow integration does), the training joins it and leaves its end to
whoever opened it; else a run of its own is opened, and a killed training finds it again by its run key.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from trainer import system_metrics as machine
from trainer.errors import RegistryError
from trainer.metric_stream import MetricStream
from trainer.state import State, reported

if TYPE_CHECKING:
    import keras
    from mlflow.models import ModelSignature

RUN_KEY_TAG = "run_key"
FIGURES_TAG = "figures_of"
"""The run key whose training logged the figures that a run has."""
_PARAM_VALUE_LIMIT = 500
_SERVER_REMEDY = "See that the server answers and that MLFLOW_TRACKING_URI names it."
_GOES_ON = "Run again: the training goes on from its last checkpoint."


def tracking_uri(state: State) -> str:
    """Address of the MLflow store in use."""
    return os.environ.get("MLFLOW_TRACKING_URI") or _embedded(state)


def _embedded(state: State) -> str:
    return f"sqlite:///{state.mlflow_database}"


def connect(state: State) -> str:
    """Point MLflow at the store in use; every verb that talks to MLflow calls this first. Returns the address."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow

    uri = tracking_uri(state)
    if uri == _embedded(state):
        _make_store(state)
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    return uri


def _make_store(state: State) -> None:
    """Make the embedded database, whole or not at all.

    MLflow makes it by some forty migrations, and cannot go on with one that was killed among them or that two
    processes began at once. So one process makes it, beside its place, and moves it there.
    """
    database = state.mlflow_database
    if database.exists():
        return
    from mlflow.tracking import MlflowClient

    with reported(database), FileLock(database.with_name(".mlflow.lock")):
        if database.exists():
            return
        for leftover in database.parent.glob(".mlflow.db.new*"):
            leftover.unlink()
        beside = database.with_name(".mlflow.db.new")
        for chatty in ("alembic", "mlflow.store.db.utils"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
        MlflowClient(tracking_uri=f"sqlite:///{beside}").search_experiments()
        os.replace(beside, database)


@dataclass(frozen=True)
class Run:
    """An open MLflow run."""

    run_id: str
    experiment_id: str
    run_key: str
    joined: bool
    """True where the environment handed the run over."""

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Parameters, nested tables flattened with dots.

        A resumed run keeps the ones it has: MLflow lets none change, and threads or precision may be others this time.
        """
        import mlflow

        known = mlflow.MlflowClient().get_run(self.run_id).data.params
        flat = {key: str(value)[:_PARAM_VALUE_LIMIT] for key, value in flatten(params).items() if key not in known}
        mlflow.log_params(flat, run_id=self.run_id)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        import mlflow

        mlflow.log_metrics(dict(metrics), step=step, run_id=self.run_id)

    def stream(self) -> MetricStream:
        """A way for figures that come while the training goes on; a context manager.

        A training that is taken up again logs no step of a figure twice.
        """
        import mlflow

        client = mlflow.MlflowClient()
        data = client.get_run(self.run_id).data
        taken_up = data.tags.get(FIGURES_TAG) == self.run_key
        seen = {one.key: one.step for one in data.to_proto().metrics} if taken_up else {}
        if not taken_up:
            client.set_tag(self.run_id, FIGURES_TAG, self.run_key)
        return MetricStream(client, self.run_id, seen)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        import mlflow

        client = mlflow.MlflowClient()
        for key, value in tags.items():
            client.set_tag(self.run_id, key, value)

    def log_model(
        self,
        model: keras.Model,
        signature: ModelSignature,
        input_example: Any,
        requirements: Sequence[str],
        metadata: Mapping[str, Any],
    ) -> str:
        """Log a Keras model that loads with plain `mlflow.pyfunc.load_model`. Returns its `models:/m-…` address.

        The requirements are given because inferring them would import everything again, for 10 to 25 seconds.
        """
        import mlflow

        info = mlflow.tensorflow.log_model(
            model,
            name="model",
            signature=signature,
            input_example=input_example,
            pip_requirements=list(requirements),
            metadata=dict(metadata),
        )
        return str(info.model_uri)


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
    connect(state)
    import mlflow

    handed_over = os.environ.get("MLFLOW_RUN_ID")
    address = tracking_uri(state)
    with _answering(f"The MLflow store at {address} refused to open a run", _SERVER_REMEDY):
        if handed_over:
            active = mlflow.start_run(run_id=handed_over, log_system_metrics=False)
        else:
            experiment_id = _experiment(state, experiment)
            active = mlflow.start_run(
                run_id=_existing(run_id) or _unfinished(experiment_id, run_key),
                experiment_id=experiment_id,
                run_name=name,
                tags={RUN_KEY_TAG: run_key},
                log_system_metrics=False,
            )
    run = Run(active.info.run_id, active.info.experiment_id, run_key, joined=bool(handed_over))
    with _ending(run, address), machine.watched(run.run_id) if system_metrics else nullcontext():
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
    connect(state)
    import mlflow

    address = tracking_uri(state)
    with _answering(f"The MLflow store at {address} refused to open a run", _SERVER_REMEDY):
        active = mlflow.start_run(
            run_id=_existing(run_id),
            experiment_id=mlflow.MlflowClient().get_run(parent).info.experiment_id,
            run_name=name,
            parent_run_id=parent,
            log_system_metrics=False,
        )
    run = Run(active.info.run_id, active.info.experiment_id, f"{parent}/{name}", joined=False)
    with _ending(run, address):
        yield run


@contextmanager
def _ending(run: Run, address: str) -> Iterator[None]:
    """End a run as the block ends."""
    import mlflow

    with _answering(f"The MLflow store at {address} refused to log the training", f"{_SERVER_REMEDY} {_GOES_ON}"):
        try:
            yield
        except BaseException as error:
            # Where the store is out of reach, the run stays as it is rather than hide what happened.
            with suppress(mlflow.MlflowException):
                _end(run, "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise
        _end(run, "FINISHED")


def _end(run: Run, status: str) -> None:
    import mlflow

    mlflow.end_run("RUNNING" if run.joined else status)


@contextmanager
def _answering(problem: str, remedy: str) -> Iterator[None]:
    """Turn MLflow's own errors into a RegistryError."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise RegistryError(f"{problem}: {error}.", remedy) from error


def log_files(state: State, run_id: str, paths: Sequence[Path], folder: str) -> None:
    """Put files among a run's artifacts, under `folder`. Errors: RegistryError."""
    connect(state)
    import mlflow
    from mlflow.exceptions import MlflowException

    client = mlflow.MlflowClient()
    try:
        for path in paths:
            client.log_artifact(run_id, str(path), folder)
    except (MlflowException, OSError) as error:
        raise RegistryError(
            f"The files of run {run_id} could not be logged to {tracking_uri(state)}: {error}.",
            "See that the artifact store can be written; the files are still in the run record.",
        ) from error


def log_card(state: State, run_id: str, paths: Sequence[Path]) -> None:
    """Put a run card's files among a run's artifacts. Errors: RegistryError."""
    log_files(state, run_id, paths, "card")


def log_metrics(state: State, run_id: str, metrics: Mapping[str, float]) -> None:
    """Add figures to a run that has ended. Errors: RegistryError."""
    connect(state)
    import mlflow

    with _answering(f"The MLflow store at {tracking_uri(state)} refused figures of run {run_id}", _SERVER_REMEDY):
        mlflow.log_metrics(dict(metrics), run_id=run_id)


def download(state: State, model_uri: str, destination: Path) -> Path:
    """Fetch a logged model's files. Returns their folder. Errors: RegistryError."""
    connect(state)
    import mlflow
    from mlflow.exceptions import MlflowException

    destination.mkdir(parents=True, exist_ok=True)
    try:
        return Path(mlflow.artifacts.download_artifacts(artifact_uri=model_uri, dst_path=str(destination)))
    except (MlflowException, OSError) as error:
        raise RegistryError(
            f"The model {model_uri} cannot be fetched from {tracking_uri(state)}: {error}.",
            "See that its artifacts were not deleted.",
        ) from error


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"train": {"epochs": 3}}` as `{"train.epochs": 3}`."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _experiment(state: State, name: str) -> str:
    import mlflow
    from mlflow.exceptions import MlflowException

    client = mlflow.MlflowClient()
    found = client.get_experiment_by_name(name)
    if found is None:
        # A server decides for itself where artifacts lie; the embedded store would put them into the working folder.
        # That the variable is set says nothing: MLflow sets it itself, for its child processes.
        location = state.artifacts.as_uri() if tracking_uri(state) == _embedded(state) else None
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException:
            found = client.get_experiment_by_name(name)  # somebody else made it in between
            if found is None:
                raise
    return str(found.experiment_id)


def _existing(run_id: str | None) -> str | None:
    """A run that is there and not deleted."""
    import mlflow

    if run_id is None:
        return None
    try:
        stage = mlflow.MlflowClient().get_run(run_id).info.lifecycle_stage
    except mlflow.MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    return run_id if stage == "active" else None


def _unfinished(experiment_id: str, run_key: str) -> str | None:
    """The run of an earlier try at the same work, which was killed or failed."""
    import mlflow

    runs = mlflow.MlflowClient().search_runs(
        [experiment_id], f"tags.{RUN_KEY_TAG} = '{run_key}' and status != 'FINISHED'", max_results=1
    )
    return str(runs[0].info.run_id) if runs else None
