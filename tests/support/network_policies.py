"""Network policies as Kubernetes means them: who may speak to whom, at which port."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

Object = dict[str, Any]
Objects = list[Object]

RUN = {"workflows.argoproj.io/workflow": "retrain-x"}
"""Argo's label of every pod of a run: drivers and steps."""
ELSEWHERE = {
    "kube-system": [{"k8s-app": "kube-dns"}, {"k8s-app": "node-local-dns"}],
    "kubeflow": [{"app": "ml-pipeline"}, {"app": "seaweedfs"}],
}
"""Pods of other namespaces that policies may name."""


@dataclass(frozen=True)
class Place:
    """A pod, by its namespace and labels, or an address."""

    namespace: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    address: str | None = None


def allowed(objects: Objects, source: Place, destination: Place, port: int, protocol: str = "TCP") -> bool:
    """Whether the policies let a connection begin: as far as the source's and the destination's own go."""
    return _passes(objects, "egress", source, destination, port, protocol) and _passes(
        objects, "ingress", destination, source, port, protocol
    )


def selecting_nothing(objects: Objects, pods: list[Place]) -> list[str]:
    """Selectors of policies that match none of these pods, nor pods of other namespaces that are known.

    A value that a selector leaves out counts as named: no pod would bear it.
    """
    found = []
    for policy in _policies(objects):
        name, namespace = policy["metadata"]["name"], policy["metadata"]["namespace"]
        candidates = [pod.labels for pod in pods if pod.namespace == namespace]
        if not _is_meant(policy["spec"]["podSelector"], candidates):
            found.append(f"{name}: {policy['spec']['podSelector']}")
        for peer in _peers(policy):
            elsewhere = peer.get("namespaceSelector", {}).get("matchLabels", {}).get("kubernetes.io/metadata.name")
            there = candidates if elsewhere is None else ELSEWHERE.get(elsewhere, [])
            if "ipBlock" not in peer and not _is_meant(peer.get("podSelector", {}), there):
                found.append(f"{name}: {peer}")
    return found


def _policies(objects: Objects) -> Objects:
    return [one for one in objects if one["kind"] == "NetworkPolicy"]


def _peers(policy: Object) -> Iterator[Object]:
    for way, side in (("egress", "to"), ("ingress", "from")):
        for rule in policy["spec"].get(way, []):
            yield from rule.get(side, [])


def _passes(objects: Objects, way: str, subject: Place, other: Place, port: int, protocol: str) -> bool:
    """Whether the policies that select `subject` let it speak to, or be spoken to by, `other`."""
    if subject.address is not None:
        return True
    there = [one for one in _policies(objects) if one["metadata"]["namespace"] == subject.namespace]
    selecting = [
        one
        for one in there
        if way.title() in one["spec"]["policyTypes"] and matches(one["spec"]["podSelector"], subject.labels)
    ]
    if not selecting:
        return True
    target = subject if way == "ingress" else other
    return any(
        _is_peer(rule, "to" if way == "egress" else "from", other, one["metadata"]["namespace"])
        and _is_port(rule, port, protocol, objects, target)
        for one in selecting
        for rule in one["spec"].get(way, [])
    )


def _is_peer(rule: Object, side: str, other: Place, namespace: str) -> bool:
    if not rule.get(side):
        return True
    for peer in rule[side]:
        if "ipBlock" in peer:
            block = peer["ipBlock"]
            if other.address is None or ip_address(other.address) not in ip_network(block["cidr"]):
                continue
            if not any(ip_address(other.address) in ip_network(one) for one in block.get("except", [])):
                return True
        elif other.address is None:
            space = {"kubernetes.io/metadata.name": other.namespace or ""}
            here = matches(peer["namespaceSelector"], space) if "namespaceSelector" in peer else (
                other.namespace == namespace
            )  # fmt: skip
            if here and matches(peer.get("podSelector", {}), other.labels):
                return True
    return False


def _is_port(rule: Object, port: int, protocol: str, objects: Objects, target: Place) -> bool:
    ports = rule.get("ports", [])
    return not ports or any(
        one.get("protocol", "TCP") == protocol and _number(one["port"], objects, target) == port for one in ports
    )


def _number(port: int | str, objects: Objects, target: Place) -> int | None:
    """A port's number; of one that is named, what the containers of the pods with these labels call so."""
    if isinstance(port, int):
        return port
    for one in objects:
        template = one.get("spec", {}).get("template", {})
        if template and template["metadata"]["labels"].items() >= target.labels.items():
            for container in template["spec"]["containers"]:
                for declared in container.get("ports", []):
                    if declared.get("name") == port:
                        return int(declared["containerPort"])
    return None


def matches(selector: Object, labels: dict[str, str]) -> bool:
    """A label selector, with all its operators."""
    wanted: dict[str, str] = selector.get("matchLabels", {})
    expressions: Objects = selector.get("matchExpressions", [])
    return wanted.items() <= labels.items() and all(_holds(one, labels) for one in expressions)


def _holds(expression: Object, labels: dict[str, str]) -> bool:
    key, operator = expression["key"], expression["operator"]
    if operator in ("Exists", "DoesNotExist"):
        return (key in labels) is (operator == "Exists")
    return (labels.get(key) in expression["values"]) is (operator == "In")


def _is_meant(selector: Object, candidates: list[dict[str, str]]) -> bool:
    """Whether a selector matches one of these, and every value that it lists is one of theirs."""
    listed = [(one["key"], value) for one in selector.get("matchExpressions", []) for value in one.get("values", [])]
    known = all(any(labels.get(key) == value for labels in candidates) for key, value in listed)
    return known and any(matches(selector, labels) for labels in candidates)
