"""What infra/kubernetes renders to is valid for Kubernetes, and as docs/kubernetes.md promises."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

Objects = list[dict[str, Any]]

OLDEST, NEWEST = "1.32", "1.37"
OF_OPERATORS = {"ExternalSecret", "SecretStore"}
"""Kinds that an operator brings along: Kubernetes' own schemas do not know them."""


def invalid(objects: Objects, version: str) -> list[str]:
    """What Kubernetes' schemas say against the objects, unknown keys included."""
    found = []
    for one in objects:
        try:
            kubernetes_validate.validate(one, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            found.append(f"{one['kind']} {one['metadata']['name']}: {error.message}")
        except kubernetes_validate.SchemaNotFoundError:
            if one["kind"] not in OF_OPERATORS:
                found.append(f"{one['kind']} is unknown")
    return found


@pytest.fixture(scope="module")
def all_components(manifests: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kustomization of the overlay `prod` and every optional component."""
    folder = tmp_path_factory.mktemp("everything")
    parts = sorted(path.name for path in manifests.COMPONENTS.iterdir() if path.name != "values")
    assert len(parts) >= 3
    lines = [
        f"resources: [{os.path.relpath(manifests.OVERLAYS / 'prod', folder)}]",
        f"components: [{', '.join(os.path.relpath(manifests.COMPONENTS / part, folder) for part in parts)}]",
        "images: [{name: inception-cpu, newName: registry.example.com/inception-cpu, newTag: 0.1.0}]",
    ]
    (folder / "kustomization.yaml").write_text("\n".join(lines))
    return folder


@pytest.fixture
def everything(manifests: Any, all_components: Path) -> Objects:
    """What it renders to."""
    rendered: Objects = manifests.rendered(all_components)
    return rendered


@pytest.mark.parametrize(("overlay", "version"), [("dev", NEWEST), ("prod", OLDEST)], indirect=["overlay"])
def test_kubernetes_accepts_every_object(objects: Objects, version: str) -> None:
    """The schemas of an old and of the newest Kubernetes know every key and find every value of its type."""
    assert invalid(objects, version) == []


def test_kubernetes_accepts_the_components(everything: Objects) -> None:
    """With the optional components `prod` is valid too, but for what their operator alone knows."""
    assert invalid(everything, NEWEST) == []


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("Deployment", ("spec", "replicaz"), 2),
        ("Deployment", ("spec", "replicas"), "two"),
        ("NetworkPolicy", ("spec", "podSelektor"), {}),
        ("CronJob", ("spec", "concurrencyPolicy"), ["Forbid"]),
        ("PodDisruptionBudget", ("apiVersion",), "policy/v1beta1"),
    ],
)
def test_kubernetes_refuses_what_is_wrong(prod: Objects, kind: str, path: tuple[str, ...], value: Any) -> None:
    """A key that does not exist, a value of another type and a version that is gone are found."""
    one = next(one for one in prod if one["kind"] == kind)
    inner = one
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    assert len(invalid([one], NEWEST)) == 1


# ---------------------------------------------------------------- the rules, kept and broken


def server(objects: Objects) -> dict[str, Any]:
    """The pod of MLflow's server."""
    found = next(one for one in objects if one["kind"] == "Deployment")
    spec: dict[str, Any] = found["spec"]["template"]["spec"]
    return spec


def container(objects: Objects) -> dict[str, Any]:
    first: dict[str, Any] = server(objects)["containers"][0]
    return first


def role(objects: Objects) -> dict[str, Any]:
    return next(one for one in objects if one["kind"] == "Role")


def first(objects: Objects, kind: str, name: str | None = None) -> dict[str, Any]:
    return next(one for one in objects if one["kind"] == kind and name in (None, one["metadata"]["name"]))


def schedules(objects: Objects) -> dict[str, Any]:
    """The pod that applies the schedules."""
    spec: dict[str, Any] = first(objects, "CronJob", "inception-schedules")["spec"]["jobTemplate"]["spec"]["template"]
    pod: dict[str, Any] = spec["spec"]
    return pod


def without(kind: str, name: str | None = None) -> Callable[[Objects], None]:
    return lambda objects: objects.remove(first(objects, kind, name))


BREACHES: dict[str, list[Callable[[Objects], Any]]] = {
    "images_are_pinned": [
        lambda objects: container(objects).update(image="registry.example.com/mlflow:latest"),
        lambda objects: container(objects).update(image="registry.example.com:5000/mlflow"),
        lambda objects: container(objects).update(image="mlflow@sha256:44"),
        lambda objects: server(objects).update(initContainers=[{"name": "x", "image": "busybox", "resources": {}}]),
    ],
    "resources_are_limited": [
        lambda objects: container(objects)["resources"].pop("limits"),
        lambda objects: container(objects)["resources"]["requests"].pop("memory"),
        lambda objects: container(objects)["resources"]["requests"].update(memory="4Gi"),
        lambda objects: schedules(objects)["containers"][0].pop("resources"),
    ],
    "nobody_is_root": [
        lambda objects: server(objects)["securityContext"].pop("runAsNonRoot"),
        lambda objects: server(objects)["securityContext"].update(runAsUser=0),
        lambda objects: container(objects)["securityContext"].update(runAsUser=0),
        lambda objects: container(objects)["securityContext"].update(privileged=True),
        lambda objects: server(objects).update(hostNetwork=True),
        lambda objects: server(objects)["volumes"].append({"name": "x", "hostPath": {"path": "/"}}),
        lambda objects: container(objects)["ports"].append({"containerPort": 1, "hostPort": 1}),
    ],
    "containers_are_confined": [
        lambda objects: server(objects)["securityContext"].pop("seccompProfile"),
        lambda objects: container(objects)["securityContext"].pop("allowPrivilegeEscalation"),
        lambda objects: container(objects)["securityContext"].update(readOnlyRootFilesystem=False),
        lambda objects: container(objects)["securityContext"].update(capabilities={"drop": ["ALL"], "add": ["X"]}),
    ],
    "tokens_stay_away": [
        lambda objects: server(objects).pop("automountServiceAccountToken"),
        lambda objects: first(objects, "ServiceAccount", "inception-mlflow").pop("automountServiceAccountToken"),
    ],
    "nothing_secret_is_written": [
        lambda objects: objects.append({"kind": "Secret", "metadata": {"name": "x"}}),
        lambda objects: container(objects)["env"].append({"name": "MLFLOW_AUTH_ADMIN_PASSWORD", "value": "x"}),
        lambda objects: container(objects)["env"].append({"name": "KFP_TOKEN", "value": "x"}),
    ],
    "references_resolve": [
        without("ServiceAccount", "inception-mlflow"),
        without("ConfigMap", "inception-recipes"),
        without("ConfigMap", "kfp-launcher"),
        without("Deployment"),
        without("Service"),
        without("Role", "inception-deploy"),
        lambda objects: server(objects).update(priorityClassName="missing"),
        lambda objects: server(objects)["volumes"].append({"name": "s", "secret": {"secretName": "missing"}}),
        lambda objects: server(objects)["volumes"].append({"name": "s", "persistentVolumeClaim": {"claimName": "x"}}),
        lambda objects: server(objects)["volumes"].clear(),
        lambda objects: container(objects)["env"][0]["valueFrom"]["secretKeyRef"].update(name="missing"),
        lambda objects: container(objects)["env"][0]["valueFrom"]["secretKeyRef"].update(key="missing"),
        lambda objects: container(objects)["env"].append({"name": "X", "value": "http://mlflow.inception.svc:5001"}),
        lambda objects: container(objects)["livenessProbe"]["httpGet"].update(port="https"),
        lambda objects: first(objects, "Service")["spec"]["ports"][0].update(targetPort="https"),
        lambda objects: first(objects, "Service")["spec"].update(selector={"app.kubernetes.io/name": "mlfow"}),
        lambda objects: first(objects, "PodDisruptionBudget")["spec"].update(selector={"matchLabels": {"a": "b"}}),
        lambda objects: first(objects, "RoleBinding", "inception-steps")["subjects"][0].update(name="missing"),
        lambda objects: first(objects, "ConfigMap", "inception-environments")["data"].pop("prod.toml"),
    ],
    "rights_are_least": [
        lambda objects: role(objects)["rules"][0].update(verbs=["*"]),
        lambda objects: role(objects)["rules"][0].update(resources=["*"]),
        lambda objects: role(objects)["rules"][0].update(apiGroups=["*"]),
        lambda objects: role(objects)["rules"][0].update(verbs=["get", "escalate"]),
        lambda objects: role(objects)["rules"].append({"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}),
        lambda objects: role(objects)["rules"].append(
            {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"], "verbs": ["get", "list"]}
        ),
        lambda objects: objects.append({"kind": "ClusterRole", "metadata": {"name": "x"}}),
    ],
    "namespaces_are_restricted": [
        without("Namespace"),
        lambda objects: first(objects, "Service")["metadata"].update(namespace="default"),
        lambda objects: first(objects, "Service")["metadata"].pop("namespace"),
        lambda objects: first(objects, "Namespace")["metadata"]["labels"].update(
            {"pod-security.kubernetes.io/enforce": "baseline"}
        ),
    ],
    "quota_is_enough": [
        lambda objects: first(objects, "ResourceQuota")["spec"]["hard"].update(pods="4"),
        lambda objects: first(objects, "ResourceQuota")["spec"]["hard"].update({"limits.memory": "6Gi"}),
        lambda objects: first(objects, "Deployment")["spec"].update(replicas=100),
    ],
    "ranges_leave_steps_alone": [
        without("LimitRange"),
        lambda objects: first(objects, "LimitRange")["spec"]["limits"][0]["default"].update(cpu="1"),
        lambda objects: first(objects, "LimitRange")["spec"]["limits"][0]["default"].update(
            {"ephemeral-storage": "1Gi"}
        ),
        lambda objects: first(objects, "LimitRange")["spec"]["limits"][0].pop("default"),
        lambda objects: first(objects, "LimitRange")["spec"]["limits"][0]["max"].update({"nvidia.com/gpu": "8"}),
    ],
    "priorities_fetch_machines": [lambda objects: first(objects, "PriorityClass").update(value=-100)],
}
"""For each rule of tests/support/manifests.py: ways to break it, each of which it must notice."""


@pytest.mark.parametrize("rule", BREACHES)
def test_an_installation_keeps_the_rules(manifests: Any, objects: Objects, rule: str) -> None:
    """Both overlays keep every rule of tests/support/manifests.py."""
    assert manifests.RULES[rule](objects) == []


@pytest.mark.parametrize("rule", BREACHES)
def test_the_components_keep_the_rules(manifests: Any, everything: Objects, rule: str) -> None:
    """The optional components break none of them."""
    assert manifests.RULES[rule](everything) == []


@pytest.mark.parametrize(
    ("rule", "number"), [(rule, number) for rule, breaches in BREACHES.items() for number in range(len(breaches))]
)
def test_a_broken_rule_is_noticed(manifests: Any, prod: Objects, rule: str, number: int) -> None:
    """Each of the changes makes an installation that kept the rule break it."""
    BREACHES[rule][number](prod)
    assert manifests.RULES[rule](prod) != []


def test_every_rule_is_broken_once(manifests: Any) -> None:
    """No rule goes without a change that it must notice."""
    assert BREACHES.keys() == manifests.RULES.keys()


# ---------------------------------------------------------------- what the overlays fill in


def test_every_value_arrives(manifests: Any, overlay: str, objects: Objects) -> None:
    """Nothing is left that an overlay was to fill in, and its values are all used and all of its own project."""
    text = manifests.rendered_text(manifests.OVERLAYS / overlay)
    assert "VALUE" not in text
    assert "inception-values" not in text
    values = yaml.safe_load((manifests.OVERLAYS / overlay / "values.yaml").read_text())["data"]
    assert [name for name, value in values.items() if value not in text] == []
    project = values["project"]
    assert [name for name, value in values.items() if "example-" in value and project not in value] == []
    assert all(project in account for account in manifests.google_accounts(objects))


def test_secrets_are_those_that_the_operator_fetches(manifests: Any, everything: Objects) -> None:
    """The component for External Secrets fetches every secret that anything here needs, under its own name."""
    fetched = {one["metadata"]["name"]: one["spec"] for one in manifests.of(everything, "ExternalSecret")}
    [store] = manifests.of(everything, "SecretStore")
    assert fetched.keys() == manifests.SECRETS.keys()
    for name, spec in fetched.items():
        assert spec["target"]["name"] == name
        assert spec["dataFrom"] == [{"extract": {"key": name}}]
        assert spec["secretStoreRef"]["name"] == store["metadata"]["name"]


NAMESPACE_MAY_SET = {"credentialSecretRef", "defaultExperimentName", "experimentDescription", "injectUserEnvVars"}
"""Settings of KFP's MLflow integration that a namespace may set: its server refuses all others."""


def test_a_namespace_says_of_mlflow_what_kfp_lets_it_say(manifests: Any, everything: Objects, prod: Objects) -> None:
    """The component for KFP's MLflow integration adds its one key to kfp-launcher, and keeps the others."""
    before, after = (manifests.named(one, "ConfigMap", "kfp-launcher")["data"] for one in (prod, everything))
    said = json.loads(after.pop("plugins.mlflow"))
    assert after == before
    assert said.keys() == {"settings"}
    assert said["settings"].keys() <= NAMESPACE_MAY_SET
    server = json.loads((manifests.COMPONENTS.parent / "kubeflow" / "mlflow-plugin.json").read_text())
    assert server["plugins"]["mlflow"]["endpoint"] == "http://mlflow.inception.svc:5000"


def test_settings_of_the_pipeline_server_fit_its_deployment(manifests: Any, prod: Objects, tmp_path: Path) -> None:
    """The component for KFP's own kustomization sets two variables of the server's container, and touches no other."""
    there = [
        {"name": "A", "value": "b"},
        {"name": "COMPILED_PIPELINE_SPEC_PATCH", "valueFrom": {"configMapKeyRef": {"name": "x", "key": "y"}}},
    ]
    template = {
        "metadata": {"labels": {"app": "ml-pipeline"}},
        "spec": {"containers": [{"name": "ml-pipeline-api-server", "image": "x:1", "env": there}]},
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "ml-pipeline", "namespace": "kubeflow"},
        "spec": {"selector": {"matchLabels": {"app": "ml-pipeline"}}, "template": template},
    }
    (tmp_path / "deployment.yaml").write_text(json.dumps(deployment))
    component = os.path.relpath(manifests.COMPONENTS.parent / "kubeflow", tmp_path)
    (tmp_path / "kustomization.yaml").write_text(f"resources: [deployment.yaml]\ncomponents: [{component}]\n")
    [one] = manifests.rendered(tmp_path)
    assert invalid([one], NEWEST) == []
    [container] = one["spec"]["template"]["spec"]["containers"]
    assert not any("valueFrom" in variable for variable in container["env"])
    variables = {variable["name"]: variable["value"] for variable in container["env"]}
    assert variables.pop("A") == "b"
    assert json.loads(variables.pop("COMPILED_PIPELINE_SPEC_PATCH")) == {
        "podPriorityClassName": manifests.of(prod, "PriorityClass")[0]["metadata"]["name"]
    }
    assert variables == {"DEFAULT_SECURITY_CONTEXT_RUN_AS_NON_ROOT": "true"}


def test_the_image_of_mlflow_knows_its_commands(
    manifests: Any, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the server's pods, jobs and probe call are commands of infra/mlflow, with arguments that these take."""
    monkeypatch.syspath_prepend(str(manifests.ROOT / "infra" / "mlflow"))
    main = importlib.import_module("inception_mlflow.__main__").main
    called = []
    for _, one in manifests.containers(objects):
        if one["image"].partition("@")[0].partition(":")[0].endswith("/inception-mlflow"):
            assert "command" not in one
            called.append(one["args"])
            called += [probe["exec"]["command"][1:] for probe in one.values() if "exec" in probe]
    assert sorted(words[0] for words in called) == ["backup", "client", "migrate", "ready", "serve"]
    for command, *arguments in called:
        assert main.commands[command].make_context(command, arguments)


def test_mlflow_takes_the_addresses_that_it_is_given(
    manifests: Any, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Server and backup accept their artifacts' address: a folder of a bucket, not its root."""
    monkeypatch.syspath_prepend(str(manifests.ROOT / "infra" / "mlflow"))
    settings = importlib.import_module("inception_mlflow.settings")
    given = {
        who: variable["value"]
        for who, one in manifests.containers(objects)
        for variable in one.get("env", [])
        if variable["name"] == settings.ARTIFACTS
    }
    assert len(given) == 2
    [address] = {*given.values()}
    monkeypatch.setenv(settings.ARTIFACTS, address)
    assert settings.artifacts() == address


def test_the_command_knows_what_the_job_of_the_schedules_says(manifests: Any, objects: Objects, overlay: str) -> None:
    """Its arguments are those of `inception schedule apply`, and it asks nobody whether it may."""
    from pipelines.commands.schedule import schedule

    pod = manifests.named(objects, "CronJob", "inception-schedules")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    group, command, *arguments = pod["containers"][0]["args"]
    assert (group, command) == ("schedule", "apply")
    context = schedule.commands[command].make_context(command, arguments)
    assert context.params["yes"]
    assert context.params["environment"] == overlay
