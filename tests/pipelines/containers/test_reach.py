"""What a step in a container is given of this machine, against real servers on this machine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipelines.containers import expect_nothing_of_kubernetes, on_images
from pipelines.containers.engine import Image
from pipelines.containers.reach import environment, mounts, over_the_bridge
from trainer import config
from trainer.errors import UsageError
from trainer.state import State

BRIDGE = "127.0.0.2"
"""Stands for the bridge's address: who listens on all addresses of this machine is reached there, 127.0.0.1 is not."""
RECIPE = Path(__file__).resolve().parents[3] / "configs" / "digits.toml"


def serving(listens: str, status: int, text: str) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

    server = ThreadingHTTPServer((listens, 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture
def server() -> Iterator[Callable[..., int]]:
    """Starts a server that answers everything alike. Returns its port."""
    running = []

    def start(listens: str = "0.0.0.0", status: int = 400, text: str = "which experiment?") -> int:
        running.append(serving(listens, status, text))
        return next(running[-1])

    yield start
    for one in running:
        next(one, None)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "somebody:word@localhost"])
def test_a_server_of_this_machine_is_reached_over_the_bridge(server: Callable[..., int], host: str) -> None:
    """Only the host of its address changes."""
    port = server()
    reached = over_the_bridge(f"http://{host}:{port}/mlflow", BRIDGE)
    assert reached == f"http://{host.replace('127.0.0.1', BRIDGE).replace('localhost', BRIDGE)}:{port}/mlflow"


@pytest.mark.parametrize("address", ["https://mlflow.example.com", "http://10.0.0.7:5000", "sqlite:////data/mlflow.db"])
def test_other_stores_keep_their_addresses(address: str) -> None:
    """What is not a server of this machine is reached by containers as it is by everybody."""
    assert over_the_bridge(address, BRIDGE) == address


def test_a_server_that_listens_on_one_address_only(server: Callable[..., int]) -> None:
    """A server at 127.0.0.1 alone is out of the containers' reach, and that is said before anything runs."""
    port = server(listens="127.0.0.1")
    with pytest.raises(UsageError, match=f"does not listen at {BRIDGE}:{port}") as error:
        over_the_bridge(f"http://127.0.0.1:{port}", BRIDGE)
    assert "--host 0.0.0.0" in error.value.remedy


def test_a_server_that_does_not_know_its_name(server: Callable[..., int]) -> None:
    """MLflow refuses those who call it by a host that is not allowed; the variable that allows it is named."""
    port = server(status=403, text="Invalid Host header - possible DNS rebinding attack detected")
    with pytest.raises(UsageError, match=f"who call it {BRIDGE}:{port}") as error:
        over_the_bridge(f"http://127.0.0.1:{port}", BRIDGE)
    assert f"MLFLOW_SERVER_ALLOWED_HOSTS=localhost:*,{BRIDGE}:{port}" in error.value.remedy


@pytest.mark.parametrize(
    ("key", "value", "read_only"),
    [
        ("data.source", "folder:PATH", True),
        ("model.init", "keras:PATH", True),
        ("resources.checkpoints", "PATH", False),
    ],
)
def test_what_a_recipe_names_is_mounted(tmp_path: Path, key: str, value: str, read_only: bool) -> None:
    """Folders and files that a recipe names are at their own paths inside, writable only where they are written to."""
    (tmp_path / "named").mkdir()
    named = str(tmp_path / "named")
    network = ("model.variant=inception_v3", "model.image_size=96")  # one that weights were published of
    recipe = config.load(str(RECIPE), (*network, f"{key}={value.replace('PATH', named)}"))
    given = mounts(recipe, State(tmp_path / "state"))
    assert {(one["Source"], one["Target"], one["ReadOnly"]) for one in given} == {
        (str(tmp_path / "state"), str(tmp_path / "state"), False),
        (named, named, read_only),
    }


def test_a_relative_path_is_mounted_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths begin where the caller is, inside as outside."""
    (tmp_path / "images").mkdir()
    monkeypatch.chdir(tmp_path)
    given = mounts(config.load(str(RECIPE), ("data.source=folder:images",)), State(tmp_path / "state"))
    assert str(tmp_path / "images") in {one["Source"] for one in given}


@pytest.mark.parametrize(
    ("variable", "read_only"),
    [("INCEPTION_STORE", False), ("INCEPTION_LEDGERS", False), ("INCEPTION_NOTIFICATIONS", True)],
)
def test_what_a_variable_names_is_mounted(
    variable: str, read_only: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ledger that is written inside a container would be gone with it."""
    if read_only:
        (tmp_path / "named").touch()
    monkeypatch.setenv(variable, str(tmp_path / "named"))
    given = mounts(config.load(str(RECIPE)), State(tmp_path / "state"))
    assert (str(tmp_path / "named"), read_only) in {(one["Source"], one["ReadOnly"]) for one in given}
    assert (tmp_path / "named").exists()
    monkeypatch.setenv(variable, "gs://b/x")
    assert len(mounts(config.load(str(RECIPE)), State(tmp_path / "state"))) == 1


def test_a_path_below_the_home_folder_is_refused(tmp_path: Path) -> None:
    """`~` is another folder inside a container."""
    with pytest.raises(UsageError, match=r"data\.source names '~/images'"):
        mounts(config.load(str(RECIPE), ("data.source=folder:~/images",)), State(tmp_path))


def test_settings_are_passed_on_and_the_shell_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are given the variables that they heed, among them secrets, and no others; HOME is in the state folder."""
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "word")
    monkeypatch.setenv("INCEPTION_LEDGERS", "gs://bucket/ledgers")
    monkeypatch.setenv("INCEPTION_GIT_COMMIT", "of the caller")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing to them")
    given = environment(None, State(tmp_path))  # type: ignore[arg-type]  # no server is named, so nobody is asked
    assert given["MLFLOW_TRACKING_PASSWORD"] == "word"
    assert given["INCEPTION_LEDGERS"] == "gs://bucket/ledgers"
    assert given["HOME"] == str(tmp_path / "cache")
    assert not {"AWS_SECRET_ACCESS_KEY", "INCEPTION_GIT_COMMIT", "PATH"} & set(given)


IMAGES = {kind: Image(kind, f"inception-{kind}:latest", f"sha256:{kind}", 1, "1", "c") for kind in ("light", "cpu")}


def test_every_step_is_on_an_image_of_this_engine_and_knows_it() -> None:
    """Image names are tags in full, training runs in `cpu` where there is no GPU, and lineage will name the image."""
    pipeline = on_images(IMAGES | {"gpu": IMAGES["cpu"]})
    executors = dict(pipeline.pipeline_spec.deployment_spec["executors"])
    assert executors["exec-train"]["container"]["image"] == "inception-cpu:latest"
    assert executors["exec-check"]["container"]["image"] == "inception-light:latest"
    for executor in executors.values():
        container = executor["container"]
        assert [dict(one) for one in container["env"]] == [
            {"name": "INCEPTION_IMAGE", "value": f"{container['image']}@{IMAGES[container['image'][10:-7]].id}"}
        ]


def test_only_python_components_run_here() -> None:
    """kfp's Docker runner may call a container that failed a success, unless its step is a Python component."""
    pipeline = on_images(IMAGES | {"gpu": IMAGES["cpu"]})
    for executor in pipeline.pipeline_spec.deployment_spec["executors"].values():
        assert "kfp.dsl.executor_main" in " ".join(executor["container"]["command"])


def test_what_would_be_ignored_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipeline with secrets and time limits is for a cluster: kfp's local runners would pass over them in silence."""
    from pipelines.environments import load
    from pipelines.fitting import fitted
    from pipelines.retrain import retrain

    monkeypatch.chdir(RECIPE.parents[1])
    with pytest.raises(UsageError, match=r"secretAsEnv.*silently ignored"):
        expect_nothing_of_kubernetes(fitted(load("prod")))
    expect_nothing_of_kubernetes(retrain)
