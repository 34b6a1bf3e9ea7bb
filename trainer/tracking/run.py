"""An open MLflow run, and what a training puts into it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from trainer.metric_stream import MetricStream
from trainer.patience import patiently
from trainer.tracking import logged_model

if TYPE_CHECKING:
    import keras
    from mlflow.models import ModelSignature

T = TypeVar("T")

FIGURES_TAG = "figures_of"
"""The run key whose training logged the figures that a run has."""
_PARAM_VALUE_LIMIT = 500


@dataclass(frozen=True)
class Run:
    """An open MLflow run."""

    address: str
    """Of the store."""
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

        def log() -> None:
            known = mlflow.MlflowClient().get_run(self.run_id).data.params
            flat = {key: str(value)[:_PARAM_VALUE_LIMIT] for key, value in flatten(params).items() if key not in known}
            mlflow.log_params(flat, run_id=self.run_id)

        self._ask(log)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        import mlflow

        now = _milliseconds()  # a figure that comes twice with one time is one figure
        self._ask(lambda: mlflow.log_metrics(dict(metrics), step=step, run_id=self.run_id, timestamp=now))

    def stream(self) -> MetricStream:
        """A way for figures that come while the training goes on; a context manager.

        A training that is taken up again logs no step of a figure twice.
        """
        import mlflow

        client = mlflow.MlflowClient()
        data = self._ask(lambda: client.get_run(self.run_id)).data
        taken_up = data.tags.get(FIGURES_TAG) == self.run_key
        seen = {one.key: one.step for one in data.to_proto().metrics} if taken_up else {}
        if not taken_up:
            self.set_tags({FIGURES_TAG: self.run_key})
        return MetricStream(client, self.run_id, seen)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        import mlflow

        client = mlflow.MlflowClient()
        for key, value in tags.items():
            self._ask(partial(client.set_tag, self.run_id, key, value))

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
        return logged_model.log(self, model, signature, input_example, requirements, metadata)

    def _ask(self, deed: Callable[[], T]) -> T:
        return patiently(self.address, deed)


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"train": {"epochs": 3}}` as `{"train.epochs": 3}`."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _milliseconds() -> int:
    return int(time.time() * 1000)
