"""infra/local/kind: what can be said of a cluster on a laptop without one."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines import environments, schedules
from trainer import config

ROOT = Path(__file__).resolve().parents[2]
KIND = ROOT / "infra" / "local" / "kind"
Objects = list[dict[str, Any]]


@pytest.fixture
def laptop(manifests: Any, monkeypatch: pytest.MonkeyPatch) -> Objects:
    """What infra/local/kind renders to; its database's secret has one more key, and KFP its own kfp-launcher there."""
    monkeypatch.setitem(manifests.SECRETS, "mlflow-database", {"password", "uri"})
    monkeypatch.setitem(manifests.FROM_KUBEFLOW, "configmaps", {"kfp-launcher", "metadata-grpc-configmap"})
    rendered: Objects = manifests.rendered(KIND)
    return rendered


RULES = (
    "images_are_pinned",
    "resources_are_limited",
    "nobody_is_root",
    "containers_are_confined",
    "tokens_stay_away",
    "nothing_secret_is_written",
    "references_resolve",
    "rights_are_least",
    "quota_is_enough",
    "ranges_leave_steps_alone",
    "priorities_fetch_machines",
)
"""All rules but one: the namespace kubeflow is Kubeflow's own."""


@pytest.mark.parametrize("rule", RULES)
def test_the_laptop_keeps_the_rules(manifests: Any, laptop: Objects, rule: str) -> None:
    """A cluster on a laptop is no excuse: what holds for dev and prod holds there."""
    assert manifests.RULES[rule](laptop) == []


def test_kubernetes_accepts_every_object_of_the_laptop(laptop: Objects) -> None:
    """The schemas of the node's Kubernetes know every key, and nothing is left to be filled in."""
    import kubernetes_validate

    version = re.search(r"kindest/node:v(\d+\.\d+)\.\d+@sha256:[0-9a-f]{64}$", node()["image"])
    assert version is not None
    for one in laptop:
        kubernetes_validate.validate(one, version[1], strict=True)
    assert "VALUE" not in json.dumps(laptop)


def node() -> dict[str, str]:
    [found] = yaml.safe_load((KIND / "cluster.yaml").read_text())["nodes"]
    one: dict[str, str] = found
    return one


def test_the_environment_names_what_is_installed(manifests: Any, laptop: Objects) -> None:
    """Account, claim and MLflow's address in kind.toml are those of the manifests, where KFP runs the steps."""
    environment = environments.load(str(KIND / "kind.toml"), pushed=False)
    here = [one for one in laptop if one["metadata"].get("namespace") == environment.server.namespace]
    names = {(one["kind"], one["metadata"]["name"]) for one in here}
    assert ("ServiceAccount", environment.run.service_account) in names
    assert ("PersistentVolumeClaim", environment.state.claim) in names
    service = manifests.named(laptop, "Service", "mlflow")
    address = f"http://{service['metadata']['name']}.{service['metadata']['namespace']}.svc"
    assert environment.store.mlflow == f"{address}:{service['spec']['ports'][0]['port']}"
    assert environment.store.state is None
    assert environment.images.digests is not None
    assert (KIND / environment.images.digests).resolve() == ROOT / ".inception" / "kind.images.json"
    assert "> .inception/kind.images.json" in (KIND / "up.sh").read_text()


@pytest.mark.parametrize(
    ("source", "destination", "port", "allowed"),
    [
        ("step", "mlflow", 5000, True),
        ("mlflow", "postgres", 5432, True),
        ("mlflow-migration", "postgres", 5432, True),
        ("mlflow-client", "mlflow", 5000, True),
        ("mlflow-client", "postgres", 5432, False),
        ("step", "postgres", 5432, False),
        ("stranger", "mlflow", 5000, False),
    ],
)
def test_who_reaches_whom_on_the_laptop(
    policies: Any, laptop: Objects, source: str, destination: str, port: int, allowed: bool
) -> None:
    """Steps come from Kubeflow's own namespace there, and the database is a pod."""
    places = {
        name: policies.Place("inception", {"app.kubernetes.io/name": name})
        for name in ("mlflow", "mlflow-client", "mlflow-migration", "postgres")
    }
    places |= {"step": policies.Place("kubeflow", policies.RUN), "stranger": policies.Place("kubeflow", {"app": "x"})}
    assert policies.allowed(laptop, places[source], places[destination], port) == allowed


def test_the_schedule_leads_to_recipe_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """schedules.toml is valid as seen from the project's folder, where the documents call it."""
    monkeypatch.chdir(ROOT)
    [schedule] = schedules.load(KIND / "schedules.toml")
    assert environments.load(str(schedule.environment), pushed=False).name == "kind"
    assert config.load(KIND / schedule.recipe).registry.name


@pytest.mark.parametrize("part", ["crds", "server"])
def test_kubeflow_is_pinned(part: str) -> None:
    """Kubeflow Pipelines comes from a tag, which is the version of the SDK that compiles for it."""
    [address] = yaml.safe_load((KIND / "kubeflow" / part / "kustomization.yaml").read_text())["resources"]
    version = re.search(r"[?&]ref=([\d.]+)(&|$)", address)
    assert version is not None
    assert f'"kfp=={version[1]}"' in (ROOT / "pyproject.toml").read_text()


def commands(text: str) -> set[str]:
    """The lines of a shell script, or of a document's console blocks, that call one of the programs; as words."""
    lines = (line.strip() for line in re.sub(r"\\\n\s*", " ", text).splitlines())
    bare = [re.sub(r"^(\$ |if ! |kind get clusters \| grep -qx inception \|\| )", "", line) for line in lines]
    return {
        " ".join(shlex.split(line.removesuffix("; then").split(" >/dev/null")[0], comments=True))
        for line in bare
        if re.match(r"(docker|kind|kubectl|make) ", line)
    }


def test_document_and_script_say_the_same() -> None:
    """Every command of up.sh stands in docs/kind.md, word for word."""
    document = (ROOT / "docs" / "kind.md").read_text()
    blocks = "\n".join(re.findall(r"```console\n(.*?)```", document, re.DOTALL))
    script = commands((KIND / "up.sh").read_text())
    assert len(script) >= 15
    assert script - commands(blocks) == set()


STAND_IN = """#!/usr/bin/env bash
echo "$(basename "$0") $*" >> "$CALLS"
case "$(basename "$0") $*" in
  "docker images "*) printf 'latest\\n0.1.0\\n0.1.0-0123456789ab\\n' ;;
  "kubectl get secret "*) test -e "$CALLS.secrets" ;;
  "kubectl create secret "*) touch "$CALLS.secrets" ;;
  "openssl "*) echo 00ff ;;
esac
"""


def test_the_script_does_it_in_order_and_twice(tmp_path: Path) -> None:
    """With stand-ins for the programs: images by a tag of their own, secrets before who needs them, and only once."""
    script = tmp_path / "infra" / "local" / "kind" / "up.sh"
    script.parent.mkdir(parents=True)
    shutil.copy(KIND / "up.sh", script)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("docker", "kind", "kubectl", "make", "openssl"):
        (programs / name).write_text(STAND_IN)
        (programs / name).chmod(0o755)
    calls = tmp_path / "calls"
    environment = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "CALLS": str(calls)}
    lines = []
    for _ in range(2):
        subprocess.run([script], env=environment, check=True, capture_output=True)
        lines.append(calls.read_text().splitlines())
        calls.unlink()
    once, again = lines
    tag = "0.1.0-0123456789ab"
    assert any(line.startswith("kind load docker-image") and f"inception-light:{tag}" in line for line in once)
    assert json.loads((tmp_path / ".inception" / "kind.images.json").read_text()) == {
        "light": f"inception-light:{tag}",
        "cpu": f"inception-cpu:{tag}",
        "gpu": f"inception-cpu:{tag}",
    }
    secrets = [line for line in once if line.startswith("kubectl create secret")]
    assert len(secrets) == 5
    assert once.index(secrets[-1]) < once.index("kubectl apply -k infra/local/kind")
    assert once.index("kubectl apply -k infra/local/kind/kubeflow/crds") < once.index(
        "kubectl apply -k infra/local/kind/kubeflow/server"
    )
    assert not [line for line in again if line.startswith(("kubectl create secret", "openssl"))]
    assert "kubectl apply -k infra/local/kind" in again


def test_the_script_names_what_is_missing(tmp_path: Path) -> None:
    """Without one of the programs it says which, and does nothing."""
    for name in ("bash", "dirname"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    done = subprocess.run([KIND / "up.sh"], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "docker is not installed: see docs/kind.md.\n")
