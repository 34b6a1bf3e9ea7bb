"""What tests in several rooms share: a clean process, a state folder, a prepared dataset, an MLflow store.

The dataset is made by the real verbs, once for the whole session; whoever uses it gets a copy in a state of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from trainer import config
from trainer.state import State

TINY = """
[data]
source = "digits"
limit = 96

[model]
variant = "inception_module"
image_size = 32
width = 0.1
dropout = 0.2

[train]
epochs = 2
batch_size = 16
seed = 3
precision = "float32"
optimizer = { name = "adamw", learning_rate = 0.002 }
augment = { shift = 0.1, rotation = 10.0 }

[gate]
threshold = 0.1

[registry]
name = "tiny"
"""
"""A network of 60,000 parameters on 96 real digits per split: an epoch is six steps and takes a moment."""


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session", autouse=True)
def clean_environment(home: Path) -> None:
    """Settings of the caller's shell reach no test, and nothing is written into the caller's home folder."""
    _forget()
    os.environ["HOME"] = str(home)
    # One place for all tests: matplotlib takes a second to look for fonts in every new one.
    os.environ["KERAS_HOME"] = os.environ["MPLCONFIGDIR"] = os.environ["XDG_CACHE_HOME"] = str(home / "cache")


@pytest.fixture(autouse=True)
def clean_process() -> Iterator[None]:
    """What a test, or a fixture of a whole module, sets for its process reaches no other test."""
    _forget()
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
    _forget()
    if "keras" in sys.modules:
        import keras

        keras.config.set_dtype_policy("float32")


def _forget() -> None:
    """Which MLflow store is in use (MLflow itself puts it into the environment), and where events go."""
    if "mlflow" in sys.modules:
        import mlflow

        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)
    for name in list(os.environ):
        # What switches the tests themselves on stays.
        if name.startswith(("MLFLOW_", "INCEPTION_")) and not name.startswith("INCEPTION_TEST_"):
            del os.environ[name]
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"


@pytest.fixture
def state(tmp_path: Path) -> State:
    """An empty state folder."""
    return State.open(tmp_path / "state")


@pytest.fixture(scope="session")
def mlflow_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database. Making one takes seconds, copying one takes none."""
    from mlflow.tracking import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real MLflow server on a PostgreSQL of its own (tests/support). The tests share it."""
    import mlflow_server
    import postgres

    if why := postgres.missing():
        pytest.skip(why)
    with (
        postgres.cluster() as store,
        mlflow_server.serving(store, tmp_path_factory.mktemp("server")) as address,
    ):
        yield address


@pytest.fixture
def proxy(mlflow_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A proxy that does things wrong on order, in front of the server (`Proxy` in tests/support/faulty_proxy.py).

    MLFLOW_TRACKING_URI names it; requests wait for a second, and the pauses between tries are next to none.
    """
    import faulty_proxy

    from trainer import patience

    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.005)
    monkeypatch.setattr(patience, "LONGEST_PAUSE", 0.02)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("INCEPTION_PATIENCE", "10")
    with faulty_proxy.between(mlflow_server) as made:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", made.address)
        yield made


@pytest.fixture
def tracked_state(state: State, mlflow_template: Path) -> State:
    """A state folder with an empty MLflow database in it."""
    shutil.copyfile(mlflow_template, state.mlflow_database)
    return state


@dataclass(frozen=True)
class Digits:
    """A prepared dataset of real digits: 96 in every split, ten classes, 8×8 pixels."""

    source: State
    fingerprint: str

    def recipe(self, *overrides: str) -> config.Recipe:
        """A recipe for a small network on this data."""
        return config.parse(TINY, overrides)

    def into(self, state: State) -> None:
        shutil.copytree(self.source.data(self.fingerprint), state.data(self.fingerprint))


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Digits:
    from trainer.check import check
    from trainer.prepare import prepare
    from trainer.registry.ledger import MemoryLedger
    from trainer.registry.memory import MemoryRegistry

    state = State.open(tmp_path_factory.mktemp("digits"))
    recipe = config.parse(TINY)
    fingerprint = check(recipe, state, MemoryRegistry(), MemoryLedger(), "tick").fingerprint
    prepare(recipe.data, fingerprint, state)
    return Digits(state, fingerprint)


@pytest.fixture
def digits_state(tracked_state: State, digits: Digits) -> State:
    """A state folder with the digits prepared and an empty MLflow database."""
    digits.into(tracked_state)
    return tracked_state


RunPython = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run_python(tmp_path: Path) -> RunPython:
    """Runs Python code in a process of its own, with the test's environment, in an empty folder."""

    def run(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        folder = tmp_path / "elsewhere"
        folder.mkdir(exist_ok=True)
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=folder,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A Google Cloud Storage of the test's own with the bucket `b` (`Storage` in tests/support/google_storage.py).

    Google's client finds it by the environment, in processes that the test starts too, and pauses for next to nothing
    before it tries again.
    """
    import google_storage as server
    from google.cloud.storage import retry

    held = server.Storage("b")
    monkeypatch.setattr(retry, "DEFAULT_RETRY", retry.DEFAULT_RETRY.with_delay(initial=0.01, maximum=0.05))
    with server.serving(held) as address:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        yield held


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory, mlflow_template: Path) -> State:
    """A state folder with the registered model of tests/support/colours.py."""
    import colours

    state = State.open(tmp_path_factory.mktemp("colours"))
    shutil.copyfile(mlflow_template, state.mlflow_database)
    colours.register(state)
    return state


@pytest.fixture
def docker_engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A Docker engine's API of the test's own (`Engine` in tests/support/docker_api.py), which DOCKER_HOST names."""
    import docker_api

    with docker_api.serving() as engine:
        monkeypatch.setenv("DOCKER_HOST", engine.address)
        yield engine


@pytest.fixture(scope="session")
def container_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real Docker engine (`Containers` in tests/support/container_engine.py), or a skip."""
    import container_engine

    with container_engine.running(tmp_path_factory.mktemp("engine")) as containers:
        yield containers


@pytest.fixture
def image_registry() -> Iterator[Any]:
    """A registry of the test's own (`Registry` in tests/support/image_registry.py)."""
    import image_registry

    with image_registry.serving() as registry:
        yield registry


@pytest.fixture
def open_mlflow_server(tmp_path: Path) -> Iterator[str]:
    """The address of a real MLflow server on SQLite that listens on all of this machine's addresses."""
    import mlflow_server

    with mlflow_server.serving(f"sqlite:///{tmp_path}/server.db", tmp_path, "0.0.0.0") as address:
        yield address


@pytest.fixture
def kfp(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A pipeline server of the test's own (`Api` in tests/support/kfp_api.py); its `address` says where.

    What is read is asked for again without much of a pause, and runs are looked at often.
    """
    import kfp_api as server

    from pipelines import client, submission

    held = server.Api()
    monkeypatch.setattr(client, "PAUSE", 0.01)
    monkeypatch.setattr(submission, "POLL", 0.01)
    with server.serving(held):
        yield held
