"""No secret reaches what a run leaves: canaries are planted wherever a secret can be given, and everything is read."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from trainer.errors import InceptionError, is_secret, without_credentials, without_secrets

COMMAND = str(Path(sys.executable).with_name("inception"))
CLOSED = "127.0.0.1:9"
"""Nobody listens there."""
CANARY = re.compile(rb"canary-[a-z]+")


def canary(where: str) -> str:
    return f"canary-{where}"


RECIPE = """
[data]
source = "digits"
limit = 96

[model]
variant = "inception_module"
image_size = 8
width = 0.2

[train]
epochs = 1
batch_size = 32
optimizer = { name = "adamw", learning_rate = 0.005 }

[gate]
threshold = 0.0

[registry]
name = "digits"
"""
ENVIRONMENT = """
[server]
endpoint = "ADDRESS"
authentication = { name = "token", AUTHENTICATION }

[images]
light = "registry.test/light@sha256:D"
cpu = "registry.test/cpu@sha256:D"
gpu = "registry.test/gpu@sha256:D"
pull_secrets = ["registry-login"]

[state]
claim = "inception-state"

[store]
mlflow = "https://mlflow.test"

[variables]
INCEPTION_NOTIFICATIONS = "/secrets/notifications.toml"

[[secrets]]
secret = "mlflow-login"
variables = { MLFLOW_TRACKING_USERNAME = "username", MLFLOW_TRACKING_PASSWORD = "password" }

[[secrets]]
secret = "notifications"
mount = "/secrets"
steps = ["report"]
""".replace("sha256:D", "sha256:" + "0123456789abcdef" * 4)
SCHEDULES = """
[[schedule]]
name = "here"
recipe = "digits.toml"
cron = "0 3 * * MON"

[[schedule]]
name = "there"
recipe = "digits.toml"
cron = "0 3 * * MON"
environment = "token"
"""
NOTIFICATIONS = f"""
[[webhook]]
url = "env:CHAT_WEBHOOK"
format = "slack"

[[webhook]]
url = "http://{CLOSED}/services/{canary("literalhook")}"

[[email]]
server = "{CLOSED}"
from = "inception@example.org"
to = ["team@example.org"]
user = "inception"
password = "env:SMTP_PASSWORD"
"""


@contextmanager
def watching(seen: set[bytes]) -> Iterator[None]:
    """Looks at the command lines of all processes, as anybody on the machine may, until the block is left."""
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.05):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.update(CANARY.findall(path.read_bytes()))
                except OSError:
                    continue

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


class Site:
    """A project folder whose environment is full of secrets."""

    def __init__(self, folder: Path, tracking: str) -> None:
        self.folder, self.state = folder, folder / "state"
        self.said: dict[str, bytes] = {}
        self.last = ""
        for below in ("configs/environments", "state", "home/.docker", "elsewhere"):
            (folder / below).mkdir(parents=True)
        (folder / "configs" / "digits.toml").write_text(RECIPE)
        (folder / "configs" / "schedules.toml").write_text(SCHEDULES)
        (folder / "elsewhere" / "notifications.toml").write_text(NOTIFICATIONS)
        (folder / "elsewhere" / "token").write_text(canary("tokenfile"))
        key = {"type": "service_account", "private_key": canary("googlekey"), "client_email": "a@example.org"}
        (folder / "elsewhere" / "google.json").write_text(json.dumps(key))
        login = {"auths": {"registry.test": {"auth": canary("registrylogin")}}}
        (folder / "home" / ".docker" / "config.json").write_text(json.dumps(login))
        self.tracking = tracking.replace("://", f"://{canary('uriuser')}:{canary('uripassword')}@")
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "INCEPTION_"))},
            "HOME": str(folder / "home"),
            "INCEPTION_STATE": str(self.state),
            "INCEPTION_NOTIFICATIONS": str(folder / "elsewhere" / "notifications.toml"),
            "INCEPTION_API_TOKEN": canary("inceptiontoken"),
            "INCEPTION_PATIENCE": "1",
            "MLFLOW_TRACKING_URI": self.tracking,
            "MLFLOW_TRACKING_USERNAME": "trainer",
            "MLFLOW_TRACKING_PASSWORD": canary("trackingpassword"),
            "MLFLOW_TRACKING_TOKEN": canary("trackingtoken"),
            "GOOGLE_APPLICATION_CREDENTIALS": str(folder / "elsewhere" / "google.json"),
            "AWS_SECRET_ACCESS_KEY": canary("awskey"),
            "CHAT_WEBHOOK": f"http://{CLOSED}/services/{canary('envhook')}",
            "SMTP_PASSWORD": canary("smtppassword"),
            "KFP_TOKEN": canary("tokenvariable"),
        }

    def ask(self, *words: str, **more: str) -> int:
        done = subprocess.run(
            [COMMAND, *words],
            cwd=self.folder,
            env=self.environment | more,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=900,
            check=False,
        )
        self.last = (done.stdout + done.stderr).decode()
        self.said[f"output of {' '.join(words)}"] = done.stdout + done.stderr
        return done.returncode


def contents(root: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below a folder, and every member of those that are archives."""
    for path in sorted(root.rglob("*")):
        if not path.is_file():
            continue
        content = path.read_bytes()
        yield str(path), content
        if zipfile.is_zipfile(io.BytesIO(content)):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                for name in archive.namelist():
                    yield f"{path}!{name}", archive.read(name)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_secret_is_in_anything_that_was_left(
    tmp_path: Path, kfp: Any, kfp_requests: list[bytes], open_mlflow_server: str
) -> None:
    """A whole loop, failures with and without --debug, compile, submit, schedules and notifications that fail: no
    canary is in the state folder, in logs and databases, on the screen, in the YAML, in what MLflow and the pipeline
    server were sent beside the Authorization header, or in a process's command line."""
    seen: set[bytes] = set()
    with watching(seen):
        site = Site(tmp_path / "site", open_mlflow_server)
        for name, authentication in {"token": 'variable = "KFP_TOKEN"', "file": 'file = "elsewhere/token"'}.items():
            text = ENVIRONMENT.replace("ADDRESS", kfp.address).replace("AUTHENTICATION", authentication)
            (site.folder / "configs" / "environments" / f"{name}.toml").write_text(text)
        out_of_reach = f"postgresql+psycopg2://mlflow:{quote(canary('postgres'))}@{CLOSED}/mlflow"
        recipe = "configs/digits.toml"
        assert site.ask("run", recipe, "--json") == 0, site.last
        assert site.ask("run", recipe, "--set", "train.seed=7", "--debug", MLFLOW_TRACKING_URI=out_of_reach) == 1, (
            site.last
        )
        assert site.ask("lookup", "digits", "--json") == 0, site.last
        assert site.ask("compile", recipe, "--environment", "token", "-o", "retrain.yaml") == 0, site.last
        kfp.token = canary("tokenvariable")
        assert site.ask("submit", recipe, "--environment", "token", "--json") == 0, site.last
        assert site.ask("submit", recipe, "--environment", "file", "--debug") == 1, site.last  # another token
        kfp.token = canary("tokenfile")
        assert site.ask("submit", recipe, "--environment", "file") == 0, site.last
        kfp.token = canary("tokenvariable")
        assert site.ask("schedule", "apply", "--environment", "token", "--yes") == 0, site.last
        assert site.ask("schedule", "run-now", "here", "--state", str(site.state)) == 0, site.last
        assert site.ask("run", recipe, "--set", "data.source=folder:gone") == 1, site.last
        assert site.ask("notify") == 1, site.last
    leftovers = [*contents(site.state), *site.said.items()]
    # What the MLflow server was given: the fixture keeps its database, its artifacts and its log in this folder.
    leftovers += [(where, content) for where, content in contents(tmp_path) if not where.startswith(str(site.folder))]
    leftovers += [(str(path), path.read_bytes()) for path in site.folder.glob("*.yaml")]
    leftovers += [(f"request {number}", content) for number, content in enumerate(kfp_requests)]
    found = {where: sorted(set(CANARY.findall(content))) for where, content in leftovers if CANARY.search(content)}
    assert found == {}
    assert seen == set()
    places = " ".join(where for where, _ in leftovers)
    for place in ("server.db", "server.log", "model.keras!config.json", "card.html", "retrain.yaml", "request 9"):
        assert place in places, f"{place} was not looked at"
    everything = b"".join(content for _, content in leftovers)
    assert "://…@127.0.0.1".encode() in everything, "addresses are told, and what is secret in them is not"


TEXTS = {
    "at http://user:canary-a@host:5000/x": "at http://…@host:5000/x",
    "postgresql+psycopg2://mlflow:p%40ss@db/mlflow": "postgresql+psycopg2://…@db/mlflow",
    "https://ghp_token@github.com/a/b.git": "https://…@github.com/a/b.git",
    "models:/digits@champion, a@example.org, registry/x@sha256:0": None,
    "https://host/a@b and gs://bucket/a@b": None,
}


@pytest.mark.parametrize("text", TEXTS)
def test_messages_are_without_what_is_secret_in_addresses(text: str) -> None:
    """And say the rest as it is."""
    expected = TEXTS[text] or text
    assert without_secrets(text) == expected
    error = InceptionError(text, text)
    assert (error.message, error.remedy, str(error), error.args) == (
        expected, expected, f"{expected}\n{expected}", (expected,)
    )  # fmt: skip


def test_the_value_of_a_secret_variable_is_in_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever library has put it into its words; a value that is too short to be told from a word stays."""
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "canary-a")
    monkeypatch.setenv("CHAT_WEBHOOK", "https://chat.test/services/canary-b")
    monkeypatch.setenv("GITHUB_TOKEN", "the")
    monkeypatch.setenv("INNOCENT", "canary-c")
    said = "'canary-a' was refused by https://chat.test/services/canary-b for the canary-c"
    assert without_secrets(said) == "'…' was refused by … for the canary-c"
    assert not is_secret("INNOCENT")


def test_an_unexpected_error_is_told_without_secrets(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """With its traceback too, which --debug shows."""
    from pipelines import cli

    def fail(**_: Any) -> None:
        raise RuntimeError("cannot reach http://user:canary-a@host with canary-password")

    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "canary-password")
    monkeypatch.setattr(cli.cli, "main", fail)
    for words in (["runs"], ["runs", "--debug"], ["runs", "--json"]):
        assert cli._status(words) == 1
    said = capfd.readouterr()
    assert "Traceback" in said.err
    assert "RuntimeError: cannot reach http://…@host with …" in said.err
    assert "canary" not in said.out + said.err


def test_user_and_password_leave_the_address_of_the_store(state: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow prints a run's address as the store's was given. They go where MLflow looks for them; what is there
    already holds."""
    from trainer import tracking

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://ali:open%20sesame@mlflow.test/x")
    assert tracking.tracking_uri(state) == tracking.tracking_uri(state) == "https://mlflow.test/x"
    assert os.environ["MLFLOW_TRACKING_USERNAME"] == "ali"
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "open sesame"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://other:word@mlflow.test")
    assert tracking.tracking_uri(state) == "https://mlflow.test"
    assert os.environ["MLFLOW_TRACKING_USERNAME"] == "ali"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://mlflow:word@db/mlflow")
    assert tracking.tracking_uri(state) == "postgresql://mlflow:word@db/mlflow", "SQLAlchemy has no other place for it"


def test_what_stands_behind_a_name_is_told_without_the_store_s_password() -> None:
    """`lookup --json` goes into other pipelines' parameters."""
    from datetime import UTC, datetime

    from trainer.registry.lookup import Found
    from trainer.registry.protocol import ModelVersion

    version = ModelVersion(
        name="digits", version="1", model_uri="models:/m-1", run_id="r", tags={}, aliases=[],
        created_at=datetime(2026, 11, 21, tzinfo=UTC),
    )  # fmt: skip
    found = Found.of(version, "postgresql://mlflow:word@db/mlflow")
    assert found.tracking_uri == without_credentials("postgresql://mlflow:word@db/mlflow") == "postgresql://db/mlflow"


def test_the_checkout_s_remote_is_tagged_without_its_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow tags a run with the address that the checkout was fetched from."""
    from mlflow.tracking.context import registry

    from trainer.tracking.context import resolved_tags

    class Checkout:
        def in_context(self) -> bool:
            return True

        def tags(self) -> dict[str, str]:
            return {"mlflow.source.git.repoURL": "https://x-access-token:canary-a@github.test/a/b.git"}

    monkeypatch.setattr(registry._run_context_provider_registry, "_registry", [Checkout()])
    assert resolved_tags({"run_key": "k"}) == {
        "run_key": "k",
        "mlflow.source.git.repoURL": "https://…@github.test/a/b.git",
    }
