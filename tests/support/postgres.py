"""A PostgreSQL cluster of the tests' own, from the programs that are installed; it goes with its temporary folder."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

INSTALLED = Path("/usr/lib/postgresql")
USER = "mlflow"
UNPRIVILEGED = ("postgres", "nobody")
"""Who runs it where the tests run as root, which PostgreSQL refuses."""
QUICK = "-c listen_addresses='' -c fsync=off -c full_page_writes=off -c synchronous_commit=off -c shared_buffers=16MB"


def programs() -> Path | None:
    """The folder with `initdb` and `pg_ctl`: Debian keeps most of them out of PATH. None where there is none."""
    versions = sorted(INSTALLED.glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)
    found = shutil.which("pg_ctl")
    for folder in [*versions, *([Path(found).resolve().parent] if found else [])]:
        if (folder / "initdb").exists() and (folder / "pg_ctl").exists():
            return folder
    return None


def missing() -> str | None:
    """Why there can be no cluster here; None where there can."""
    if programs() is None:
        return "PostgreSQL is not installed (apt-get install postgresql)"
    if os.geteuid() == 0 and _owner() is None:
        return f"PostgreSQL does not run as root, and none of the users {', '.join(UNPRIVILEGED)} is there"
    try:
        import psycopg2  # noqa: F401
    except ImportError:
        return "psycopg2 is not installed"
    return None


@contextmanager
def cluster() -> Iterator[str]:
    """A running cluster with an empty database. Yields its address as SQLAlchemy wants it.

    It listens on a socket in its own folder only, so it needs no free port; and the folder's path is short, because a
    socket's may have no more than 107 bytes.
    """
    found = programs()
    assert found is not None
    owner = _owner() if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    if owner is not None:
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    data = folder / "data"

    def run(*words: str) -> None:
        done = subprocess.run(
            words,
            cwd=folder,
            user=owner.pw_uid if owner else None,
            group=owner.pw_gid if owner else None,
            stdin=subprocess.DEVNULL,
            stdout=(folder / "log").open("a"),
            stderr=subprocess.STDOUT,
            check=False,
        )
        assert done.returncode == 0, (folder / "log").read_text()

    try:
        run(str(found / "initdb"), "-D", str(data), "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        control = (str(found / "pg_ctl"), "-D", str(data), "-w")
        run(*control, "-l", str(folder / "server.log"), "-o", f"{QUICK} -k {folder}", "start")
        try:
            yield f"postgresql+psycopg2://{USER}@/postgres?host={folder}"
        finally:
            run(*control, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _owner() -> pwd.struct_passwd | None:
    for name in UNPRIVILEGED:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    return None
