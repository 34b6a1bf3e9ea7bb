"""The database as PostgreSQL's own programs write it down and read it back."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from inception_mlflow.schema import connected, reported
from inception_mlflow.settings import Trouble, without_passwords

COUNTED = ("experiments", "runs", "registered_models", "model_versions", "users")
"""Tables whose rows tell an operator what a backup holds."""
PROXIED = "mlflow-artifacts:/"
_DELETED = "Deleted_Internal"
_LOCKED_SECONDS = 15
_CLEAR = """
DO $$ DECLARE one text; BEGIN
  FOR one IN SELECT tablename FROM pg_tables WHERE schemaname = current_schema() LOOP
    EXECUTE format('DROP TABLE %I CASCADE', one);
  END LOOP;
  FOR one IN SELECT oid::regprocedure FROM pg_proc WHERE pronamespace = current_schema()::regnamespace LOOP
    EXECUTE 'DROP ROUTINE ' || one;
  END LOOP;
END $$;
"""


class Moment(NamedTuple):
    """One state of the database, that several readers see although others write."""

    name: str
    """By which PostgreSQL knows it."""
    rows: dict[str, int]
    models: dict[str, str]
    """Every registered version, as `digits version 3`, and the folder of its files among the artifacts."""


@contextmanager
def moment(store: str) -> Iterator[Moment]:
    """Hold a state of the database until the block is left. Errors: Trouble."""
    with connected(store) as plain, reported(store):
        connection = plain.execution_options(isolation_level="REPEATABLE READ")
        name = connection.exec_driver_sql("SELECT pg_export_snapshot()").scalar_one()
        yield Moment(str(name), _rows(connection), _models(connection))


def dump(store: str, at: Moment, file: Path) -> None:
    """Errors: Trouble."""
    _run(
        store, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--snapshot={at.name}", f"--file={file}"
    )


def check(file: Path) -> None:
    """Errors: Trouble where it is no whole dump."""
    _run(None, "pg_restore", "--file=/dev/null", str(file))


def restore(store: str, file: Path) -> dict[str, int]:
    """Put a dump in the place of all tables, or leave everything as it was. Returns the rows. Errors: Trouble."""
    with tempfile.TemporaryDirectory(prefix="mlflow-") as folder:
        clear, script = Path(folder, "clear.sql"), Path(folder, "restore.sql")
        clear.write_text(_CLEAR)
        _run(None, "pg_restore", "--no-owner", "--no-privileges", f"--file={script}", str(file))
        quiet = ("--no-psqlrc", "--quiet", "--output=/dev/null", "--set=ON_ERROR_STOP=1", "--single-transaction")
        _run(store, "psql", *quiet, f"--file={clear}", f"--file={script}")
    with connected(store) as connection, reported(store):
        return _rows(connection)


def contents(store: str) -> dict[str, int]:
    """The rows of what a team would miss; empty where there is nothing of theirs. Errors: Trouble."""
    with connected(store) as connection, reported(store):
        found = _rows(connection)
    kept = {name: found.get(name, 0) for name in ("runs", "registered_models")}
    return {name: rows for name, rows in kept.items() if rows}


def others(store: str) -> int:
    """How many others are connected. Errors: Trouble."""
    with connected(store) as connection, reported(store):
        query = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return int(connection.exec_driver_sql(query).scalar_one())


def _rows(connection: Any) -> dict[str, int]:
    from sqlalchemy import inspect

    there = set(inspect(connection).get_table_names())
    return {
        name: int(connection.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar_one())
        for name in COUNTED
        if name in there
    }


def _models(connection: Any) -> dict[str, str]:
    query = (
        "SELECT name, version, coalesce(storage_location, source) FROM model_versions "
        f"WHERE current_stage <> '{_DELETED}' ORDER BY name, version"
    )
    return {
        f"{name} version {version}": location.removeprefix(PROXIED)
        for name, version, location in connection.exec_driver_sql(query)
        if location and location.startswith(PROXIED)
    }


def _run(store: str | None, program: str, *words: str) -> None:
    """One of PostgreSQL's programs. The password goes by the environment, which other users cannot read."""
    found = shutil.which(program)
    if found is None:
        raise Trouble(f"The program {program} is not installed.", "Install PostgreSQL's client (postgresql-client).")
    environment = {**os.environ, "PGOPTIONS": f"-c lock_timeout={_LOCKED_SECONDS}s -c client_min_messages=warning"}
    where: tuple[str, ...] = ()
    if store is not None:
        from sqlalchemy.engine import make_url

        url = make_url(store)
        environment |= {"PGPASSWORD": url.password or "", "PGCONNECT_TIMEOUT": "10"}
        plain = url.set(drivername="postgresql", password=None).render_as_string(hide_password=False)
        where = (f"--dbname={plain}",)
    done = subprocess.run([found, *where, *words], env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr.strip() or f"status {done.returncode}").splitlines()
        raise Trouble(
            f"{program} failed: {without_passwords(' '.join(said[-2:]))}",
            "A program that is older than the server cannot be used with it; for anything else see the database's log.",
        )
