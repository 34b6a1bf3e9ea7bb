"""What only the registry in MLflow has: logged models, passing troubles, addresses that lead nowhere."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, TEMPORARILY_UNAVAILABLE

from trainer.errors import RegistryError
from trainer.patience import passes
from trainer.registry.mlflow import MlflowRegistry


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture(scope="module")
def uri(folder: Path) -> str:
    return f"sqlite:///{folder}/mlflow.db"


@pytest.fixture
def process_address(monkeypatch: pytest.MonkeyPatch, uri: str) -> Any:
    """Points MLflow's process-wide address at the store, and away again."""
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    yield
    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)


def test_a_logged_model_loads_by_its_alias(process_address: None, uri: str, folder: Path) -> None:
    """`models:/NAME@champion` gives the model that was logged, and its version remembers run and address."""
    experiment = mlflow.create_experiment("e", artifact_location=(folder / "artifacts").as_uri())
    script = folder / "model.py"
    script.write_text(
        "from mlflow.models import set_model\nfrom mlflow.pyfunc import PythonModel\n"
        "class Twice(PythonModel):\n    def predict(self, context, model_input):\n        return model_input * 2\n"
        "set_model(Twice())\n"
    )
    with mlflow.start_run(experiment_id=experiment) as run:
        logged = mlflow.pyfunc.log_model(name="model", python_model=str(script), pip_requirements=[])
    mlflow.set_tracking_uri("sqlite:///elsewhere.db")  # the registry has an address of its own

    registry = MlflowRegistry(uri)
    made = registry.create_version("logged", logged.model_uri, run.info.run_id, {"run_key": "k"})
    assert mlflow.get_tracking_uri() == "sqlite:///elsewhere.db"
    registry.set_alias("logged", "champion", made.version)
    mlflow.set_tracking_uri(uri)

    assert (made.model_uri, made.run_id) == (logged.model_uri, run.info.run_id)
    assert mlflow.pyfunc.load_model("models:/logged@champion").predict(21) == 42
    assert registry.get("logged", made.version).aliases == ["champion"]


def test_a_logged_model_that_is_not_there_makes_no_version(uri: str) -> None:
    """The refusal comes at once, names the address, and leaves nothing half made."""
    registry = MlflowRegistry(uri)
    started = time.monotonic()
    with pytest.raises(RegistryError, match=r"refused: .*m-unheard"):
        registry.create_version("lost", "models:/m-unheard", "", {"run_key": "k"})
    assert time.monotonic() - started < 5
    assert registry.find_by_run_key("lost", "k") is None
    assert registry.versions("lost") == []


class Flaky:
    """An MLflow client with passing trouble: the named call fails so many times, before or after it has worked."""

    def __init__(self, client: Any, call: str, times: int, *, worked: bool) -> None:
        self._client, self._call, self._left, self._worked = client, call, times, worked

    def __getattr__(self, name: str) -> Callable[..., Any]:
        real = getattr(self._client, name)

        def flaky(*args: Any, **kwargs: Any) -> Any:
            if name != self._call or self._left == 0:
                return real(*args, **kwargs)
            self._left -= 1
            if self._worked:
                real(*args, **kwargs)
            raise MlflowException("database is locked", error_code=TEMPORARILY_UNAVAILABLE)

        return flaky


@pytest.mark.parametrize("worked", [False, True])
@pytest.mark.parametrize("times", [1, 2])
def test_a_retry_makes_no_second_version(uri: str, worked: bool, times: int) -> None:
    """Whether the first try had failed or only its answer was lost, there is one version in the end."""
    name = f"flaky-{worked}-{times}"
    registry = MlflowRegistry(uri)
    registry._client = Flaky(registry._client, "create_model_version", times, worked=worked)
    made = registry.create_version(name, "file:///m", "", {"run_key": "k", "a": "b"})
    assert made.tags == {"run_key": "k", "a": "b"}
    assert [one.version for one in registry.versions(name)] == ["1"]


@pytest.mark.parametrize(
    ("call", "deed"),
    [
        ("get_registered_model", lambda r: r.alias("steady", "champion")),
        ("search_model_versions", lambda r: r.versions("steady")),
        ("search_registered_models", lambda r: r.names()),
        ("set_model_version_tag", lambda r: r.set_tags("steady", "1", {"a": "b"})),
        ("set_registered_model_alias", lambda r: r.set_alias("steady", "champion", "1")),
    ],
)
def test_passing_trouble_passes(uri: str, call: str, deed: Callable[[MlflowRegistry], Any]) -> None:
    """Every call is tried again; trouble that stays is an error that says what to do."""
    registry = MlflowRegistry(uri, patience=20)
    if registry.find_by_run_key("steady", "k") is None:
        registry.create_version("steady", "file:///m", "", {"run_key": "k"})
    client = registry._client
    registry._client = Flaky(client, call, 2, worked=False)
    deed(registry)
    staying = MlflowRegistry(uri, patience=0.3)
    staying._client = Flaky(client, call, 1000, worked=False)
    with pytest.raises(RegistryError, match=r"out of reach: .*locked") as caught:
        deed(staying)
    assert "run again" in caught.value.remedy


def test_versions_made_at_once_are_all_there(uri: str) -> None:
    """Registering from several threads loses none and numbers each once, the model itself being new."""
    registry = MlflowRegistry(uri)
    numbers: list[str] = []

    def work(who: int) -> None:
        for item in range(4):
            numbers.append(
                MlflowRegistry(uri).create_version("busy", "file:///m", "", {"run_key": f"{who}-{item}"}).version
            )

    threads = [threading.Thread(target=work, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers, key=int) == [str(number) for number in range(1, 17)]
    assert len({one.tags["run_key"] for one in registry.versions("busy")}) == 16


def test_a_server_that_is_down_is_an_error_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried for as long as the patience lasts, without MLflow's own minutes of retries, and then named."""
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    started = time.monotonic()
    with pytest.raises(RegistryError, match=f"at {address} is out of reach") as caught:
        MlflowRegistry(address, patience=1.5).names()
    assert 1.0 < time.monotonic() - started < 15
    assert "answers" in caught.value.remedy
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ


def test_a_servers_internal_error_passes(uri: str) -> None:
    """A server's 500 is tried again, the same word from SQLite is final."""
    error = MlflowException("oops", error_code=INTERNAL_ERROR)
    assert not passes(uri, error)
    assert passes("http://server", error)


def test_a_database_that_is_none_is_an_error(tmp_path: Path) -> None:
    """The address is named."""
    (tmp_path / "mlflow.db").write_text("This is no database, and long enough to be seen as none. " * 20)
    with pytest.raises(RegistryError, match=r"at sqlite:.*mlflow\.db refused"):
        MlflowRegistry(f"sqlite:///{tmp_path}/mlflow.db").names()


def test_mlflow_is_imported_only_when_a_registry_is_opened() -> None:
    """Importing the adapter costs nothing."""
    code = "import sys, trainer.registry.mlflow; print('mlflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
