"""A team's MLflow server for real: PostgreSQL, sign-in, artifacts in a bucket that the server alone reaches.

The whole loop goes against it by an ordinary user; others are refused; a backup is put back where there is nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
import sqlalchemy

from trainer.lookup import lookup
from trainer.refusals import NotAllowed
from trainer.registry.mlflow import MlflowRegistry

ROOT = Path(__file__).resolve().parents[2]
COMMAND = str(Path(sys.executable).with_name("inception"))
QUICK = ["--set", "train.epochs=2", "--set", "data.limit=160", "--set", "gate.threshold=0.05"]
PASSWORDS = {name: f"the password of {name}" for name in ("anna", "bob", "carla")}

pytestmark = pytest.mark.slow


def signed_in(address: str, user: str | None, password: str | None = None) -> dict[str, str]:
    """The variables of a client: an address, and who asks. Nothing about where artifacts lie."""
    who = {"MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password or PASSWORDS[user]} if user else {}
    return {"MLFLOW_TRACKING_URI": address, "INCEPTION_PATIENCE": "10", **who}


@dataclass
class Installed:
    """A server that serves, its bucket, and a backup that was made while it served."""

    team: Any
    bucket: Any
    ledgers: Path
    state: Path
    backup: str = ""
    run: subprocess.CompletedProcess[str] = field(default_factory=lambda: subprocess.CompletedProcess([], 1))

    def inception(self, user: str, *words: str) -> subprocess.CompletedProcess[str]:
        """A command by a user of the server."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "INCEPTION_"))}
        who = {**signed_in(self.team.address, user), "INCEPTION_LEDGERS": str(self.ledgers)}
        state = ["--state", str(self.state / user)]
        return subprocess.run(
            [COMMAND, *words, *state], cwd=ROOT, env=kept | who, capture_output=True, text=True, check=False
        )


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    import postgres

    if why := postgres.missing():
        pytest.skip(why)
    if not (postgres.programs() / "pg_dump").exists() and shutil.which("pg_dump") is None:
        pytest.skip("pg_dump is not installed (apt-get install postgresql-client)")
    with postgres.cluster() as address:
        yield address


@pytest.fixture(scope="module")
def bucket() -> Iterator[Any]:
    """Gives what it holds; its address is with it."""
    import google_storage as google

    storage = google.Storage("models")
    with google.serving(storage):
        yield storage


@pytest.fixture(scope="module")
def installed(database: str, bucket: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """Migrated, serving, three users with and without rights, one training, one backup."""
    import postgres
    import team_server

    folder = tmp_path_factory.mktemp("team")
    team = team_server.Team(
        database,
        "gs://models/mlflow",
        folder,
        postgres.programs(),
        {"STORAGE_EMULATOR_HOST": bucket.address, "INCEPTION_LEDGERS": str(folder / "ledgers")},
    )
    refused = team.call("serve")
    assert "inception-mlflow migrate" in refused.stderr, refused.stderr
    team.done("migrate")
    made = Installed(team, bucket, folder / "ledgers", folder / "states")
    with team.serving():
        for name, password in PASSWORDS.items():
            team.done("users", "add", name, "--password-file", "-", told=password)
        team.done("users", "grant", "anna", "digits", "train")
        team.done("users", "grant", "carla", "digits", "read")
        made.run = made.inception("anna", "run", "configs/digits.toml", *QUICK)
        made.backup = team.done("backup", str(folder / "backups")).splitlines()[0]
        yield made


def test_an_ordinary_user_trains_and_promotes(installed: Installed) -> None:
    """The whole loop, by somebody who administers nothing and whose only way to the artifacts is through the server."""
    assert installed.run.returncode == 0, installed.run.stdout + installed.run.stderr
    assert "PROMOTED  digits version 1" in installed.run.stdout
    held = installed.bucket.names("models")
    assert all(name.startswith("mlflow/") for name in held)
    assert any(name.endswith("/data/model.keras") for name in held)
    assert any(name.endswith("/card/card.html") for name in held)
    assert "anna (administrator)" not in installed.team.done("users", "list")


@pytest.mark.parametrize(
    ("user", "password", "said"),
    [
        ("bob", None, "does not let user 'bob' do this"),
        ("anna", "not her password", "knows no user 'anna' with this password"),
        (None, None, "asks who you are"),
    ],
)
def test_others_are_refused(
    installed: Installed, user: str | None, password: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user without a right, a wrong password, and nobody."""
    for name, value in signed_in(installed.team.address, user, password).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(NotAllowed, match=said):
        lookup("digits@champion")


def test_a_user_without_rights_is_told_so_by_the_command(installed: Installed) -> None:
    """In two sentences, with what to do, and without a traceback."""
    done = installed.inception("bob", "lookup", "digits")
    assert done.returncode == 1
    assert "does not let user 'bob' do this" in done.stdout + done.stderr
    assert "Ask whoever runs the server" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_name_that_the_server_was_not_given_is_refused(installed: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the message says which variable of the server lacks it."""
    other = installed.team.address.replace("127.0.0.1", "127.0.0.2")
    for name, value in signed_in(other, "anna").items():
        monkeypatch.setenv(name, value)
    with pytest.raises(NotAllowed) as refused:
        lookup("digits@champion")
    assert f"adds 127.0.0.2:{installed.team.port} to its MLFLOW_SERVER_ALLOWED_HOSTS" in refused.value.remedy


def test_a_reader_reads_and_changes_nothing(installed: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The right to read opens the champion and its files; moving the alias takes more."""
    for name, value in signed_in(installed.team.address, "carla").items():
        monkeypatch.setenv(name, value)
    found = lookup("digits@champion")
    import mlflow

    mlflow.set_tracking_uri(installed.team.address)
    assert "MLmodel" in str(mlflow.artifacts.list_artifacts(found.load_uri))
    with pytest.raises(NotAllowed):
        MlflowRegistry(installed.team.address).delete_alias("digits", "champion")
    assert lookup("digits@champion").version == found.version


def test_only_health_is_open_to_everybody(installed: Installed) -> None:
    """Artifacts, registry and users are not, not even to be looked at."""
    assert requests.get(f"{installed.team.address}/health", timeout=30).status_code == 200
    for path in ("2.0/mlflow/registered-models/search", "2.0/mlflow-artifacts/artifacts", "2.0/mlflow/users/list"):
        assert requests.get(f"{installed.team.address}/api/{path}", timeout=30).status_code == 401


def test_what_is_changed_about_a_user_holds(installed: Installed) -> None:
    """Made, granted, revoked, removed; a password is never on the command line, and a short one is refused."""
    team = installed.team
    assert "at least 12 characters" in team.call("users", "add", "dora", "--password-file", "-", told="short").stderr
    team.done("users", "add", "dora", "--password-file", "-", told="the password of dora")
    team.done("users", "password", "dora", "--password-file", "-", told="another one of dora's")
    team.done("users", "grant", "dora", "digits", "read")
    team.done("users", "grant", "dora", "digits", "manage")
    assert "MANAGE  registered_model digits" in team.done("users", "list").partition("dora")[2]
    team.done("users", "revoke", "dora", "digits")
    assert "digits" not in team.done("users", "list").partition("dora")[2]
    team.done("users", "remove", "dora")
    assert "dora" not in team.done("users", "list")
    assert "There is no user 'dora'" in team.call("users", "grant", "dora", "digits", "read").stderr


def test_the_user_of_the_steps_is_made_once_and_kept_right(installed: Installed) -> None:
    """A second time brings its password to what the secret says."""
    for password in ("the first password", "the second password"):
        said = installed.team.done("client", INCEPTION_CLIENT_USERNAME="steps", INCEPTION_CLIENT_PASSWORD=password)
        assert "steps may train every model" in said
    listed = installed.team.done("users", "list").partition("steps")[2]
    assert "EDIT    experiment *" in listed
    assert "MANAGE  registered_model *" in listed


def test_a_backup_is_whole_or_says_that_it_is_not(
    installed: Installed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A changed byte, a lost file and a missing manifest are found before anything is put back."""
    import team_server

    assert "is whole" in installed.team.done("verify", installed.backup)
    manifest = json.loads(Path(installed.backup, "manifest.json").read_text())
    assert manifest["rows"]["model_versions"] == 1
    assert [ledger["path"] for ledger in manifest["ledgers"]] == ["digits.json"]
    monkeypatch.syspath_prepend(str(team_server.PROGRAM))
    from inception_mlflow.backup import verify
    from inception_mlflow.settings import Trouble

    copy = tmp_path / "copy"
    shutil.copytree(installed.backup, copy)
    model = next(copy.rglob("model.keras"))
    whole = model.read_bytes()
    model.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(Trouble, match=r"model\.keras is not what was written"):
        verify(str(copy))
    model.unlink()
    with pytest.raises(Trouble, match="1 files are not there"):
        verify(str(copy))
    (copy / "manifest.json").unlink()
    with pytest.raises(Trouble, match="it is no backup, or one that was not finished"):
        verify(str(copy))


def test_nothing_is_put_back_under_a_server_that_runs(installed: Installed) -> None:
    """It would go on writing into what is being replaced."""
    done = installed.team.call("restore", installed.backup, "--overwrite")
    assert done.returncode == 1
    assert "the server still runs" in done.stderr


def test_a_backup_put_back_holds_the_same_champion(
    installed: Installed, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty database, an empty bucket, no ledgers; then: same champion, same ledger, same files, same passwords.

    What is there is not overwritten unless that is said; and a server whose database goes away is no longer ready,
    but alive.
    """
    import postgres
    import team_server

    engine = sqlalchemy.create_engine(database, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE DATABASE wiped")
    import google_storage as google

    storage = google.Storage("models")
    with google.serving(storage):
        team = team_server.Team(
            database.replace("/postgres?", "/wiped?"),
            "gs://models/mlflow",
            tmp_path,
            postgres.programs(),
            {"STORAGE_EMULATOR_HOST": storage.address, "INCEPTION_LEDGERS": str(tmp_path / "ledgers")},
        )
        assert "Restored" in team.done("restore", installed.backup)
        assert (
            "The database is not empty: 1 runs, 1 registered models." in team.call("restore", installed.backup).stderr
        )
        team.done("restore", installed.backup, "--overwrite")

        manifest = json.loads(Path(installed.backup, "manifest.json").read_text())
        assert storage.names("models") == [f"mlflow/{file['path']}" for file in manifest["artifacts"]]
        assert (tmp_path / "ledgers" / "digits.json").read_bytes() == (installed.ledgers / "digits.json").read_bytes()

        monkeypatch.setenv("INCEPTION_LEDGERS", str(tmp_path / "ledgers"))
        champions = []
        with team.serving():
            for address in (installed.team.address, team.address):
                for name, value in signed_in(address, "anna").items():
                    monkeypatch.setenv(name, value)
                champions.append(lookup("digits@champion").model_copy(update={"tracking_uri": None}))
            assert champions[0] == champions[1]
            assert champions[1].doubt is None

            with engine.connect() as connection:
                connection.exec_driver_sql("ALTER DATABASE wiped ALLOW_CONNECTIONS false")
                connection.exec_driver_sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'wiped'"
                )
            away = team.call("ready")
            assert away.returncode == 1
            assert "see its log, and the database" in away.stderr
            with urllib.request.urlopen(f"{team.address}/health", timeout=30) as answer:
                assert answer.status == 200
    engine.dispose()


def test_a_server_that_is_not_there_is_not_ready(installed: Installed) -> None:
    """And whoever asks is told where nobody answers."""
    import team_server

    free = team_server._free_port()
    done = installed.team.call("ready", MLFLOW_PORT=str(free))
    assert done.returncode == 1
    assert f"does not answer on port {free}" in done.stderr
