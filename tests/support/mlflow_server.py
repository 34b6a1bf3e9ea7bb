"""A real MLflow server, started from the installed package as an operator would start it."""

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
from contextlib import contextmanager
from pathlib import Path

START_SECONDS = 90


@contextmanager
def serving(store: str, folder: Path, host: str = "127.0.0.1") -> Iterator[str]:
    """A server on a free port, with artifacts that go through it. Yields its address.

    Args:
        store: address of its database.
        folder: for its artifacts and its log.
        host: address to listen on; it answers at 127.0.0.1 in any case.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    where = ["--host", host, "--port", str(port), "--workers", "1"]
    keeping = [f"--backend-store-uri={store}", f"--artifacts-destination={folder}/artifacts"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *where, *keeping],
            env=environment | quiet,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        address = f"http://127.0.0.1:{port}"
        try:
            _wait_for(f"{address}/health", process, folder / "server.log")
            yield address
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            ended = process.poll() is not None or time.monotonic() > deadline
            assert not ended, f"the server did not start:\n{log.read_text()[-3000:]}"
            time.sleep(0.1)
