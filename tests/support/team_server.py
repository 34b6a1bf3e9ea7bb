"""The MLflow server of a team, run by the very program that its image runs (infra/mlflow), with sign-in on."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

PROGRAM = Path(__file__).resolve().parents[2] / "infra" / "mlflow"
START_SECONDS = 120
ADMINISTRATOR = "root"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Team:
    """A database, a place for artifacts, and the server between them.

    Args:
        store: address of the database.
        artifacts: what only the server can reach.
        folder: for logs.
        programs: the folder of PostgreSQL's programs.
        more: variables of the server that no client has.
    """

    store: str
    artifacts: str
    folder: Path
    programs: Path
    more: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=_free_port)
    password: str = field(default_factory=lambda: secrets.token_hex(12))

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "INCEPTION_"))}
        return {
            **kept,
            "PATH": f"{self.programs}:{kept['PATH']}",
            "PYTHONPATH": str(PROGRAM),
            "MLFLOW_BACKEND_STORE_URI": self.store,
            "MLFLOW_ARTIFACTS_DESTINATION": self.artifacts,
            "MLFLOW_SERVER_ALLOWED_HOSTS": "mlflow.example.com",
            "MLFLOW_AUTH_ADMIN_USERNAME": ADMINISTRATOR,
            "MLFLOW_AUTH_ADMIN_PASSWORD": self.password,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "of the tests",
            "MLFLOW_PORT": str(self.port),
            "MLFLOW_WORKERS": "1",
            **self.more,
            **more,
        }

    def call(self, *words: str, told: str | None = None, **more: str) -> subprocess.CompletedProcess[str]:
        """One of the program's commands, as an operator would give it."""
        return subprocess.run(
            [sys.executable, "-m", "inception_mlflow", *words],
            env=self.environment(**more),
            input=told,
            capture_output=True,
            text=True,
            check=False,
        )

    def done(self, *words: str, told: str | None = None, **more: str) -> str:
        """What a command that must succeed says."""
        called = self.call(*words, told=told, **more)
        assert called.returncode == 0, called.stdout + called.stderr
        return called.stdout

    @contextmanager
    def serving(self) -> Iterator[None]:
        log = self.folder / "server.log"
        with log.open("a") as out:
            server = subprocess.Popen(
                [sys.executable, "-m", "inception_mlflow", "serve"],
                env=self.environment(),
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            deadline = time.monotonic() + START_SECONDS
            while self.call("ready").returncode != 0:
                ended = server.poll() is not None or time.monotonic() > deadline
                assert not ended, f"the server did not start:\n{log.read_text()[-3000:]}"
                time.sleep(0.2)
            yield
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(60)
