"""Who may speak to whom in an installation: the policies of infra/kubernetes, as Kubernetes means them."""

from __future__ import annotations

from typing import Any

import pytest

Objects = list[dict[str, Any]]

NAMES = ("mlflow", "mlflow-backup", "mlflow-client", "mlflow-migration", "schedules", "step", "report")
DATABASE, CONTROL_PLANE, INTERNET, PRIVATE = "10.30.0.5", "172.16.0.2", "34.1.2.3", "10.0.0.7"
METADATA, METADATA_V2, DNS = "169.254.169.252", "169.254.169.254", "169.254.20.10"

ALLOWED: dict[tuple[str, int], set[str]] = {
    ("mlflow", 5000): {"mlflow-client", "step", "report", "kubeflow"},
    ("mlflow", 22): set(),
    (DATABASE, 5432): {"mlflow", "mlflow-backup", "mlflow-migration"},
    (DATABASE, 443): set(),
    ("kubeflow", 8888): {"schedules", "step", "report"},
    ("kubeflow", 8887): {"step", "report"},
    ("seaweedfs", 8333): {"step", "report"},
    ("kubeflow", 3306): set(),
    (CONTROL_PLANE, 443): {"step", "report"},
    (INTERNET, 443): {"mlflow", "mlflow-backup", "step", "report"},
    (INTERNET, 80): set(),
    (INTERNET, 587): {"report"},
    (PRIVATE, 443): set(),
    (PRIVATE, 587): set(),
    (METADATA, 988): {"mlflow", "mlflow-backup", "step", "report"},
    (METADATA_V2, 80): {"mlflow", "mlflow-backup", "step", "report"},
    ("step", 5000): set(),
    ("schedules", 5000): set(),
}
"""For each destination: all who may begin a connection to it."""


@pytest.fixture
def places(policies: Any) -> dict[str, Any]:
    """Pods and addresses, by the names of the table."""
    pod, run = policies.Place, policies.RUN
    found = {name: pod("inception", {"app.kubernetes.io/name": name}) for name in NAMES if name.startswith("mlflow")}
    found |= {
        "schedules": pod("inception", {"app.kubernetes.io/name": "inception-schedules"}),
        "step": pod("inception", {**run, "inception-step": "train"}),
        "report": pod("inception", {**run, "inception-step": "report"}),
        "kubeflow": pod("kubeflow", {"app": "ml-pipeline"}),
        "seaweedfs": pod("kubeflow", {"app": "seaweedfs"}),
        "stranger": pod("default", {"app.kubernetes.io/name": "mlflow-client", **run}),
    }
    addresses = (DATABASE, CONTROL_PLANE, INTERNET, PRIVATE, METADATA, METADATA_V2, DNS)
    return found | {address: pod(address=address) for address in addresses}


@pytest.mark.parametrize(("destination", "port"), ALLOWED)
def test_only_who_must_may_speak(
    policies: Any, objects: Objects, places: dict[str, Any], destination: str, port: int
) -> None:
    """Servers, steps and jobs reach what they need; nobody else here, and nobody from another namespace, does."""
    sources = (*NAMES, "kubeflow", "stranger") if destination in ("mlflow", "step", "schedules") else NAMES
    reached = {source for source in sources if policies.allowed(objects, places[source], places[destination], port)} - {
        destination
    }
    assert reached == ALLOWED[destination, port]


@pytest.mark.parametrize("source", NAMES)
@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
def test_everybody_may_ask_for_names(
    policies: Any, objects: Objects, places: dict[str, Any], source: str, protocol: str
) -> None:
    """Names are resolved by the cluster's server, by the cache on the node, or by Cloud DNS; nowhere else."""
    for name in ("kube-dns", "node-local-dns"):
        server = policies.Place("kube-system", {"k8s-app": name})
        assert policies.allowed(objects, places[source], server, 53, protocol)
    assert policies.allowed(objects, places[source], places[DNS], 53, protocol)
    assert policies.allowed(objects, places[source], places[METADATA_V2], 53, protocol)
    assert not policies.allowed(objects, places[source], places[INTERNET], 53, protocol)


def test_a_pod_that_nobody_thought_of_is_alone(policies: Any, objects: Objects, places: dict[str, Any]) -> None:
    """Whatever else is started in the namespace reaches Google's services and names, and nobody reaches it."""
    unknown = policies.Place("inception", {"app": "x"})
    assert not any(policies.allowed(objects, places[source], unknown, 80) for source in (*NAMES, "kubeflow"))
    assert not policies.allowed(objects, unknown, places["mlflow"], 5000)
    assert not policies.allowed(objects, unknown, places[DATABASE], 5432)
    assert policies.allowed(objects, unknown, places[INTERNET], 443)


@pytest.fixture
def known(manifests: Any, policies: Any, objects: Objects) -> list[Any]:
    """The pods that the objects make, and those of a run."""
    own = [policies.Place(pod.namespace, pod.labels) for pod in manifests.pods(objects)]
    runs = [policies.Place("inception", {**policies.RUN, "inception-step": step}) for step in ("train", "report")]
    return own + runs


def test_policies_select_what_exists(policies: Any, objects: Objects, known: list[Any]) -> None:
    """Every selector of every policy matches a pod that the installation makes, a run's, or one of KFP's or the DNS."""
    assert policies.selecting_nothing(objects, known) == []


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("mlflow", {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "mlfow"}}}),
        ("mlflow-client", {"egress": [{"to": [{"podSelector": {"matchLabels": {"app": "nobody"}}}]}]}),
        ("google", {"podSelector": {"matchExpressions": [
            {"key": "app.kubernetes.io/name", "operator": "NotIn", "values": ["long-gone"]}]}}),
        ("schedules", {"egress": [{"to": [{"namespaceSelector": {"matchLabels": {
            "kubernetes.io/metadata.name": "kubeflow"}}, "podSelector": {"matchLabels": {"app": "nobody"}}}]}]}),
    ],
)  # fmt: skip
def test_a_selector_that_misses_is_noticed(
    manifests: Any, policies: Any, objects: Objects, known: list[Any], name: str, change: dict[str, Any]
) -> None:
    """A misspelt label, a pod that is gone and one that was never there are found."""
    manifests.named(objects, "NetworkPolicy", name)["spec"].update(change)
    assert len(policies.selecting_nothing(objects, known)) == 1


@pytest.mark.parametrize(
    ("source", "destination", "port"),
    [("mlflow-client", INTERNET, 443), ("stranger", "mlflow", 5000), ("schedules", DATABASE, 5432)],
)
def test_it_is_the_policies_that_refuse(
    policies: Any, objects: Objects, places: dict[str, Any], source: str, destination: str, port: int
) -> None:
    """What is refused passes where there are no policies."""
    assert not policies.allowed(objects, places[source], places[destination], port)
    open_to_all = [one for one in objects if one["kind"] != "NetworkPolicy"]
    assert policies.allowed(open_to_all, places[source], places[destination], port)
