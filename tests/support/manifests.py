"""Kubernetes objects as kustomize renders them, and what is asked of them.

A rule takes the objects of one installation and says what is wrong, a sentence for each finding; nothing wrong gives an
empty list. tests/infra breaks every rule once.
"""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[2]
OVERLAYS = ROOT / "infra" / "kubernetes" / "overlays"
COMPONENTS = ROOT / "infra" / "kubernetes" / "components"
KUBECTL = shutil.which("kubectl")

Object = dict[str, Any]
Objects = list[Object]

SECRETS = {
    "inception-mlflow-client": {"password", "username"},
    "inception-notifications": {"notifications.toml"},
    "mlflow-admin": {"password", "username"},
    "mlflow-database": {"uri"},
    "mlflow-flask": {"secret-key"},
}
"""What docs/kubernetes.md tells to create, with the keys of each."""
FROM_KUBEFLOW = {"configmaps": {"metadata-grpc-configmap"}, "secrets": {"mlpipeline-minio-artifact"}}
"""What Kubeflow puts into a namespace that it serves."""
TOKENS_MOUNTED = {"inception-steps": "Argo's executor speaks to Kubernetes"}
CLUSTER_WIDE = {"Namespace", "PriorityClass"}
UNITS = {"": Decimal(1), "m": Decimal("0.001")} | {
    unit: Decimal(2) ** (10 * power) for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti"), 1)
}


@cache
def rendered_text(folder: Path) -> str:
    """What `kubectl apply -k` would send."""
    assert KUBECTL is not None
    done = subprocess.run([KUBECTL, "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rendered(folder: Path) -> Objects:
    """The objects of an installation, the caller's own to change."""
    return copy.deepcopy(_read(folder))


@cache
def _read(folder: Path) -> Objects:
    # The loader in C: the maps hold every recipe.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return list(yaml.load_all(rendered_text(folder), loader))


def named(objects: Objects, kind: str, name: str) -> Object:
    return next(one for one in objects if one["kind"] == kind and one["metadata"]["name"] == name)


def of(objects: Objects, *kinds: str) -> Objects:
    return [one for one in objects if one["kind"] in kinds]


def google_accounts(objects: Objects) -> list[str]:
    """The accounts of Google Cloud that Kubernetes' own are bound to."""
    return [
        one["metadata"]["annotations"]["iam.gke.io/gcp-service-account"]
        for one in objects
        if one["kind"] == "ServiceAccount"
    ]


class Pod(NamedTuple):
    """A pod that one of the objects makes."""

    owner: str
    namespace: str
    labels: dict[str, str]
    spec: Object
    replicas: int

    @property
    def containers(self) -> Objects:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


def pods(objects: Objects) -> list[Pod]:
    found = []
    for one in of(objects, "CronJob", "Deployment", "Job", "StatefulSet"):
        spec = one["spec"]["jobTemplate"]["spec"] if one["kind"] == "CronJob" else one["spec"]
        template = spec["template"]
        found.append(
            Pod(
                f"{one['kind']} {one['metadata']['name']}",
                one["metadata"]["namespace"],
                template["metadata"]["labels"],
                template["spec"],
                spec.get("replicas", 1),
            )
        )
    return found


def laid_out(objects: Objects, pod: Object, folder: Path) -> Path:
    """The files of a pod's volume `configs`, as the kubelet would lay them out; returns the folder that is mounted."""
    [volume] = (one for one in pod["volumes"] if one["name"] == "configs")
    for source in volume["projected"]["sources"]:
        data = named(objects, "ConfigMap", source["configMap"]["name"])["data"]
        paths = {one["key"]: one["path"] for one in source["configMap"].get("items", [])} or {key: key for key in data}
        for key, path in paths.items():
            if key not in data and source["configMap"].get("optional"):
                continue
            file = folder / "configs" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(data[key])
    return folder / "configs"


def containers(objects: Objects) -> Iterator[tuple[str, Object]]:
    for pod in pods(objects):
        for container in pod.containers:
            yield f"{pod.owner}, {container['name']}", container


def amount(text: str) -> Decimal:
    """A Kubernetes quantity: `500m`, `2Gi`."""
    found = re.fullmatch(r"([\d.]+)(m|Ki|Mi|Gi|Ti|)", str(text))
    assert found is not None, text
    return Decimal(found[1]) * UNITS[found[2]]


# ---------------------------------------------------------------- what containers are and may do


def images_are_pinned(objects: Objects) -> list[str]:
    """Every image has a digest or a version."""
    pinned = re.compile(r"^[^@]+(@sha256:[0-9a-f]{64}|:v?\d[\w.-]*)$")
    return [f"{who}: {one['image']}" for who, one in containers(objects) if not pinned.search(one["image"])]


def resources_are_limited(objects: Objects) -> list[str]:
    """Every container asks for processors, memory and disk, and has a limit of each that is no less."""
    found = []
    for who, one in containers(objects):
        asked, limits = one.get("resources", {}).get("requests", {}), one.get("resources", {}).get("limits", {})
        for kind in ("cpu", "memory", "ephemeral-storage"):
            if kind not in asked or kind not in limits:
                found.append(f"{who}: no request or limit of {kind}")
            elif amount(asked[kind]) > amount(limits[kind]):
                found.append(f"{who}: asks for more {kind} than its limit")
    return found


def nobody_is_root(objects: Objects) -> list[str]:
    """Every pod runs as a user with a number other than 0, and touches nothing of its machine."""
    found = []
    for pod in pods(objects):
        context = pod.spec.get("securityContext", {})
        if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
            found.append(f"{pod.owner}: may be root")
        found += [f"{pod.owner}: {key}" for key in ("hostNetwork", "hostPID", "hostIPC") if pod.spec.get(key)]
        found += [f"{pod.owner}: hostPath" for volume in pod.spec.get("volumes", []) if "hostPath" in volume]
        for one in pod.containers:
            own = one.get("securityContext", {})
            if own.get("privileged") or own.get("runAsUser", 1) == 0 or own.get("runAsNonRoot") is False:
                found.append(f"{pod.owner}, {one['name']}: may be root")
            found += [f"{pod.owner}: hostPort" for port in one.get("ports", []) if "hostPort" in port]
    return found


def containers_are_confined(objects: Objects) -> list[str]:
    """No escalation, no capability, a root file system that is read-only, the runtime's own filter of system calls."""
    found = []
    for pod in pods(objects):
        if pod.spec.get("securityContext", {}).get("seccompProfile") != {"type": "RuntimeDefault"}:
            found.append(f"{pod.owner}: no seccomp profile")
        for one in pod.containers:
            own = one.get("securityContext", {})
            if own.get("allowPrivilegeEscalation") is not False:
                found.append(f"{pod.owner}, {one['name']}: may escalate")
            if own.get("readOnlyRootFilesystem") is not True:
                found.append(f"{pod.owner}, {one['name']}: writes its root file system")
            if own.get("capabilities") != {"drop": ["ALL"]}:
                found.append(f"{pod.owner}, {one['name']}: keeps capabilities")
    return found


def tokens_stay_away(objects: Objects) -> list[str]:
    """No pod is given a token for Kubernetes, and no account hands one out but the one that must."""
    found = [one.owner for one in pods(objects) if one.spec.get("automountServiceAccountToken") is not False]
    for account in of(objects, "ServiceAccount"):
        mounted = account.get("automountServiceAccountToken") is not False
        if mounted and account["metadata"]["name"] not in TOKENS_MOUNTED:
            found.append(f"ServiceAccount {account['metadata']['name']}")
    return found


def nothing_secret_is_written(objects: Objects) -> list[str]:
    """Secrets are named, never rendered; nothing that sounds like one has a value."""
    found = [f"Secret {one['metadata']['name']}" for one in of(objects, "Secret")]
    for who, one in containers(objects):
        for variable in one.get("env", []):
            if re.search(r"PASSWORD|TOKEN|SECRET|_KEY\b", variable["name"]) and "value" in variable:
                found.append(f"{who}: {variable['name']}")
    return found


# ---------------------------------------------------------------- what refers to what


def references_resolve(objects: Objects) -> list[str]:
    """Accounts, maps, secrets and their keys, claims, volumes, ports and priority classes that are named are there."""
    found = []
    for pod in pods(objects):
        found += [f"{pod.owner}: {what}" for what in _dangling(pod, objects)]
    for one in of(objects, "RoleBinding"):
        names = {("Role", one["roleRef"]["name"]), *((s["kind"], s["name"]) for s in one["subjects"])}
        found += [f"RoleBinding {one['metadata']['name']}: {kind} {name}" for kind, name in names
                  if name not in _names(objects, kind, one["metadata"]["namespace"])]  # fmt: skip
    for one in of(objects, "Role"):
        for rule in one["rules"]:
            for kind, resource in (("ConfigMap", "configmaps"), ("Secret", "secrets")):
                known = {*_names(objects, kind, one["metadata"]["namespace"]), *FROM_KUBEFLOW[resource]}
                if resource in rule["resources"]:
                    found += [f"Role: {kind} {name}" for name in rule.get("resourceNames", []) if name not in known]
    for one in of(objects, "PodDisruptionBudget", "Service"):
        selector = one["spec"]["selector"].get("matchLabels", one["spec"]["selector"])
        behind = [pod for pod in pods(objects) if selector.items() <= pod.labels.items()]
        if not behind:
            found.append(f"{one['kind']} {one['metadata']['name']}: selects nothing")
        for port in one["spec"].get("ports", []):
            if any(port["targetPort"] not in _ports(pod) for pod in behind):
                found.append(f"Service {one['metadata']['name']}: port {port['targetPort']}")
    services = {(one["metadata"]["name"], one["metadata"]["namespace"], str(port["port"]))
                for one in of(objects, "Service") for port in one["spec"]["ports"]}  # fmt: skip
    for who, one in containers(objects):
        for variable in one.get("env", []):
            for address in re.findall(r"([\w-]+)\.([\w-]+)\.svc[\w.]*:(\d+)", variable.get("value", "")):
                if address not in services:
                    found.append(f"{who}: no service at {'.'.join(address)}")
    return found


def _names(objects: Objects, kind: str, namespace: str | None) -> set[str]:
    return {
        one["metadata"]["name"]
        for one in of(objects, kind)
        if namespace is None or one["metadata"]["namespace"] == namespace
    }


def _ports(pod: Pod) -> set[Any]:
    ports = [port for one in pod.containers for port in one.get("ports", [])]
    return {port.get("name") for port in ports} | {port["containerPort"] for port in ports}


def _dangling(pod: Pod, objects: Objects) -> Iterator[str]:
    spec, volumes = pod.spec, {one["name"]: one for one in pod.spec.get("volumes", [])}
    if spec.get("serviceAccountName") not in _names(objects, "ServiceAccount", pod.namespace):
        yield f"service account {spec.get('serviceAccountName')}"
    if "priorityClassName" in spec and spec["priorityClassName"] not in _names(objects, "PriorityClass", None):
        yield f"priority class {spec['priorityClassName']}"
    for volume in volumes.values():
        if "persistentVolumeClaim" in volume:
            claim = volume["persistentVolumeClaim"]["claimName"]
            if claim not in _names(objects, "PersistentVolumeClaim", pod.namespace):
                yield f"claim {claim}"
        for source in [volume, *volume.get("projected", {}).get("sources", [])]:
            if "configMap" in source:
                yield from _missing_keys(source["configMap"], objects, pod.namespace)
            if "secret" in source and source["secret"].get("secretName", source["secret"].get("name")) not in SECRETS:
                yield f"secret {source['secret']}"
    for container in pod.containers:
        for mount in container.get("volumeMounts", []):
            if mount["name"] not in volumes:
                yield f"volume {mount['name']}"
        for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
            port = container.get(probe, {}).get("httpGet", {}).get("port")
            if port is not None and port not in _ports(pod):
                yield f"{probe} at port {port}"
        for variable in container.get("env", []):
            chosen = variable.get("valueFrom", {}).get("secretKeyRef")
            if chosen is not None and chosen["key"] not in SECRETS.get(chosen["name"], ()):
                yield f"secret {chosen['name']}, key {chosen['key']}"


def _missing_keys(source: Object, objects: Objects, namespace: str) -> Iterator[str]:
    if source["name"] not in _names(objects, "ConfigMap", namespace):
        yield f"config map {source['name']}"
        return
    if source.get("optional"):
        return
    data = named(objects, "ConfigMap", source["name"])["data"]
    yield from (f"key {one['key']} of {source['name']}" for one in source.get("items", []) if one["key"] not in data)


# ---------------------------------------------------------------- rights


def rights_are_least(objects: Objects) -> list[str]:
    """No wildcard, nothing beyond the namespace, no way to more rights, secrets and maps by name only."""
    found = [f"{one['kind']} {one['metadata']['name']}" for one in of(objects, "ClusterRole", "ClusterRoleBinding")]
    for role in of(objects, "Role"):
        for rule in role["rules"]:
            who = f"Role {role['metadata']['name']}"
            words = {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
            found += [f"{who}: {word}" for word in words & {"*", "bind", "escalate", "impersonate", "pods/exec"}]
            if {"secrets", "configmaps"} & {*rule["resources"]} and not rule.get("resourceNames"):
                found.append(f"{who}: all of {rule['resources']}")
            if "secrets" in rule["resources"] and rule["verbs"] != ["get"]:
                found.append(f"{who}: {rule['verbs']} of secrets")
    return found


def namespaces_are_restricted(objects: Objects) -> list[str]:
    """Every object lies in a namespace that is rendered too, and that admits restricted pods only."""
    spaces = {one["metadata"]["name"]: one["metadata"].get("labels", {}) for one in of(objects, "Namespace")}
    found = [
        f"{one['kind']} {one['metadata']['name']} is in {one['metadata'].get('namespace')}"
        for one in objects
        if one["kind"] not in CLUSTER_WIDE and one["metadata"].get("namespace") not in spaces
    ]
    for name, labels in spaces.items():
        for mode in ("audit", "enforce", "warn"):
            if labels.get(f"pod-security.kubernetes.io/{mode}") != "restricted":
                found.append(f"Namespace {name}: {mode}")
    return found


def quota_is_enough(objects: Objects) -> list[str]:
    """What always runs, and one of every job, fits into the quota; so does what a surge adds."""
    hard = of(objects, "ResourceQuota")[0]["spec"]["hard"]
    needed: dict[str, Decimal] = {"pods": Decimal(0), **{kind: Decimal(0) for kind in hard if "." in kind}}
    for pod in pods(objects):
        count = pod.replicas + (1 if pod.owner.startswith("Deployment") else 0)
        needed["pods"] += count
        for one in pod.containers:
            for part in ("requests", "limits"):
                for kind, asked in one["resources"].get(part, {}).items():
                    if f"{part}.{kind}" in needed:
                        needed[f"{part}.{kind}"] += count * amount(asked)
    return [f"{kind}: {hard[kind]} is less than {much}" for kind, much in needed.items() if amount(hard[kind]) < much]


def ranges_leave_steps_alone(objects: Objects) -> list[str]:
    """No default limit but of memory: a step that asks for more processors, or fills a larger folder, would suffer.

    A maximum that has no default is one, says Kubernetes: with a maximum of GPUs every container would ask for them.
    """
    limits = [limit for one in of(objects, "LimitRange") for limit in one["spec"]["limits"]]
    wrong = [
        one for one in limits if one.get("default", {}).keys() != {"memory"} or not one["max"].keys() <= {"memory"}
    ]
    return [f"LimitRange: {one}" for one in wrong] if limits else ["no limit range"]


def priorities_fetch_machines(objects: Objects) -> list[str]:
    """A pool of no nodes grows for steps: the autoscaler leaves what is below -10 alone."""
    classes = of(objects, "PriorityClass")
    return [f"PriorityClass {one['metadata']['name']}: {one['value']}" for one in classes if one["value"] < -10]


RULES: dict[str, Callable[[Objects], list[str]]] = {
    rule.__name__: rule
    for rule in (
        images_are_pinned,
        resources_are_limited,
        nobody_is_root,
        containers_are_confined,
        tokens_stay_away,
        nothing_secret_is_written,
        references_resolve,
        rights_are_least,
        namespaces_are_restricted,
        quota_is_enough,
        ranges_leave_steps_alone,
        priorities_fetch_machines,
    )
}
