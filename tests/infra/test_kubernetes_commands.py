"""Commands of docs/kubernetes.md and docs/kind.md that kubectl can be asked about without a cluster."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
LOCAL = r"kubectl create (secret|namespace|rolebinding) "
PRELUDE = "database=1 client=2 namespace=kubeflow; set -euo pipefail; "


def creations(document: str) -> list[str]:
    """The commands of a document that make something of nothing, as one line each."""
    text = re.sub(r" *\\\n *", " ", (ROOT / "docs" / document).read_text())
    blocks = "\n".join(re.findall(r"```console\n(.*?)```", text, re.DOTALL))
    lines = (line.strip().removeprefix("$ ") for line in blocks.splitlines())
    return [line.partition(" | ")[0] for line in lines if re.match(LOCAL, line)]


def made(manifests: Any, commands: list[str], folder: Path) -> list[dict[str, Any]]:
    """What the commands would make."""
    (folder / "notifications.toml").write_text("")
    script = PRELUDE + "; echo ---; ".join(
        f"{command.removesuffix('--dry-run=client --output=yaml')} --dry-run=client --output=yaml"
        for command in commands
    )
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, input="postgresql://", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@pytest.fixture(params=["kubernetes.md", "kind.md"])
def objects_of_the_document(request: pytest.FixtureRequest, manifests: Any, tmp_path: Path) -> list[dict[str, Any]]:
    return made(manifests, creations(request.param), tmp_path)


def test_the_documents_make_every_secret(manifests: Any, objects_of_the_document: list[dict[str, Any]]) -> None:
    """Their commands are kubectl's, and make the secrets that pods name, with their keys, where the pods are."""
    secrets = {one["metadata"]["name"]: one for one in objects_of_the_document if one["kind"] == "Secret"}
    needed = manifests.SECRETS.keys() - {"inception-notifications"}
    assert needed <= secrets.keys() <= manifests.SECRETS.keys()
    for name, one in secrets.items():
        assert manifests.SECRETS[name] <= one["data"].keys()
        assert one["metadata"]["namespace"] in ("inception", "kubeflow")


def test_a_command_that_kubectl_does_not_know_is_noticed(manifests: Any, tmp_path: Path) -> None:
    """A misspelt option fails."""
    with pytest.raises(AssertionError, match="unknown flag"):
        made(manifests, ["kubectl create secret generic x --namespase inception"], tmp_path)


def test_the_document_sets_what_the_component_sets() -> None:
    """The command for a pipeline server that is there already says the same as infra/kubernetes/kubeflow."""
    text = re.sub(r" *\\\n *", " ", (ROOT / "docs" / "kubernetes.md").read_text())
    [line] = re.findall(r"\$ (kubectl set env .*)", text)
    words = shlex.split(line)
    said = dict(word.split("=", 1) for word in words if re.match(r"[A-Z_]+=", word))
    component = yaml.safe_load((ROOT / "infra" / "kubernetes" / "kubeflow" / "kustomization.yaml").read_text())
    [patch] = (yaml.safe_load(one["patch"]) for one in component["patches"])
    [container] = patch["spec"]["template"]["spec"]["containers"]
    assert said == {one["name"]: one["value"] for one in container["env"]}
    assert {f"deployment/{patch['metadata']['name']}", container["name"]} <= {*words}


APPLIED = re.compile(r"kubectl (?:apply|diff|delete|kustomize) (?:-k )?(infra/\S+)")


@pytest.mark.parametrize("document", ["docs/kubernetes.md", "docs/kind.md", "infra/local/kind/up.sh"])
def test_folders_that_are_applied_are_kustomizations(document: str) -> None:
    """Every folder that a document or the script applies has a kustomization."""
    named = APPLIED.findall((ROOT / document).read_text())
    assert named
    assert [folder for folder in named if not (ROOT / folder / "kustomization.yaml").is_file()] == []


JOBS = re.compile(
    r"(?:--from=cronjob|job|deployment)/([a-z-]+)|delete job --namespace \S+ --ignore-not-found ([a-z -]+)"
)
THEIRS = {"ml-pipeline"}


@pytest.mark.parametrize("document", ["kubernetes.md", "kind.md"])
def test_jobs_and_deployments_in_the_documents_exist(manifests: Any, document: str) -> None:
    """What their commands wait for, start, delete and restart is rendered, or was started by one of them."""
    text = (ROOT / "docs" / document).read_text()
    folders = [manifests.OVERLAYS / "prod", ROOT / "infra" / "local" / "kind"]
    known = {
        one["metadata"]["name"]
        for folder in folders
        for one in manifests.of(manifests.rendered(folder), "CronJob", "Deployment", "Job")
    }
    started = set(re.findall(r'--from=cronjob/\S+ "?([a-z-]+)', text))
    named = {name for pair in JOBS.findall(text) for words in pair for name in words.split()}
    assert len(named) >= 3
    assert named - known - THEIRS <= started
