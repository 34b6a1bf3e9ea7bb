"""The images and what runs in them, on a real Docker engine.

Where an engine answers and has images of this code, they are used. With INCEPTION_TEST_DOCKER=1 an engine is started
and the images are built first, which takes minutes; what was started is stopped. Else these tests are skipped.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.cli import INTERRUPTED
from pipelines.containers import RUN_LABEL, engine
from trainer.check import code_digest
from trainer.errors import UsageError

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT.parent / "shared" / "tools"
COMMAND = str(Path(sys.executable).with_name("inception"))
SWITCH = "INCEPTION_TEST_DOCKER"
BUILT = ("light", "cpu")
"""`gpu` is two minutes and 4.4 GB more, and nothing here runs in it."""
LIGHT_BYTES = 400_000_000


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """An engine with the images of this code."""
    started = False
    try:
        if not answers():
            if os.environ.get(SWITCH) != "1":
                pytest.skip(f"no Docker engine answers; {SWITCH}=1 starts one")
            if not TOOLS.exists():
                pytest.skip("no Docker engine answers, and there is no tool to start one with")
            subprocess.run([TOOLS / "docker-up"], check=True, capture_output=True)
            started = True
        with engine.opened() as client:
            ready(client)
            yield client
    finally:
        if started:
            subprocess.run([TOOLS / "docker-down"], check=True, capture_output=True)


def answers() -> bool:
    try:
        with engine.opened():
            return True
    except UsageError:
        return False


def ready(client: Any) -> None:
    """See that the images hold this code; build them, or skip."""
    if os.environ.get(SWITCH) == "1":
        if TOOLS.exists():
            subprocess.run([TOOLS / "base-image"], check=True, capture_output=True)
        subprocess.run(["make", "images", f"IMAGES={' '.join(BUILT)}"], cwd=ROOT, check=True, capture_output=True)
    there = {image.kind: image for image in engine.images(client)}
    if not set(BUILT) <= set(there):
        pytest.skip(f"the engine has no images of this project; {SWITCH}=1 builds them")
    for kind in BUILT:
        held = inside(client, kind, "python3 -c 'from trainer.check import code_digest; print(code_digest())'")
        if held.strip() != code_digest():
            pytest.skip(f"the image {kind} was built of other code; {SWITCH}=1 builds it anew")


def inside(client: Any, kind: str, command: str, **settings: Any) -> str:
    """What a command in an image prints."""
    said: bytes = client.containers.run(f"inception-{kind}:latest", ["sh", "-c", command], remove=True, **settings)
    return said.decode()


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
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outcome: dict[str, Any] = json.loads(done.stdout)
    return outcome


def record(state: Path, outcome: dict[str, Any], step: str) -> dict[str, Any]:
    held: dict[str, Any] = json.loads((state / "runs" / outcome["run_key"] / f"{step}.json").read_text())
    return held


@pytest.fixture(scope="module")
def parity(client: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], Path, dict[str, Any]]:
    """The same run by processes and by containers, each with its state folder."""
    folder = tmp_path_factory.mktemp("parity")
    here, there = folder / "processes", folder / "containers"
    return here, run(here), there, run(there, "--target", "docker")


@pytest.mark.parametrize("kind", BUILT)
def test_an_image_is_healthy(client: Any, kind: str) -> None:
    """Its own health command succeeds, as the user that the image names and as any other."""
    command = client.images.get(f"inception-{kind}:latest").attrs["Config"]["Healthcheck"]["Test"]
    assert command[0] == "CMD-SHELL"
    assert inside(client, kind, command[1]).startswith("inception, version")
    assert inside(client, kind, "id -u").strip() != "0"
    assert inside(client, kind, command[1], user="4321:4321").startswith("inception, version")


@pytest.mark.parametrize("kind", BUILT)
def test_nothing_can_be_installed_into_an_image(client: Any, kind: str) -> None:
    """There is no pip, and the user may write into no place that Python looks at."""
    assert inside(client, kind, "python3 -m pip 2>&1 || true").strip().endswith("No module named pip")
    assert inside(client, kind, 'touch "$(dirname "$(command -v inception)")/x" 2>&1 || true').endswith("denied\n")


def test_the_light_image_is_light(client: Any) -> None:
    """Under 400 MB, and without TensorFlow."""
    size = client.images.get("inception-light:latest").attrs["Size"]
    assert size < LIGHT_BYTES, f"{size / 1e6:.0f} MB"
    assert "No module named 'tensorflow'" in inside(client, "light", "python3 -c 'import tensorflow' 2>&1 || true")


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
    assert divided[0].files == divided[1].files
    for split in divided[0].files:
        np.testing.assert_array_equal(divided[0][split], divided[1][split])


def test_what_containers_write_belongs_to_the_caller(parity: tuple[Path, Any, Path, Any]) -> None:
    """Nothing in the state folder is somebody else's, and no container and none of kfp's files is left over."""
    _, _, state, _ = parity
    assert {path.stat().st_uid for path in state.rglob("*")} == {os.getuid()}
    assert list((state / "kfp").iterdir()) == []


def test_lineage_names_commit_and_image(parity: tuple[Path, Any, Path, Any], client: Any) -> None:
    """A version that was trained in a container is traced back to the image that trained it."""
    _, _, state, outcome = parity
    lineage = record(state, outcome, "train")["lineage"]
    image = client.images.get("inception-cpu:latest")
    assert lineage["image_digest"].endswith(image.id)
    assert lineage["git_commit"] == image.labels[engine.COMMIT_LABEL]


def test_containers_continue_what_processes_began(parity: tuple[Path, Any, Path, Any]) -> None:
    """On the state folder of the processes, containers find the same work done and skip it: one store, one run key."""
    here, _, _, _ = parity
    again = run(here, "--target", "docker")
    assert again["result"] == "skipped"
    assert "Nothing changed" in again["reason"]


def test_containers_reach_a_server_of_this_machine(client: Any, open_mlflow_server: str, tmp_path: Path) -> None:
    """With MLFLOW_TRACKING_URI at this machine's own server, model and version are there, and no store is made here."""
    from mlflow import MlflowClient

    outcome = run(
        tmp_path / "state", "--set", "train.epochs=1", "--target", "docker", MLFLOW_TRACKING_URI=open_mlflow_server
    )
    assert outcome["result"] == "promoted"
    champion = MlflowClient(open_mlflow_server).get_model_version_by_alias("digits", "champion")
    assert champion.version == outcome["version"]
    assert not (tmp_path / "state" / "mlflow.db").exists()


def test_ctrl_c_stops_the_container_and_the_next_run_goes_on(client: Any, tmp_path: Path) -> None:
    """An interrupt reaches the training, which keeps its place; no container is left running."""
    words = ["--set", "train.epochs=30", "--set", "gate.threshold=0.5", "--target", "docker"]
    command = [COMMAND, "run", "configs/digits.toml", *words, "--state", str(tmp_path / "state")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("epoch 2/"):
            process.send_signal(signal.SIGINT)
            break
    process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED
    assert client.containers.list(all=True, filters={"label": RUN_LABEL}) == []
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert again.returncode == 0, again.stderr
    assert "resuming after epoch" in again.stdout


def test_a_registry_takes_an_image(client: Any, image_registry: Any, tmp_path: Path) -> None:
    """The real engine pushes the real image, and the address that is written leads to its manifest there."""
    file = tmp_path / "images.json"
    registry = f"{image_registry.address}/team{uuid.uuid4().hex[:8]}"
    words = ["images", "push", "light", "--registry", registry, "-o", str(file)]
    done = subprocess.run([COMMAND, *words], capture_output=True, text=True, check=False)
    try:
        assert done.returncode == 0, done.stderr
        address = json.loads(file.read_text())["light"]
        manifest = image_registry.manifest(address)
        assert all(layer["digest"] in image_registry.blobs for layer in manifest["layers"])
    finally:
        for tag in client.images.get("inception-light:latest").tags:
            if tag.startswith(registry):
                client.images.remove(tag)


def test_a_registry_refuses_an_image(client: Any, image_registry: Any, tmp_path: Path) -> None:
    """The registry's own reason is told."""
    image_registry.refuses = 403
    words = ["images", "push", "light", "--registry", f"{image_registry.address}/team", "-o", str(tmp_path / "x.json")]
    done = subprocess.run([COMMAND, *words], capture_output=True, text=True, check=False)
    tag = f"{image_registry.address}/team/inception-light"
    for one in client.images.list(tag):
        for name in one.tags:
            client.images.remove(name) if name.startswith(tag) else None
    assert done.returncode == 1
    assert "denied" in done.stderr
