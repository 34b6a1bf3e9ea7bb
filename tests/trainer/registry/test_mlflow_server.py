"""The registry behind a real MLflow server, over HTTP: it checks what the embedded store lets pass."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainer import tracking
from trainer.registry import opened
from trainer.registry.protocol import CHAMPION
from trainer.state import State
from trainer.train import _signature

START_SECONDS = 90


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, mlflow_template: Path) -> Iterator[str]:
    """The address of a server with a store of its own, and artifacts that go through it."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "mlflow.db").write_bytes(mlflow_template.read_bytes())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    store = [f"--backend-store-uri=sqlite:///{folder}/mlflow.db", f"--artifacts-destination={folder}/artifacts"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *arguments, *store],
        env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{address}/health")
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def _wait_for(address: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.3)


def test_a_logged_model_is_registered_and_loads_by_its_alias(
    server: str, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `train` logs, `register` registers and `promote` names, users load; all of it through the server."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
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
