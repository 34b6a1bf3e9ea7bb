"""What Terraform itself says of the files: validated, planned and applied against providers of the tests' own.

Nothing is downloaded and nothing is made. The stand-in providers (tests/support/) know the schema of the real one, so
that an argument, a block, a type or a reference that does not exist is an error here too.
"""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import terraform_provider
import yaml

ROOT = Path(__file__).resolve().parents[2]
TERRAFORM = ROOT / "infra" / "terraform"
SUPPORT = ROOT / "tests" / "support"
ENVIRONMENTS = ["dev", "prod"]
WITH_TESTS = sorted(path.parent.relative_to(TERRAFORM).as_posix() for path in TERRAFORM.glob("modules/*/tests"))
MUTATIONS = [
    ("modules/buckets/main.tf", "uniform_bucket_level_access = true", "uniform_access = true", "Unsupported argument"),
    ("modules/buckets/main.tf", "soft_delete_policy {", "soft_delete {", "Unsupported block type"),
    ("modules/database/main.tf", "tier   ", "tear   ", "Missing required argument"),
    ("modules/network/main.tf", "private_ip_google_access = true", 'private_ip_google_access = "on"', "a bool is"),
    (
        "modules/cluster/main.tf",
        "google_service_account.nodes.email",
        "google_service_account.node.email",
        "undeclared",
    ),
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not on the path"),
]


@dataclass(frozen=True)
class Terraform:
    """The program, on a copy of the files."""

    files: Path
    variables: dict[str, str]

    def __call__(self, folder: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["terraform", f"-chdir={self.files / folder}", *arguments],
            env=os.environ | self.variables,
            capture_output=True,
            text=True,
            check=False,
        )

    def initialised(self, folder: str) -> None:
        done = self(folder, "init", "-backend=false", "-input=false", "-no-color")
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def terraform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terraform]:
    files = tmp_path_factory.mktemp("terraform") / "terraform"
    shutil.copytree(TERRAFORM, files, ignore=shutil.ignore_patterns(".terraform*", "*.tfvars", "*.tfstate*"))
    settings = files.parent / "terraformrc"
    settings.write_text("")
    with terraform_provider.serving(SUPPORT / "google_provider.json") as variables:
        yield Terraform(files, variables | {"TF_CLI_CONFIG_FILE": str(settings)})


@dataclass(frozen=True)
class Planned:
    """What an environment would be made of."""

    resources: dict[str, dict[str, Any]]
    """By address without the outermost module: as far as it is known before anything is made."""
    outputs: dict[str, Any]
    """Once everything was made."""
    state: dict[str, dict[str, Any]]
    """All that Terraform would keep, by address likewise; what a cloud would say is made up."""

    def of(self, type_: str) -> dict[str, dict[str, Any]]:
        return {address: one for address, one in self.resources.items() if f".{type_}." in f".{address}"}

    def one(self, type_: str) -> dict[str, Any]:
        [found] = self.of(type_).values()
        return found


def kept(module: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Address and values of every resource of a module and of those in it."""
    for one in module.get("resources", []):
        yield one["address"].removeprefix("module.installation."), one["values"]
    for inner in module.get("child_modules", []):
        yield from kept(inner)


@pytest.fixture(scope="module")
def planned(terraform: Terraform) -> dict[str, Planned]:
    """Both environments, planned and applied by their own tests."""
    found = {}
    for name in ENVIRONMENTS:
        terraform.initialised(f"envs/{name}")
        valid = terraform(f"envs/{name}", "validate", "-no-color")
        assert valid.returncode == 0, valid.stderr
        done = terraform(f"envs/{name}", "test", "-json", "-verbose")
        assert done.returncode == 0, done.stdout
        said = {one["type"]: one for line in done.stdout.splitlines() if (one := json.loads(line))}
        state = said["test_state"]["test_state"]
        found[name] = Planned(
            {
                one["address"].removeprefix("module.installation."): one["change"]["after"]
                for one in said["test_plan"]["test_plan"]["resource_changes"]
            },
            {key: one["value"] for key, one in state["outputs"].items()},
            dict(kept(state["root_module"])),
        )
    return found


@pytest.fixture(params=ENVIRONMENTS)
def plan(request: pytest.FixtureRequest, planned: dict[str, Planned]) -> Planned:
    return planned[request.param]


@pytest.mark.parametrize("folder", WITH_TESTS)
def test_terraforms_own_tests_pass(terraform: Terraform, folder: str) -> None:
    """A module by itself is valid, and what its .tftest.hcl files say of it is so."""
    terraform.initialised(folder)
    valid = terraform(folder, "validate", "-no-color")
    assert valid.returncode == 0, valid.stderr
    tested = terraform(folder, "test", "-no-color")
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "Success! 0 passed" not in tested.stdout


@pytest.mark.parametrize(("file", "right", "wrong", "said"), MUTATIONS)
def test_the_schema_is_looked_at(terraform: Terraform, file: str, right: str, wrong: str, said: str) -> None:
    """An argument, block, type or reference that does not exist is found, by the stand-in as by the real provider."""
    path = terraform.files / file
    text = path.read_text(encoding="utf-8")
    assert right in text
    terraform.initialised("envs/dev")
    try:
        path.write_text(text.replace(right, wrong), encoding="utf-8")
        done = terraform("envs/dev", "validate", "-no-color")
    finally:
        path.write_text(text, encoding="utf-8")
    assert done.returncode == 1
    assert said in done.stderr


def test_the_schema_is_of_the_version_that_is_pinned() -> None:
    """What the stand-in knows was read from the bindings of the very version that the environments ask for."""
    known = json.loads((SUPPORT / "google_provider.json").read_text(encoding="utf-8"))["version"]
    for name in ENVIRONMENTS:
        assert f'version = "{known}"' in (TERRAFORM / "envs" / name / "versions.tf").read_text(encoding="utf-8")


def test_no_secret_is_kept(plan: Planned) -> None:
    """No password that was made is in the plan or in the state; the arguments that carry them are written only."""
    assert terraform_provider.PASSWORD not in json.dumps([plan.state, plan.resources, plan.outputs])
    assert all(one.get("secret_data") is None for one in plan.of("google_secret_manager_secret_version").values())
    assert len(plan.of("google_secret_manager_secret_version")) == 4


@pytest.mark.parametrize(
    ("bucket", "versioned", "soft_delete_days", "deleted"),
    [
        ("data", True, 30, [("days_since_noncurrent_time", 90)]),
        ("work", False, 7, [("age", 90)]),
        ("models", True, 90, [("days_since_noncurrent_time", 90)]),
        ("ledgers", True, 90, []),
        ("backups", True, 30, [("age", 180), ("days_since_noncurrent_time", 30)]),
    ],
)
def test_a_bucket_keeps_what_it_should(
    plan: Planned, bucket: str, versioned: bool, soft_delete_days: int, deleted: list[tuple[str, int]]
) -> None:
    """Versions, soft deletion and what is deleted by itself are as in the documents, and nothing of a ledger is."""
    found = plan.resources[f'module.buckets.google_storage_bucket.this["{bucket}"]']
    assert found["versioning"] == [{"enabled": versioned}]
    assert found["soft_delete_policy"][0]["retention_duration_seconds"] == soft_delete_days * 86400
    rules = [rule for rule in found["lifecycle_rule"] if rule["action"][0]["type"] == "Delete"]
    assert [(key, rule["condition"][0][key]) for rule, (key, _) in zip(rules, deleted, strict=True)] == deleted
    # Old versions go by days of their own.
    assert [rule["condition"][0]["with_state"] for rule in rules] == [
        "LIVE" if key == "age" else "ARCHIVED" for key, _ in deleted
    ]


def test_rights_are_the_least(plan: Planned) -> None:
    """Who may do what with which bucket is this table; on the project, only the nodes have a right."""
    accounts = {
        one["member"]: one["account_id"] for address, one in plan.state.items() if ".google_service_account." in address
    }
    granted = {
        (accounts.get(one["member"], one["member"].rpartition("/")[2]), one["role"].rpartition(".")[2], one["bucket"])
        for address, one in plan.state.items()
        if ".google_storage_bucket_iam_member." in address
    }
    assert {(who, may, bucket.rpartition("-")[2]) for who, may, bucket in granted} == {
        ("inception-steps", "objectViewer", "data"),
        ("inception-steps", "objectUser", "work"),
        ("inception-steps", "objectUser", "ledgers"),
        ("inception-mlflow", "objectUser", "models"),
        ("inception-mlflow", "objectViewer", "ledgers"),
        ("inception-mlflow", "objectCreator", "backups"),
        ("inception-mlflow", "objectViewer", "backups"),
        ("ml-pipeline-ui", "objectViewer", "work"),
    }
    nodes = plan.state["module.cluster.google_project_iam_member.nodes"]
    assert (accounts[nodes["member"]], nodes["role"]) == (
        "inception-nodes",
        "roles/container.defaultNodeServiceAccount",
    )
    assert len(plan.of("google_project_iam_member")) == 1
    assert not [address for address in plan.resources if "_iam_binding." in address or "_iam_policy." in address]


def test_nobody_can_change_a_backup(plan: Planned) -> None:
    """What the server's account has written it can read, not overwrite or delete; steps cannot even read it."""
    roles = {
        one["role"]
        for address, one in plan.state.items()
        if ".google_storage_bucket_iam_member." in address and one["bucket"].endswith("-inception-backups")
    }
    # Of Google's roles for objects, these two have no storage.objects.delete, which overwriting asks for too.
    assert roles == {"roles/storage.objectCreator", "roles/storage.objectViewer"}


def test_a_google_account_is_that_of_the_kubernetes_account_of_its_name(plan: Planned) -> None:
    """Workload identity binds each account to the one of its name in the namespace, and to no other."""
    bound = plan.of("google_service_account_iam_member")
    assert len(bound) == 3
    for address, one in bound.items():
        name = address.split('"')[1]
        assert one["role"] == "roles/iam.workloadIdentityUser"
        assert one["member"].endswith(f".svc.id.goog[inception/{name}]")
        assert plan.resources[f'module.identities.google_service_account.workloads["{name}"]']["account_id"] == name


def test_the_gpu_pool_begins_at_none(plan: Planned) -> None:
    """No GPU node stands when nothing trains; what does not ask for a GPU is kept off it."""
    pool = plan.resources['module.cluster.google_container_node_pool.this["gpu"]']
    [node] = pool["node_config"]
    assert pool["initial_node_count"] == pool["autoscaling"][0]["total_min_node_count"] == 0
    assert node["taint"] == [{"key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE"}]
    assert node["guest_accelerator"][0]["count"] == 1
    assert node["spot"] is True


def test_other_pools_take_everything(plan: Planned) -> None:
    """A pool without GPUs has no taint, and a node of it is there at all times."""
    pools = plan.of("google_container_node_pool")
    others = {address: one for address, one in pools.items() if '"gpu"' not in address}
    assert len(others) == 2
    assert all(not one["node_config"][0]["taint"] for one in others.values())
    assert max(one["autoscaling"][0]["total_min_node_count"] for one in others.values()) >= 1


@pytest.mark.parametrize(
    ("environment", "protected", "available"), [("dev", False, "ZONAL"), ("prod", True, "REGIONAL")]
)
def test_production_is_protected(
    planned: dict[str, Planned], environment: str, protected: bool, available: str
) -> None:
    """Production's database and cluster refuse to be deleted, and the database is taken over from another zone."""
    plan = planned[environment]
    database = plan.one("google_sql_database_instance")
    assert database["deletion_protection"] is plan.one("google_container_cluster")["deletion_protection"] is protected
    assert database["settings"][0]["deletion_protection_enabled"] is protected
    assert database["settings"][0]["availability_type"] == available


def test_no_control_plane_is_open_to_the_world(plan: Planned) -> None:
    """Without networks that are let in, the cluster's API has no public address."""
    cluster = plan.one("google_container_cluster")
    assert cluster["private_cluster_config"][0]["enable_private_endpoint"] is True
    assert cluster["master_authorized_networks_config"][0]["cidr_blocks"] == []


def test_addresses_do_not_overlap(plan: Planned) -> None:
    """Nodes, pods, services, database and control plane have ranges of their own."""
    subnetwork = plan.one("google_compute_subnetwork")
    database = plan.one("google_compute_global_address")
    ranges = [
        ipaddress.ip_network(one)
        for one in (
            subnetwork["ip_cidr_range"],
            *(secondary["ip_cidr_range"] for secondary in subnetwork["secondary_ip_range"]),
            f"{database['address']}/{database['prefix_length']}",
            plan.one("google_container_cluster")["private_cluster_config"][0]["master_ipv4_cidr_block"],
        )
    ]
    assert not [(a, b) for number, a in enumerate(ranges) for b in ranges[:number] if a.overlaps(b)]


def test_production_says_what_terraform_gives(planned: dict[str, Planned]) -> None:
    """What configs/environments/prod.toml says of buckets, images, addresses and accounts is Terraform's output."""
    said = tomllib.loads((ROOT / "configs" / "environments" / "prod.toml").read_text(encoding="utf-8"))
    given = planned["prod"].outputs["environment"]
    assert {key: said[key.partition(".")[0]].get(key.partition(".")[2]) for key in given} == given


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_an_overlay_says_what_terraform_gives(planned: dict[str, Planned], environment: str) -> None:
    """The values of infra/kubernetes/overlays are, for the project that they name, what Terraform's output says."""
    values = ROOT / "infra" / "kubernetes" / "overlays" / environment / "values.yaml"
    assert planned[environment].outputs["overlay"] == yaml.safe_load(values.read_text(encoding="utf-8"))["data"]


def test_the_secrets_are_those_that_kubernetes_asks_for(plan: Planned) -> None:
    """Every secret that External Secrets fetches exists, and none that nobody fetches."""
    asked = {
        one["key"]
        for path in (ROOT / "infra" / "kubernetes").rglob("*.yaml")
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
        if document and document.get("kind") == "ExternalSecret"
        for one in [part["extract"] for part in document["spec"]["dataFrom"]]
    }
    assert {one["secret_id"] for one in plan.of("google_secret_manager_secret").values()} == asked
