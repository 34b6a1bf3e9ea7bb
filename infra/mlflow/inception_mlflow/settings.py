"""What the environment says, and what is said where it says nothing. No secret is in a command line or a message."""

from __future__ import annotations

import os
import re

import click

STORE = "MLFLOW_BACKEND_STORE_URI"
ARTIFACTS = "MLFLOW_ARTIFACTS_DESTINATION"
LEDGERS = "INCEPTION_LEDGERS"
PORT = "MLFLOW_PORT"
DEFAULT_PORT = 5000

_PASSWORD = re.compile(r"(?<=://)[^/\s]+@")


class Trouble(click.ClickException):
    """What was wrong, and what to do; the command ends with status 1."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(f"{without_passwords(message)}\n{remedy}")


def without_passwords(text: str) -> str:
    """`postgresql://user:password@host` as `postgresql://…@host`."""
    return _PASSWORD.sub("…@", text)


def required(name: str, remedy: str) -> str:
    """A variable that must be there. Errors: Trouble."""
    value = os.environ.get(name, "")
    if not value.strip():
        raise Trouble(f"{name} is not set.", remedy)
    return value


def store() -> str:
    """Address of the database. Errors: Trouble."""
    uri = required(STORE, "Set it to postgresql+psycopg2://USER:PASSWORD@HOST:5432/DATABASE, from a secret.")
    if not uri.startswith("postgresql"):
        raise Trouble(
            f"{STORE} names a database of the kind {uri.partition(':')[0]!r}.",
            "The server of a team keeps its store in PostgreSQL: postgresql+psycopg2://USER:PASSWORD@HOST:5432/DATABASE.",
        )
    return uri


def artifacts() -> str:
    """Where the artifacts lie that clients get through the server. Errors: Trouble."""
    address = required(ARTIFACTS, "Set it to gs://BUCKET/FOLDER, or to a folder that the server may write to.")
    if address.startswith("gs://") and not address.removeprefix("gs://").partition("/")[2].strip("/"):
        raise Trouble(
            f"{ARTIFACTS} is {address!r}, the root of a bucket, where MLflow finds no artifacts again.",
            f"Name a folder in it: {address.rstrip('/')}/mlflow",
        )
    return address


def port() -> int:
    """Errors: Trouble."""
    text = os.environ.get(PORT, str(DEFAULT_PORT))
    if text.startswith("tcp://"):
        return DEFAULT_PORT  # Kubernetes says so of a service that is called mlflow
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise Trouble(f"{PORT} is {text!r}.", f"Give the number of a port, such as {DEFAULT_PORT}.")
    return int(text)
