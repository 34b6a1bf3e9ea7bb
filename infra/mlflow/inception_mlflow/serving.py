"""The server: MLflow with sign-in on, its store in PostgreSQL, artifacts that go through it."""

from __future__ import annotations

import os
import sys
import tempfile
from configparser import ConfigParser
from pathlib import Path
from typing import NoReturn

from inception_mlflow import schema, settings

HOSTS = "MLFLOW_SERVER_ALLOWED_HOSTS"
ADMIN, PASSWORD = "MLFLOW_AUTH_ADMIN_USERNAME", "MLFLOW_AUTH_ADMIN_PASSWORD"
SECRET_KEY = "MLFLOW_FLASK_SERVER_SECRET_KEY"
CONFIGURATION = "MLFLOW_AUTH_CONFIG_PATH"
TEMPLATE = Path(__file__).with_name("basic_auth.ini")
SETTLED = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # nothing here uses its jobs, and they keep files of their own
}
GRACE_SECONDS = 45
"""For how long requests under way may go on after the server was told to stop."""


def serve() -> NoReturn:
    """Become the server. Errors: Trouble (something is not set, or the database is not migrated)."""
    store, artifacts, port = settings.store(), settings.artifacts(), settings.port()
    settings.required(ADMIN, "Give the name of the administrator, from a secret; there is no default.")
    settings.required(PASSWORD, "Give the administrator's password (12 characters or more), from a secret.")
    settings.required(SECRET_KEY, "Give a long random text, from a secret, the same one to every replica.")
    hosts = settings.required(
        HOSTS, f"Name the addresses clients use, with the port, such as mlflow.example.com,mlflow:{port}."
    )
    schema.expect_current(store)
    os.environ.update(SETTLED)
    os.environ[HOSTS] = ",".join([*filter(None, map(str.strip, hosts.split(","))), *own_hosts(port)])
    os.environ[CONFIGURATION] = str(configuration(store))
    os.environ.setdefault("MLFLOW_HOST", "0.0.0.0")
    os.environ.setdefault("MLFLOW_WORKERS", "2")
    os.environ.setdefault("MLFLOW_UVICORN_OPTS", f"--timeout-graceful-shutdown {GRACE_SECONDS}")
    words = ["server", "--app-name", "basic-auth", "--serve-artifacts", "--artifacts-destination", artifacts]
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", *words, "--port", str(port)])


def own_hosts(port: int) -> tuple[str, str]:
    """Under which the server is asked from within its own container."""
    return f"127.0.0.1:{port}", f"localhost:{port}"


def configuration(store: str) -> Path:
    """The file for MLflow's authentication, which takes the address of the database from nowhere else."""
    config = ConfigParser()
    config.read(TEMPLATE)
    config["mlflow"]["database_uri"] = store.replace("%", "%%")  # MLflow reads it with interpolation
    path = Path(tempfile.mkdtemp(prefix="mlflow-"), TEMPLATE.name)  # a folder that only this user may read
    with path.open("w") as file:
        config.write(file)
    return path
