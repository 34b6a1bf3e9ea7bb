"""How a run's model gets into MLflow, once, past a store that fails in the middle.

MLflow's own `log_model` makes the entry, saves, uploads and closes in one call, which cannot be repeated without a
second entry. So each of these is done here by itself: the entry is found where an earlier try made it, the files are
saved once and uploaded one by one, and an entry is READY only when all of them are there.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.patience import patiently
from trainer.tracking.context import resolved_tags

if TYPE_CHECKING:
    import keras
    from mlflow.models import ModelSignature

    from trainer.tracking.run import Run

NAME = "model"
RUN_KEY_TAG = "run_key"
READY = "READY"


def log(
    run: Run,
    model: keras.Model,
    signature: ModelSignature,
    input_example: Any,
    requirements: Sequence[str],
    metadata: Mapping[str, Any],
) -> str:
    """Log a Keras model to a run. Returns its `models:/m-…` address.

    Errors: MlflowException (refused), OutOfReach.
    """
    import mlflow
    from mlflow.models import Model

    client = mlflow.MlflowClient()
    entry = patiently(run.address, lambda: _entry(run, client))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / NAME
        mlflow.tensorflow.save_model(
            model,
            path=str(folder),
            mlflow_model=Model(
                artifact_path=entry.artifact_location,
                run_id=run.run_id,
                model_id=entry.model_id,
                model_uuid=entry.model_id,
                metadata=dict(metadata),
            ),
            signature=signature,
            input_example=input_example,
            pip_requirements=list(requirements),
        )
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            beneath = file.parent.relative_to(folder).as_posix()
            under = None if beneath == "." else beneath
            patiently(run.address, partial(client.log_model_artifact, entry.model_id, str(file), under))
    patiently(run.address, lambda: _put_out(client, run.run_id, entry.model_id))
    patiently(run.address, lambda: client.finalize_logged_model(entry.model_id, READY))
    return str(entry.model_uri)


def _entry(run: Run, client: Any) -> Any:
    """The entry of a try that did not come to its end, this one's or that of a training that was killed, or a new one.

    One that is READY belongs to whoever has its address.
    """
    for found in client.search_logged_models(
        [run.experiment_id], f"source_run_id = '{run.run_id}' AND tags.{RUN_KEY_TAG} = '{run.run_key}'"
    ):
        if str(found.status) != READY:
            return found
    return client.create_logged_model(
        run.experiment_id,
        name=NAME,
        source_run_id=run.run_id,
        tags=resolved_tags({RUN_KEY_TAG: run.run_key}),
        params=client.get_run(run.run_id).data.params,
    )


def _put_out(client: Any, run_id: str, model_id: str) -> None:
    """Name the model among the run's outputs; the store refuses to have it there twice."""
    from mlflow.entities import LoggedModelOutput

    outputs = client.get_run(run_id).outputs
    if all(one.model_id != model_id for one in (outputs.model_outputs if outputs else [])):
        client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])
