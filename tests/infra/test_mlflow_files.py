"""What the MLflow server's image and the compose file promise, read from their texts; others build and run them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "infra" / "mlflow"
DOCKERFILE = (HERE / "Dockerfile").read_text()
COMPOSE_TEXT = (ROOT / "infra" / "local" / "compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
EXAMPLE = (ROOT / "infra" / "local" / "example.env").read_text()
VARIABLE = re.compile(r"\$\{(\w+)(?:(:[-?])([^}]*))?\}")
SECRETS = {"POSTGRES_PASSWORD", "MLFLOW_ADMIN_PASSWORD", "MLFLOW_SECRET_KEY", "INCEPTION_CLIENT_PASSWORD"}

SET = {
    "MLFLOW_BACKEND_STORE_URI": "postgresql+psycopg2://u:p%40ss@db:5432/mlflow",
    "MLFLOW_ARTIFACTS_DESTINATION": "gs://models/mlflow",
    "MLFLOW_AUTH_ADMIN_USERNAME": "root",
    "MLFLOW_AUTH_ADMIN_PASSWORD": "a long password",
    "MLFLOW_FLASK_SERVER_SECRET_KEY": "key",
    "MLFLOW_SERVER_ALLOWED_HOSTS": "mlflow:5000",
}


@pytest.fixture(autouse=True)
def program(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The image's own package, found as the image finds it."""
    monkeypatch.syspath_prepend(str(HERE))
    yield
    for name in [name for name in sys.modules if name.startswith("inception_mlflow")]:
        del sys.modules[name]


def locked(file: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"(?m)^([a-z0-9._-]+)==([^ ;\\\n]+)", (ROOT / "requirements" / file).read_text()):
        found.setdefault(name, set()).add(version)
    return found


# ---------------------------------------------------------------- the image


def test_the_image_is_pinned_and_needs_no_buildkit() -> None:
    """Base by version, packages by hash, no installation when it runs, no line that only BuildKit understands."""
    assert re.search(r"(?m)^ARG BASE=python:3\.11-slim-bookworm$", DOCKERFILE)
    assert "--require-hashes" in DOCKERFILE
    assert "--no-deps" in DOCKERFILE
    assert not re.search(r"(?m)^# *syntax=|--mount=|COPY --chmod|--secret", DOCKERFILE)


def test_the_image_runs_as_nobody_in_particular() -> None:
    """By number, as Kubernetes wants it, and never as root."""
    assert re.findall(r"(?m)^USER (\S+)$", DOCKERFILE) == ["1000"]


def test_the_image_has_a_health_command_of_its_own_program() -> None:
    """Its entrypoint is the program, so that every container of it is one of the program's commands."""
    assert 'ENTRYPOINT ["inception-mlflow"]\nCMD ["serve"]' in DOCKERFILE
    assert re.search(r'HEALTHCHECK .*CMD \["inception-mlflow", "ready"\]', DOCKERFILE)


def test_the_lock_of_the_image_agrees_with_the_common_one() -> None:
    """A server and a client of one version; and what a sign-in and PostgreSQL ask for is in it."""
    server, common = locked("mlflow.txt"), locked("run.txt")
    assert {"mlflow", "flask-wtf", "psycopg2-binary", "google-cloud-storage", "uvicorn"} <= set(server)
    assert {name: versions for name, versions in server.items() if name in common and versions != common[name]} == {}


def test_dumps_are_made_by_a_program_of_the_databases_version() -> None:
    """pg_dump refuses a server that is newer than itself."""
    client = re.search(r"postgresql-client-(\d+)", DOCKERFILE)
    assert client is not None
    assert SERVICES["postgres"]["image"].startswith(f"postgres:{client[1]}.")
    assert f"/usr/lib/postgresql/{client[1]}/bin" in DOCKERFILE


def test_the_build_gets_the_program_and_no_secrets() -> None:
    """What .dockerignore lets through is named there; compose's own .env is not, and git ignores it."""
    assert "!infra/mlflow" in (ROOT / ".dockerignore").read_text().split()
    ignored = subprocess.run(["git", "check-ignore", "-q", "infra/local/.env"], cwd=ROOT, check=False)
    assert ignored.returncode == 0


# ---------------------------------------------------------------- compose


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_of_a_pinned_image(name: str) -> None:
    """By a version that is written there, or by one that must be given; never `latest`."""
    image, _, tag = SERVICES[name]["image"].partition(":")
    assert image in ("postgres", "inception-mlflow", "inception-cpu")
    assert re.match(r"\d+\.\d+|\$\{INCEPTION_VERSION", tag)
    assert "latest" not in tag


def test_no_secret_has_a_default() -> None:
    """Passwords and keys are variables that must be set, or compose starts nothing; the example leaves them empty."""
    used = VARIABLE.findall(COMPOSE_TEXT)
    assert {name for name, _, _ in used} >= SECRETS
    assert {name for name, how, _ in used if name in SECRETS and how == ":-"} == set()
    for secret in SECRETS:
        assert (secret, ":?") in {(name, how) for name, how, _ in used}
        assert re.search(rf"(?m)^{secret}=$", EXAMPLE)
    words = re.findall(r"(?m)^ *\w*(?:PASSWORD|SECRET_KEY): *\"?(.*)$", COMPOSE_TEXT)
    assert words
    assert all(word.startswith("${") for word in words)


def test_the_example_names_every_variable_and_no_other() -> None:
    """Whoever fills it in has filled in everything. The administrator's name alone may stay as it is."""
    named = set(re.findall(r"(?m)^#?([A-Z_]+)=", EXAMPLE)) - {"COMPOSE_PROJECT_NAME"}
    assert named == {name for name, _, _ in VARIABLE.findall(COMPOSE_TEXT)} - {"MLFLOW_ADMIN_USERNAME"}


def test_the_server_alone_is_reached_from_outside() -> None:
    """And unless it is said otherwise, from this machine only."""
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"mlflow": ["${MLFLOW_LISTEN:-127.0.0.1:5000}:5000"]}


def test_services_wait_for_what_they_need() -> None:
    """Database healthy, migrated, server ready, user made: each begins when the one before has come to its end."""
    waits = {
        name: {(other, rule["condition"]) for other, rule in service.get("depends_on", {}).items()}
        for name, service in SERVICES.items()
    }
    assert waits == {
        "postgres": set(),
        "migrate": {("postgres", "service_healthy")},
        "mlflow": {("migrate", "service_completed_successfully")},
        "client": {("mlflow", "service_healthy")},
        "scheduler": {("client", "service_completed_successfully")},
        "tools": {("postgres", "service_healthy")},
    }
    healthy = {other for needs in waits.values() for other, condition in needs if condition == "service_healthy"}
    assert all(SERVICES[name]["healthcheck"]["test"][0] == "CMD" for name in healthy)


def test_what_must_last_lies_in_volumes_that_are_declared() -> None:
    """Database, artifacts, state and backups outlive their containers; scheduler and backups see the same ledgers."""
    used = {
        volume.partition(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if not volume.startswith(("/", "."))
    }
    names = {VARIABLE.sub(lambda match: match[3], name) for name in used if not name.startswith("${")}
    assert names <= set(COMPOSE["volumes"])
    assert {"database", "artifacts", "state", "images", "backups"} == set(COMPOSE["volumes"])
    ledgers = {SERVICES[name]["environment"]["INCEPTION_LEDGERS"] for name in ("scheduler", "tools")}
    assert len(ledgers) == 1
    assert all("state:/srv/inception" in SERVICES[name]["volumes"] for name in ("scheduler", "tools"))


@pytest.mark.parametrize("name", [name for name in SERVICES if name != "postgres"])
def test_our_containers_can_gain_no_rights(name: str) -> None:
    """They drop every capability; the server's, which users reach, cannot write but where it must."""
    assert SERVICES[name]["cap_drop"] == ["ALL"]
    assert SERVICES[name]["security_opt"] == ["no-new-privileges:true"]
    assert SERVICES[name].get("read_only") is (None if name == "scheduler" else True)


def test_commands_of_the_services_are_the_programs() -> None:
    """What compose asks for is there."""
    from inception_mlflow.__main__ import main

    asked = {
        service["command"][0]
        for service in SERVICES.values()
        if "inception-mlflow" in service["image"] and "command" in service
    }
    assert asked == {"migrate", "serve", "client"}
    assert asked <= set(main.commands)


# ---------------------------------------------------------------- the program


@pytest.mark.parametrize("missing", SET)
def test_the_server_starts_with_nothing_left_open(missing: str) -> None:
    """Database, artifacts, administrator, key and names it answers to: without one of them it says so and ends."""
    from inception_mlflow.__main__ import main

    done = CliRunner(env={**SET, missing: ""}).invoke(main, ["serve"])
    assert done.exit_code == 1
    assert f"{missing} is not set." in done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("MLFLOW_BACKEND_STORE_URI", "sqlite:///mlflow.db", "PostgreSQL"),
        ("MLFLOW_ARTIFACTS_DESTINATION", "gs://models", "gs://models/mlflow"),
        ("MLFLOW_PORT", "five", "MLFLOW_PORT is 'five'"),
    ],
)
def test_what_cannot_work_is_refused(name: str, value: str, said: str) -> None:
    """A store that one process alone may write, the root of a bucket, a port that is none."""
    from inception_mlflow.__main__ import main

    done = CliRunner(env={**SET, name: value}).invoke(main, ["serve"])
    assert done.exit_code == 1
    assert said in done.output


def test_kubernetes_own_variable_is_no_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """It gives every pod of the namespace MLFLOW_PORT=tcp://…, after the service."""
    from inception_mlflow import settings

    monkeypatch.setenv("MLFLOW_PORT", "tcp://10.0.0.7:5000")
    assert settings.port() == settings.DEFAULT_PORT


def test_authentication_grants_nothing_and_knows_no_password() -> None:
    """An account alone opens nothing; who may do everything is said by secrets alone."""
    config = ConfigParser()
    config.read(HERE / "inception_mlflow" / "basic_auth.ini")
    assert config["mlflow"]["default_permission"] == "NO_PERMISSIONS"
    assert not [key for key in config["mlflow"] if "password" in key or "admin" in key or "uri" in key]


def test_a_password_with_a_percent_sign_arrives_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """MLflow reads its file with interpolation; and nobody else may read it."""
    from inception_mlflow import serving

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = serving.configuration(SET["MLFLOW_BACKEND_STORE_URI"])
    read = ConfigParser()
    read.read(path)
    assert read["mlflow"]["database_uri"] == SET["MLFLOW_BACKEND_STORE_URI"]
    assert path.parent.stat().st_mode & 0o077 == 0


def test_no_message_holds_a_password() -> None:
    """Addresses are said without user and password."""
    from inception_mlflow.settings import Trouble

    assert "p%40ss" not in Trouble(f"The database {SET['MLFLOW_BACKEND_STORE_URI']} refused.", "See.").message
