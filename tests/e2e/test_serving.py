"""A registered model behind MLflow's own server, asked over HTTP."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trainer.predict import predict
from trainer.prediction.naming import find
from trainer.state import State


@pytest.fixture
def address(colours: State, tmp_path: Path) -> Iterator[str]:
    """Of a server that was started as a user would start it; it ends with the test."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/colours@champion"]
    # The server finds uvicorn by the PATH.
    found = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{colours.mlflow_database}"}
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [*command, "--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)],
            env=os.environ | found | store,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _await(f"http://127.0.0.1:{port}/ping", server, tmp_path / "log")
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(30)


def _await(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        if server.poll() is not None:
            break
        try:
            urllib.request.urlopen(url).close()
            return
        except urllib.error.URLError:
            time.sleep(0.2)
    pytest.fail(f"the server did not come up:\n{log.read_text()}")


def _ask(address: str, content: Any) -> Any:
    request = urllib.request.Request(
        f"{address}/invocations", json.dumps(content).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


@pytest.mark.slow
def test_mlflow_serves_what_is_registered(address: str, colours: State, tmp_path: Path) -> None:
    """It answers images in JSON with the probabilities that `inception predict` names, and refuses what is none."""
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path, colour in zip(paths, [(200, 30, 10), (10, 90, 30), (0, 20, 99)], strict=True):
        Image.new("RGB", (12, 9), colour).save(path)
    images = [np.asarray(Image.open(path)).tolist() for path in paths]
    served = np.array(_ask(address, {"inputs": images})["predictions"])
    classes = ["cat", "dog", "cow"]
    own = list(predict(colours, "colours", "1", find([str(path) for path in paths]), 3).answers)
    assert [classes[index] for index in served.argmax(axis=1)] == [answer.guesses[0].name for answer in own]
    for row, answer in zip(served, own, strict=True):
        assert {guess.name: guess.probability for guess in answer.guesses} == pytest.approx(
            dict(zip(classes, row, strict=True)), abs=2e-6
        )
    with pytest.raises(urllib.error.HTTPError) as refused:
        _ask(address, {"inputs": [["not", "pixels"]]})
    assert refused.value.code == 400
