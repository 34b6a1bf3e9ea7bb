"""Pods of infra/kubernetes on a real engine, confined as Kubernetes confines them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker.errors
import pytest

# The first of them waits for the images to be built.
pytestmark = [pytest.mark.slow, pytest.mark.engine, pytest.mark.timeout(1800)]

Objects = list[dict[str, Any]]

PASSWORDS = {
    "mlflow-admin": {"username": "admin", "password": "an admin's long password"},
    "mlflow-flask": {"secret-key": "0123456789abcdef0123456789abcdef"},
    "inception-mlflow-client": {"username": "inception", "password": "a step's long password"},
}


def confined(pod: dict[str, Any], secrets: dict[str, dict[str, str]], volumes: dict[str, Path]) -> dict[str, Any]:
    """What an engine is told of a pod: user, rights, memory, variables, and volumes that are folders here."""
    [container] = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    mounts = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
    scratch = [mounts[one["name"]] for one in pod["volumes"] if "emptyDir" in one]
    variables = {}
    for one in container.get("env", []):
        chosen = one.get("valueFrom", {}).get("secretKeyRef")
        variables[one["name"]] = one["value"] if chosen is None else secrets[chosen["name"]][chosen["key"]]
    words = {"command": container["args"]}
    if "command" in container:
        words["entrypoint"] = container["command"]
    return {
        **words,
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "user": f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}",
        "mem_limit": container["resources"]["limits"]["memory"].lower().removesuffix("i"),
        "tmpfs": dict.fromkeys(scratch, "mode=1777"),
        "environment": variables,
        "volumes": {str(folder): {"bind": mounts.get(name, name)} for name, folder in volumes.items()},
    }


def test_the_schedules_job_runs_confined(
    manifests: Any, prod: Objects, kfp: Any, container_engine: Any, tmp_path: Path
) -> None:
    """The image reads its files and its token, writes nothing outside /tmp, and makes the recurring run."""
    container_engine.ready(("cpu",))
    pod = manifests.named(prod, "CronJob", "inception-schedules")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    schedule = '[[schedule]]\nname = "digits"\nrecipe = "digits.toml"\nenvironment = "prod"\ncron = "0 3 * * MON"\n'
    manifests.named(prod, "ConfigMap", "inception-recipes")["data"]["schedules.toml"] = schedule
    configured = manifests.named(prod, "ConfigMap", "inception-environments")["data"]
    configured["prod.toml"] = re.sub(r'inside = "[^"]*"', f'inside = "{kfp.address}"', configured["prod.toml"])
    configs = manifests.laid_out(prod, pod, tmp_path)
    token = tmp_path / "token"
    token.mkdir()
    (token / "token").write_text("of this hour")
    kfp.token, kfp.multi_user = "of this hour", True
    said = container_engine.client.containers.run(
        "inception-cpu:latest",
        remove=True,
        stderr=True,
        network_mode="host",
        **confined(pod, {}, {"configs": configs, "token": token}),
    )
    assert "added digits" in said.decode()
    [job] = kfp.recurring_runs.values()
    assert job["service_account"] == "inception-steps"


@pytest.fixture
def network(container_engine: Any) -> Iterator[Any]:
    """A network of the engine's, in which names are resolved."""
    made = container_engine.client.networks.create("inception-test-kubernetes")
    yield made
    made.remove()


def test_mlflow_comes_up_confined(
    manifests: Any, container_engine: Any, network: Any, sockets: Path, tmp_path: Path
) -> None:
    """Migration, server, readiness and the user of the steps: job after job, as the manifests have them.

    The server refuses to start before the migration; the user's job finds it under the service's own name.
    """
    container_engine.ready(("mlflow",))
    objects = manifests.rendered(manifests.ROOT / "infra" / "local" / "kind")
    pods = {pod.labels["app.kubernetes.io/name"]: pod.spec for pod in manifests.pods(objects)}
    secrets = PASSWORDS | {"mlflow-database": {"uri": "postgresql+psycopg2://mlflow@/postgres?host=/sockets"}}
    artifacts = tmp_path / "artifacts"
    artifacts.mkdir(mode=0o777)
    artifacts.chmod(0o777)

    def run(name: str, **more: Any) -> Any:
        folders = {"/sockets": sockets, **({"artifacts": artifacts} if name == "mlflow" else {})}
        settings = confined(pods[name], secrets, folders)
        return container_engine.client.containers.run(
            "inception-mlflow:latest", network=network.name, stderr=True, **settings, **more
        )

    with pytest.raises(docker.errors.ContainerError, match="migrate"):
        run("mlflow", remove=True)
    assert b"up to date" in run("mlflow-migration", remove=True)
    server = container_engine.client.containers.create(
        "inception-mlflow:latest", **confined(pods["mlflow"], secrets, {"/sockets": sockets, "artifacts": artifacts})
    )
    try:
        network.connect(server, aliases=["mlflow.inception.svc"])
        server.start()
        probe = pods["mlflow"]["containers"][0]["readinessProbe"]["exec"]["command"]
        until = time.monotonic() + 400
        while server.exec_run(probe).exit_code != 0:
            assert time.monotonic() < until, server.logs().decode()
            time.sleep(1)
        assert b"inception" in run("mlflow-client", remove=True)
    finally:
        server.remove(force=True)
