"""The registry behind a real MLflow server on PostgreSQL: it checks what the embedded store lets pass."""

from __future__ import annotations

import pytest

from trainer import tracking
from trainer.registry import opened
from trainer.registry.protocol import CHAMPION
from trainer.state import State
from trainer.train import _signature


def test_a_logged_model_is_registered_and_loads_by_its_alias(
    mlflow_server: str, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `train` logs, `register` registers and `promote` names, users load; all of it through the server."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    import keras
    import mlflow
    import numpy as np

    images = keras.Input((None, None, 3), dtype="uint8")
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(images))
    model = keras.Model(images, keras.layers.Dense(2, activation="softmax")(pooled))
    with tracking.open_run(state, "remote", "key", "name") as run:
        uri = run.log_model(model, _signature(2), np.zeros((1, 8, 8, 3), np.uint8), ["keras"], {"classes": ["a", "b"]})

    registry, _ = opened(state, "remote")
    made = registry.create_version("remote", uri, run.run_id, {"run_key": "key"})
    registry.set_alias("remote", CHAMPION, made.version)
    assert registry.find_by_run_key("remote", "key") == registry.get("remote", made.version)
    assert made.model_uri == uri
    loaded = mlflow.pyfunc.load_model(f"models:/remote@{CHAMPION}")
    assert np.asarray(loaded.predict(np.zeros((3, 5, 7, 3), np.uint8))).shape == (3, 2)
    assert not state.mlflow_database.exists()
