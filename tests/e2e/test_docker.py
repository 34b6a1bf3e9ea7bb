"""The images and what runs in them, on a real Docker engine: tests/support/container_engine.py says which, and when."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.cli import INTERRUPTED
from pipelines.containers import RUN_LABEL, engine

# The first of them waits for the images to be built.
pytestmark = [pytest.mark.slow, pytest.mark.engine, pytest.mark.timeout(1800)]

ROOT = Path(__file__).resolve().parents[2]
COMMAND = str(Path(sys.executable).with_name("inception"))
BUILT = ("light", "cpu")
"""`gpu` is two minutes and 4.4 GB more, and nothing here runs in it."""
LIGHT_BYTES = 400_000_000
ENVIRONMENT = """
[server]
endpoint = "http://localhost:8888"

[images]
cpu = "registry.test/inception-cpu@sha256:{0}"
gpu = "registry.test/inception-gpu@sha256:{0}"
registry = "{1}"
digests = "here.images.json"

[state]
claim = "state"
"""


@pytest.fixture(autouse=True)
def ctrl_c_is_heard() -> Iterator[None]:
    """What a shell starts in the background ignores it, and so would everything that is started here."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def containers(container_engine: Any) -> Any:
    """An engine with the images of this code."""
    container_engine.ready(BUILT)
    return container_engine


def run(state: Path, *words: str, **variables: str) -> dict[str, Any]:
    """`inception run configs/digits.toml …`: how it ended."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "INCEPTION_", "KFP_"))}
    quick = ["--set", "train.epochs=3", "--set", "gate.threshold=0.5"]
    done = subprocess.run(
        [COMMAND, "run", "configs/digits.toml", *quick, *words, "--json", "--state", str(state)],
        cwd=ROOT,
        env=kept | variables,
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outcome: dict[str, Any] = json.loads(done.stdout)
    return outcome


def record(state: Path, outcome: dict[str, Any], step: str) -> dict[str, Any]:
    held: dict[str, Any] = json.loads((state / "runs" / outcome["run_key"] / f"{step}.json").read_text())
    return held


@pytest.fixture(scope="module")
def parity(
    containers: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any], Path, dict[str, Any]]:
    """The same run by processes and by containers, at the same time, each with its state folder."""
    folder = tmp_path_factory.mktemp("parity")
    here, there = folder / "processes", folder / "containers"
    with ThreadPoolExecutor() as both:
        by_processes, by_containers = both.submit(run, here), both.submit(run, there, "--target", "docker")
        return here, by_processes.result(), there, by_containers.result()


@pytest.mark.parametrize("kind", BUILT)
def test_an_image_is_healthy(containers: Any, kind: str) -> None:
    """Its own health command succeeds, as the user that the image names and as any other."""
    command = containers.client.images.get(f"inception-{kind}:latest").attrs["Config"]["Healthcheck"]["Test"]
    assert command[0] == "CMD-SHELL"
    said = containers.inside(kind, f"{command[1]} && id -u").split("\n")
    assert said[0].startswith("inception, version")
    assert said[1] != "0"
    assert containers.inside(kind, command[1], user="4321:4321").startswith("inception, version")


@pytest.mark.parametrize("kind", BUILT)
def test_nothing_can_be_installed_into_an_image(containers: Any, kind: str) -> None:
    """There is no pip, and the user may write into no place that Python looks at."""
    tried = "python3 -m pip 2>&1; touch $(dirname $(command -v inception))/x 2>&1; true"
    without, denied = containers.inside(kind, tried).splitlines()
    assert without.endswith("No module named pip")
    assert denied.endswith("Permission denied")


@pytest.mark.parametrize("kind", BUILT)
def test_an_image_names_what_it_was_built_of(containers: Any, kind: str) -> None:
    """Labels and environment say version and commit, and the engine knows the image by both."""
    image = containers.client.images.get(f"inception-{kind}:latest")
    [found] = [one for one in engine.images(containers.client) if one.kind == kind]
    assert image.labels["org.opencontainers.image.title"] == f"inception-{kind}"
    assert f"INCEPTION_GIT_COMMIT={found.commit}" in image.attrs["Config"]["Env"]
    assert len(found.commit.removesuffix("-dirty")) == 40
    assert f"inception-{kind}:{found.state}" in image.tags
    assert f"version {found.version}" in containers.inside(kind, "inception --version")
    listed = subprocess.run([COMMAND, "images", "list"], capture_output=True, text=True, check=True).stdout
    assert re.search(rf"inception-{kind}:latest +{re.escape(found.state)} ", listed)


def test_the_light_image_is_light(containers: Any) -> None:
    """Under 400 MB, and without TensorFlow."""
    size = containers.client.images.get("inception-light:latest").attrs["Size"]
    assert size < LIGHT_BYTES, f"{size / 1e6:.0f} MB"
    assert "No module named 'tensorflow'" in containers.inside("light", "python3 -c 'import tensorflow' 2>&1 || true")


def test_processes_and_containers_come_to_the_same(parity: tuple[Path, Any, Path, Any]) -> None:
    """Same work, same data, same division of it, same network, same verdict."""
    here, by_processes, there, by_containers = parity
    assert by_containers["run_key"] == by_processes["run_key"]
    for key in ("result", "model", "version", "champion"):
        assert by_containers[key] == by_processes[key], key
    found = [record(state, outcome, "check") for state, outcome in ((here, by_processes), (there, by_containers))]
    assert found[0]["fingerprint"] == found[1]["fingerprint"]
    trained = [record(state, outcome, "train") for state, outcome in ((here, by_processes), (there, by_containers))]
    assert trained[0]["parameters"] == trained[1]["parameters"] > 0
    divided = [np.load(at / "runs" / by_processes["run_key"] / "identities.npz") for at in (here, there)]
    assert divided[0].files == divided[1].files != []
    for split in divided[0].files:
        np.testing.assert_array_equal(divided[0][split], divided[1][split])


def test_what_containers_write_belongs_to_the_caller(parity: tuple[Path, Any, Path, Any]) -> None:
    """Nothing in the state folder is somebody else's, and no container and none of kfp's files is left over."""
    _, _, state, _ = parity
    assert {path.stat().st_uid for path in state.rglob("*")} == {os.getuid()}
    assert list((state / "kfp").iterdir()) == []


def test_lineage_names_commit_and_image(parity: tuple[Path, Any, Path, Any], containers: Any) -> None:
    """A version that was trained in a container is traced back to the image that trained it."""
    _, _, state, outcome = parity
    lineage = record(state, outcome, "train")["lineage"]
    image = containers.client.images.get("inception-cpu:latest")
    assert lineage["image_digest"].endswith(image.id)
    assert lineage["git_commit"] == image.labels[engine.COMMIT_LABEL]


def test_containers_continue_what_processes_began(parity: tuple[Path, Any, Path, Any]) -> None:
    """On the state folder of the processes, containers find the same work done and skip it: one store, one run key."""
    here, _, _, _ = parity
    again = run(here, "--target", "docker")
    assert again["result"] == "skipped"
    assert "Nothing changed" in again["reason"]


def test_containers_reach_a_server_of_this_machine(containers: Any, open_mlflow_server: str, tmp_path: Path) -> None:
    """With MLFLOW_TRACKING_URI at this machine's own server, model and version are there, and no store is made here."""
    from mlflow import MlflowClient

    outcome = run(
        tmp_path / "state", "--set", "train.epochs=1", "--target", "docker", MLFLOW_TRACKING_URI=open_mlflow_server
    )
    assert outcome["result"] == "promoted"
    champion = MlflowClient(open_mlflow_server).get_model_version_by_alias("digits", "champion")
    assert champion.version == outcome["version"]
    assert not (tmp_path / "state" / "mlflow.db").exists()


def test_what_stops_a_run_leaves_no_container_and_the_next_goes_on(containers: Any, tmp_path: Path) -> None:
    """Ctrl-C reaches the training, which keeps its place; a container that is killed is a failure that says so."""
    words = ["--set", "train.epochs=30", "--set", "gate.threshold=0.5", "--target", "docker"]
    command = [COMMAND, "run", "configs/digits.toml", *words, "--state", str(tmp_path / "state")]

    def left() -> list[Any]:
        """The run's containers: those that have its state folder."""
        found = containers.client.containers.list(all=True, filters={"label": RUN_LABEL})
        return [one for one in found if str(tmp_path) in str(one.attrs["Mounts"])]

    def stopped(epoch: int, stop: Callable[[subprocess.Popen[str]], None]) -> tuple[int, str]:
        """Status, and what is said after the beginning of an epoch was seen and `stop` was called."""
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(f"epoch {epoch}/"):
                stop(process)
                break
        said = process.communicate(timeout=120)[0]
        return process.returncode, said

    assert stopped(2, lambda process: process.send_signal(signal.SIGINT))[0] == INTERRUPTED
    assert left() == []
    status, said = stopped(5, lambda _: left()[0].kill())
    assert status == 1
    assert "stopped without a word" in said
    assert left() == []
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)
    assert again.returncode == 0, again.stderr
    assert "resuming after epoch" in again.stdout


def test_a_registry_takes_an_image(containers: Any, image_registry: Any, tmp_path: Path) -> None:
    """The real engine pushes the real image; the address that is written is its manifest's, and is what is compiled."""
    registry = f"{image_registry.address}/team{uuid.uuid4().hex[:8]}"
    environment = tmp_path / "here.toml"
    environment.write_text(ENVIRONMENT.format("0" * 64, registry))
    there = ["--environment", str(environment)]
    done = subprocess.run([COMMAND, "images", "push", "light", *there], capture_output=True, text=True, check=False)
    try:
        assert done.returncode == 0, done.stderr
        address = json.loads((tmp_path / "here.images.json").read_text())["light"]
        manifest = image_registry.manifest(address)
        assert all(layer["digest"] in image_registry.blobs for layer in manifest["layers"])
        words = [COMMAND, "compile", "configs/digits.toml", *there]
        compiled = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert compiled.count(f"image: {address}\n") == 4
    finally:
        for tag in containers.client.images.get("inception-light:latest").tags:
            if tag.startswith(registry):
                containers.client.images.remove(tag)


def test_a_registry_refuses_an_image(containers: Any, image_registry: Any, tmp_path: Path) -> None:
    """The registry's own reason is told."""
    image_registry.refuses = 403
    words = ["images", "push", "light", "--registry", f"{image_registry.address}/team", "-o", str(tmp_path / "x.json")]
    done = subprocess.run([COMMAND, *words], capture_output=True, text=True, check=False)
    tag = f"{image_registry.address}/team/inception-light"
    for one in containers.client.images.list(tag):
        for name in one.tags:
            containers.client.images.remove(name) if name.startswith(tag) else None
    assert done.returncode == 1
    assert "denied" in done.stderr
