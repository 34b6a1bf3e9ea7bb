"""configs/environments and infra/kubernetes/overlays name the same things, and the job that applies schedules works."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines import environments
from pipelines.cli import main
from pipelines.environments import Environment, server
from pipelines.environments.steps import Steps

ROOT = Path(__file__).resolve().parents[2]
KIND = ROOT / "infra" / "local" / "kind"
Objects = list[dict[str, Any]]


def environment_of(overlay: str) -> Environment:
    return environments.load(str(ROOT / "configs" / "environments" / f"{overlay}.toml"))


def disagreements(manifests: Any, objects: Objects, environment: Environment) -> list[str]:
    """What an environment's file says, and the installation does not hold."""
    space, found = environment.server.namespace, []

    def names(kind: str) -> set[str]:
        return {one["metadata"]["name"] for one in manifests.of(objects, kind) if one["metadata"]["namespace"] == space}

    if environment.run.service_account not in names("ServiceAccount"):
        found.append(f"service account {environment.run.service_account}")
    if environment.state.claim is not None and environment.state.claim not in names("PersistentVolumeClaim"):
        found.append(f"claim {environment.state.claim}")
    for secret in environment.secrets:
        if not {*secret.variables.values()} <= manifests.SECRETS.get(secret.secret, set()):
            found.append(f"secret {secret.secret}")
        if secret.mount is not None and secret.secret not in manifests.SECRETS:
            found.append(f"secret {secret.secret}")
    services = {
        f"http://{one['metadata']['name']}.{one['metadata']['namespace']}.svc:{port['port']}"
        for one in manifests.of(objects, "Service")
        for port in one["spec"]["ports"]
    }
    if environment.store.mlflow not in services:
        found.append(f"MLflow at {environment.store.mlflow}")
    for name, step in environment.steps:
        for limits in manifests.of(objects, "ResourceQuota"):
            hard = limits["spec"]["hard"]
            if limits["metadata"]["namespace"] != space:
                continue
            if manifests.amount(step.cpu or "0") > manifests.amount(hard["requests.cpu"]):
                found.append(f"{name}: processors")
            if manifests.amount(step.memory or "0") > manifests.amount(hard["limits.memory"]):
                found.append(f"{name}: memory")
            if step.gpu is not None and step.gpu.count > int(hard["requests.nvidia.com/gpu"]):
                found.append(f"{name}: GPU")
    return found


def values(manifests: Any, overlay: str) -> dict[str, str]:
    read: dict[str, str] = yaml.safe_load((manifests.OVERLAYS / overlay / "values.yaml").read_text())["data"]
    return read


def test_an_environment_names_what_is_installed(manifests: Any, objects: Objects, overlay: str) -> None:
    """Service account, secrets with their keys, MLflow's address and what steps ask for are those of the overlay."""
    assert disagreements(manifests, objects, environment_of(overlay)) == []


def test_an_environment_keeps_its_things_where_the_overlay_does(manifests: Any, overlay: str) -> None:
    """Ledgers, pipeline root and state are in the overlay's buckets, and images come from its registry."""
    environment, own = environment_of(overlay), values(manifests, overlay)
    assert own["environment"] == environment.name
    assert environment.store.ledgers == own["ledgers"]
    assert environment.store.pipeline_root == own["pipeline-root"]
    work = own["pipeline-root"].removesuffix("/kfp")
    assert environment.store.state == f"{work}/state"
    rendered = manifests.rendered_text(manifests.OVERLAYS / overlay)
    registries = set(re.findall(r"image: (\S+)/inception-\w+[:@]", rendered))
    assert registries == {environment.images.registry}
    assert environment.images.cpu is not None
    assert environment.images.cpu.startswith(f"{environment.images.registry}/inception-cpu")


def test_backups_are_out_of_the_steps_reach(manifests: Any, overlay: str) -> None:
    """They have a bucket of their own, which no step is told of."""
    environment, own = environment_of(overlay), values(manifests, overlay)
    buckets = {address.split("/")[2] for address in environment.addresses.values() if address.startswith("gs://")}
    assert own["backups"].split("/")[2] not in buckets | {own["models"].split("/")[2]}


def test_the_job_finds_the_digests_that_were_pushed(manifests: Any, prod: Objects, tmp_path: Path) -> None:
    """Where an environment reads its images' digests from a file, that file is mounted beside it."""
    data = manifests.named(prod, "ConfigMap", "inception-environments")["data"]
    data["prod.toml"] = re.sub(r'(?m)^# (digests = "prod.images.json")', r"\1", data["prod.toml"])
    address = f"registry.example.com/inception-cpu@sha256:{7:064}"
    data["prod.images.json"] = json.dumps({"light": address, "cpu": address, "gpu": address, "mlflow": address})
    pod = manifests.named(prod, "CronJob", "inception-schedules")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    configs = manifests.laid_out(prod, pod, tmp_path)
    assert environments.load(str(configs / "environments" / "prod.toml")).images.gpu == address


def test_restricted_pods_are_asked_for(overlay: str) -> None:
    """Steps are told not to run as root: the namespace refuses them otherwise."""
    assert environment_of(overlay).run.user


@pytest.mark.parametrize(
    ("kind", "name"),
    [("ServiceAccount", "inception-steps"), ("Service", "mlflow"), ("ResourceQuota", "inception")],
)
def test_what_is_not_installed_is_noticed(manifests: Any, prod: Objects, kind: str, name: str) -> None:
    """Without one of these, or with too small a quota, environment and overlay no longer agree."""
    one = manifests.named(prod, kind, name)
    if kind == "ResourceQuota":
        one["spec"]["hard"]["requests.nvidia.com/gpu"] = "0"
    else:
        prod.remove(one)
    assert len(disagreements(manifests, prod, environment_of("prod"))) == 1


def test_an_unknown_secret_is_noticed(manifests: Any, prod: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret that the documents do not tell to create, or one without that key, is found."""
    monkeypatch.setitem(manifests.SECRETS, "inception-mlflow-client", {"username"})
    monkeypatch.delitem(manifests.SECRETS, "inception-notifications")
    found = disagreements(manifests, prod, environment_of("prod"))
    assert found == ["secret inception-mlflow-client", "secret inception-notifications"]


# ---------------------------------------------------------------- the job that applies the schedules

SCHEDULES = """
[[schedule]]
name = "digits-weekly"
recipe = "digits.toml"
environment = "{environment}"
cron = "0 3 * * MON"
"""


@pytest.fixture
def applied(
    manifests: Any, objects: Objects, overlay: str, kfp: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """The pipeline server, after the job's command ran with what is mounted, and a schedule, beside it."""
    pod = manifests.named(objects, "CronJob", "inception-schedules")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    configs = manifests.laid_out(objects, pod, tmp_path)
    mounts = {one["name"]: Path(one["mountPath"]) for one in pod["containers"][0]["volumeMounts"]}
    # Where the command looks: beside it, in the images' own folder.
    assert mounts["configs"] == Path("/srv/inception/configs")
    assert mounts["token"] / "token" == Path(server.SERVICE_ACCOUNT_TOKEN)
    monkeypatch.chdir(configs.parent)
    (configs / "schedules.toml").write_text(SCHEDULES.format(environment=overlay))
    file = configs / "environments" / f"{overlay}.toml"
    inside = environment_of(overlay).server.inside
    assert inside == "http://ml-pipeline.kubeflow.svc:8888"
    file.write_text(file.read_text().replace(inside, kfp.address))
    token = tmp_path / "token"
    token.write_text("of this hour")
    monkeypatch.setattr(server, "SERVICE_ACCOUNT_TOKEN", str(token))
    kfp.token, kfp.multi_user = "of this hour", True
    [container] = pod["containers"]
    assert container["command"] == ["inception"]
    with pytest.raises(SystemExit) as ended:
        main(container["args"])
    assert ended.value.code in (0, None)
    return kfp


RESOURCES = {"experiments": "experiments", "pipelines": "pipelines", "recurringruns": "jobs"}
"""What the API's paths are called in Kubernetes' roles."""


def right(method: str, path: str) -> tuple[str, str] | None:
    """(resource, verb) that KFP asks Kubernetes about for a request of its API; None where it asks nothing."""
    found = re.fullmatch(r"/apis/v2beta1/(\w+)(/[^/]+)?(/versions)?(/.*)?", path)
    if found is None or found[1] not in RESOURCES:
        return None
    if found[1] == "pipelines" and (found[3] or found[2] == "/upload_version"):
        return "pipelines/versions", "create" if method == "POST" else "list"
    verbs = {"POST": "create", "DELETE": "delete", "GET": "get" if found[2] else "list"}
    return RESOURCES[found[1]], verbs[method]


@pytest.mark.parametrize("overlay", ["prod", pytest.param("dev", marks=pytest.mark.slow)], indirect=True)
def test_the_schedules_job_applies_the_schedules(applied: Any, manifests: Any, objects: Objects, overlay: str) -> None:
    """Its command, files and token make the recurring run, with the steps' account, and ask for no right it lacks."""
    [job] = applied.recurring_runs.values()
    assert job["display_name"] == "digits-weekly"
    assert job["service_account"] == "inception-steps"
    assert {one["namespace"] for one in applied.experiments.values()} == {"inception"}
    asked = {right(method, path) for method, path in applied.asked} - {None}
    granted = {
        (resource, verb)
        for rule in manifests.named(objects, "Role", "inception-deploy")["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert {("jobs", "create"), ("pipelines/versions", "create")} <= asked <= granted
    [text] = applied.texts.values()
    _, platform = yaml.safe_load_all(text)
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert len(executors) == len(Steps.model_fields)
    # What the level `restricted` asks of a step; the rest of it the server adds.
    assert all(one["securityContext"]["runAsNonRoot"] for one in executors.values())


def test_all_recipes_and_environments_travel(manifests: Any, prod: Objects) -> None:
    """configs/kustomization.yaml leaves no recipe and no environment out, and Kubernetes can store the maps."""
    for name, files in {
        "inception-recipes": ROOT.glob("configs/*.toml"),
        "inception-environments": ROOT.glob("configs/environments/*.*"),
    }.items():
        data = manifests.named(prod, "ConfigMap", name)["data"]
        assert data == {file.name: file.read_text() for file in files}
        assert sum(map(len, data.values())) < 2**19


def test_terraform_prints_the_values_of_an_overlay(manifests: Any, overlay: str) -> None:
    """`terraform output overlay` has the keys of values.yaml, no more and no less: one is copied into the other."""
    text = (ROOT / "infra" / "terraform" / "modules" / "installation" / "outputs.tf").read_text()
    block = re.search(r'output "overlay" \{.*?value = \{(.*?)\n  \}', text, re.DOTALL)
    assert block is not None
    assert set(re.findall(r"(?m)^ +([\w-]+) += ", block[1])) == values(manifests, overlay).keys()
