"""The tables of the database: MLflow's own, and those of its users, each with a history of migrations.

Both lie in one database, so that one dump holds a consistent state of both.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from inception_mlflow.settings import Trouble, without_passwords

PATIENCE_SECONDS = 60.0
_LOCK = 0x696E6365


class History(NamedTuple):
    """Of one part of the tables."""

    of: str
    table: str
    """Where the database keeps the revision it is at."""
    folder: str
    """Of the migrations, in MLflow's package."""


HISTORIES = (
    History("experiments and models", "alembic_version", "store/db_migrations"),
    History("users", "alembic_version_auth", "server/auth/db/migrations"),
)


def migrate(store: str) -> None:
    """Make the tables, or bring them up to this MLflow. Two at once do it one after the other. Errors: Trouble."""
    with connected(store, PATIENCE_SECONDS) as connection:
        connection.exec_driver_sql(f"SELECT pg_advisory_lock({_LOCK})")
        from mlflow import db
        from mlflow.server.auth.db import cli as users

        with reported(store):
            db.upgrade.callback(store)
            users.upgrade.callback(store, "head")


def expect_current(store: str) -> None:
    """Errors: Trouble where the tables are not those of the MLflow that is installed."""
    is_at, belongs_at = revisions(store), heads()
    for history in HISTORIES:
        found, wanted = is_at[history.of], belongs_at[history.of]
        if found != wanted:
            raise Trouble(
                f"The tables for {history.of} are {f'at revision {found}' if found else 'not there'}; "
                f"this MLflow needs revision {wanted}.",
                "Make a backup, then run: inception-mlflow migrate. (If a newer MLflow has migrated them, use "
                "that one: nothing leads back but a backup.)",
            )


def revisions(store: str) -> dict[str, str | None]:
    """Where each history is at, None where it has not begun. Errors: Trouble."""
    from alembic.migration import MigrationContext

    with connected(store) as connection:
        return {
            history.of: MigrationContext.configure(
                connection, opts={"version_table": history.table}
            ).get_current_revision()
            for history in HISTORIES
        }


def heads() -> dict[str, str | None]:
    """Where each history ends in the MLflow that is installed."""
    return {history.of: _script(history).get_current_head() for history in HISTORIES}


def unknown(revisions: Mapping[str, str | None]) -> str:
    """The revisions that the MLflow that is installed has never heard of, in words; empty where there are none."""
    known = {history.of: {step.revision for step in _script(history).walk_revisions()} for history in HISTORIES}
    return ", ".join(revision for of, revision in revisions.items() if revision and revision not in known.get(of, ()))


def _script(history: History) -> Any:
    from alembic.script import ScriptDirectory

    found = importlib.util.find_spec("mlflow")
    assert found is not None
    assert found.origin is not None
    return ScriptDirectory(str(Path(found.origin).parent / history.folder))


@contextmanager
def connected(store: str, patience: float = 0.0) -> Iterator[Any]:
    """A connection to the database, waited for. Errors: Trouble."""
    from sqlalchemy import create_engine
    from sqlalchemy.exc import OperationalError
    from sqlalchemy.pool import NullPool

    deadline = time.monotonic() + patience
    with reported(store):
        engine = create_engine(store, poolclass=NullPool, connect_args={"connect_timeout": 10})
        while True:
            try:
                connection = engine.connect()
                break
            except OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1.0)
        with connection:
            yield connection


@contextmanager
def reported(store: str) -> Iterator[None]:
    """Turn what the database refuses into a Trouble."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        raise Trouble(
            f"The database {without_passwords(store)} refused: {reason}",
            "See that it runs, that MLFLOW_BACKEND_STORE_URI names it, and that user and password are right.",
        ) from error
