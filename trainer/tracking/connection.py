"""Which MLflow store is in use, and how it is asked."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from filelock import FileLock

from trainer.errors import RegistryError, has_credentials, without_credentials
from trainer.patience import patiently
from trainer.state import State, reported

T = TypeVar("T")

VARIABLE = "MLFLOW_TRACKING_URI"
USER, PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
SERVER_REMEDY = "See that the server answers and that MLFLOW_TRACKING_URI names it."


def tracking_uri(state: State) -> str:
    """Address of the MLflow store in use."""
    return _shown(os.environ.get(VARIABLE, "")) or embedded(state)


def _shown(address: str) -> str:
    """A server's address as it may be shown. User and password in it go where MLflow looks for them too.

    MLflow prints addresses of runs, and keeps them, just as they were given.
    """
    if not address.startswith(("http://", "https://")) or not has_credentials(address):
        return address
    parts = urlsplit(address)
    for variable, value in {USER: parts.username, PASSWORD: parts.password}.items():
        os.environ.setdefault(variable, unquote(value or ""))
    os.environ[VARIABLE] = without_credentials(address)
    return os.environ[VARIABLE]


def embedded(state: State) -> str:
    """Address of the store in the state folder."""
    return f"sqlite:///{state.mlflow_database}"


def prepared_uri(state: State) -> str:
    """Address of the store in use, made where it is the embedded one and not there yet. Errors: StateError."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    uri = tracking_uri(state)
    if uri == embedded(state):
        _make_store(state)
    return uri


def connect(state: State) -> str:
    """Point MLflow at the store in use; every verb that talks to MLflow calls this first. Returns the address."""
    uri = prepared_uri(state)
    import mlflow

    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    return uri


def asked(state: State, deed: Callable[[], T], problem: str, remedy: str = SERVER_REMEDY) -> T:
    """Do something at the store in use, patiently.

    Args:
        state: the state folder.
        deed: repeated whole where it fails for a passing reason, so it must not mind what an earlier try has done.
        problem: what was refused, for the error's message.
        remedy: what to do where it is refused for good.

    Errors: RegistryError (OutOfReach where the store is down for longer than the patience).
    """
    with answering(problem, remedy):
        return patiently(tracking_uri(state), deed)


@contextmanager
def answering(problem: str, remedy: str) -> Iterator[None]:
    """Turn MLflow's own errors into a RegistryError."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise RegistryError(f"{problem}: {error}.", remedy) from error


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
