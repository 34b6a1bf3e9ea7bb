"""What the Terraform files promise, read with a parser; nothing is evaluated and no Terraform is needed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import hcl2
import pytest
import yaml

from pipelines import environments
from pipelines.environments import Environment
from pipelines.environments.names import amount

ROOT = Path(__file__).resolve().parents[2]
TERRAFORM = ROOT / "infra" / "terraform"
FILES = sorted(TERRAFORM.rglob("*.tf"))
MODULES = sorted(path for path in (TERRAFORM / "modules").iterdir() if path.is_dir())
ENVIRONMENTS = sorted(path for path in (TERRAFORM / "envs").iterdir() if path.is_dir())
FOLDERS = [*MODULES, *ENVIRONMENTS]
EXACT = re.compile(r"^\d+\.\d+\.\d+$")


def plain(read: Any) -> Any:
    """What the parser read, with the quotes of names and strings taken off."""
    if isinstance(read, dict):
        return {plain(key): plain(value) for key, value in read.items() if not key.startswith("__")}
    if isinstance(read, list):
        return [plain(value) for value in read]
    return read[1:-1] if isinstance(read, str) and read[:1] == read[-1:] == '"' and len(read) > 1 else read


@cache
def read(path: Path) -> dict[str, Any]:
    with path.open(encoding="utf-8") as file:
        found: dict[str, Any] = plain(hcl2.load(file))
    return found


def blocks(folder: Path, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every variable, output or module of a folder: its name and what it says."""
    for path in sorted(folder.glob("*.tf")):
        for one in read(path).get(kind, []):
            yield from one.items()


def resources(folder: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for type_, named in blocks(folder, "resource"):
        for name, body in named.items():
            yield type_, name, body


def at(body: Any, path: str) -> Any:
    """What stands at `block.block.argument`; None where nothing does. Of a repeated block, the first that has it."""
    first, _, rest = path.partition(".")
    if isinstance(body, list):
        return next((found for one in body if (found := at(one, path)) is not None), None)
    value = body.get(first) if isinstance(body, dict) else None
    return at(value, rest) if rest else value


def example(folder: Path) -> dict[str, Any]:
    return read(folder / "terraform.tfvars.example")


PROMISES = [
    ("buckets", "google_storage_bucket.this", "uniform_bucket_level_access", True),
    ("buckets", "google_storage_bucket.this", "public_access_prevention", "enforced"),
    ("buckets", "google_storage_bucket.this", "force_destroy", False),
    ("buckets", "google_storage_bucket.this", "lifecycle_rule.action.type", "AbortIncompleteMultipartUpload"),
    ("buckets", "google_storage_bucket.this", "retention_policy", None),
    ("registry", "google_artifact_registry_repository.this", "docker_config.immutable_tags", True),
    ("registry", "google_artifact_registry_repository.this", "cleanup_policy_dry_run", False),
    ("network", "google_compute_network.this", "auto_create_subnetworks", False),
    ("network", "google_compute_subnetwork.nodes", "private_ip_google_access", True),
    ("network", "google_compute_router_nat.this", "nat_ip_allocate_option", "AUTO_ONLY"),
    ("cluster", "google_container_cluster.this", "private_cluster_config.enable_private_nodes", True),
    ("cluster", "google_container_cluster.this", "datapath_provider", "ADVANCED_DATAPATH"),
    ("cluster", "google_container_cluster.this", "enable_shielded_nodes", True),
    ("cluster", "google_container_cluster.this", "remove_default_node_pool", True),
    ("cluster", "google_container_cluster.this", "deletion_protection", "${var.deletion_protection}"),
    ("cluster", "google_container_cluster.this", "release_channel.channel", "${var.release_channel}"),
    ("cluster", "google_container_cluster.this", "workload_identity_config.workload_pool", "${local.workload_pool}"),
    (
        "cluster",
        "google_container_cluster.this",
        "master_authorized_networks_config.gcp_public_cidrs_access_enabled",
        False,
    ),
    (
        "cluster",
        "google_container_cluster.this",
        "master_auth.client_certificate_config.issue_client_certificate",
        False,
    ),
    ("cluster", "google_container_node_pool.this", "node_config.workload_metadata_config.mode", "GKE_METADATA"),
    ("cluster", "google_container_node_pool.this", "node_config.shielded_instance_config.enable_secure_boot", True),
    ("cluster", "google_container_node_pool.this", "node_config.spot", "${each.value.spot}"),
    ("cluster", "google_container_node_pool.this", "network_config.enable_private_nodes", True),
    ("cluster", "google_container_node_pool.this", "management.auto_repair", True),
    ("cluster", "google_container_node_pool.this", "autoscaling.total_min_node_count", "${each.value.minimum}"),
    ("database", "google_sql_database_instance.this", "settings.ip_configuration.ipv4_enabled", False),
    ("database", "google_sql_database_instance.this", "settings.ip_configuration.ssl_mode", "ENCRYPTED_ONLY"),
    ("database", "google_sql_database_instance.this", "settings.backup_configuration.enabled", True),
    (
        "database",
        "google_sql_database_instance.this",
        "settings.backup_configuration.point_in_time_recovery_enabled",
        True,
    ),
    ("database", "google_sql_database_instance.this", "deletion_protection", "${var.deletion_protection}"),
    ("database", "google_sql_database_instance.this", "settings.edition", "ENTERPRISE"),
    ("database", "google_sql_user.mlflow", "password", None),
    ("secrets", "google_secret_manager_secret_version.this", "secret_data", None),
    ("services", "google_project_service.enabled", "disable_on_destroy", False),
]


@pytest.mark.parametrize(("module", "resource", "path", "value"), PROMISES, ids=str)
def test_a_promise_is_in_the_files(module: str, resource: str, path: str, value: object) -> None:
    """The argument stands there with this value, or with none where it must not stand."""
    found = {f"{type_}.{name}": body for type_, name, body in resources(TERRAFORM / "modules" / module)}
    assert at(found[resource], path) == value


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(TERRAFORM).as_posix())
def test_no_secret_stands_in_a_file(path: Path) -> None:
    """Passwords are write-only arguments or ephemeral values; nothing that looks like a key is written down."""
    text = path.read_text(encoding="utf-8")
    assert not re.search(r'(?im)^\s*(password|secret_data|private_key|token)\s*=\s*"', text)
    assert not re.search(r"-----BEGIN|AIza[\w-]{30}|ya29\.", text)
    kinds = {type_ for one in read(path).get("resource", []) for type_ in one}
    assert not kinds & {"google_service_account_key", "random_password", "random_string", "tls_private_key"}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_every_variable_is_typed_and_described(folder: Path) -> None:
    """Each has a type and a sentence; the default of none is a secret."""
    for name, body in blocks(folder, "variable"):
        assert body.get("type"), name
        assert body.get("description", "").endswith("."), name
        assert not (body.get("sensitive") and "default" in body), name


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_every_output_is_described(folder: Path) -> None:
    """Each output of a module or an environment has a sentence."""
    outputs = dict(blocks(folder, "output"))
    assert outputs
    assert [name for name, body in outputs.items() if not body.get("description", "").endswith(".")] == []


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_every_variable_is_used(folder: Path) -> None:
    """No variable is asked for and then forgotten."""
    text = "\n".join(re.sub(r"#.*", "", path.read_text(encoding="utf-8")) for path in folder.glob("*.tf"))
    declared = {name for name, _ in blocks(folder, "variable")}
    used = {name for name in declared if len(re.findall(rf"\bvar\.{name}\b", text))}
    assert declared == used


def tail(folder: Path) -> dict[str, Any]:
    [terraform] = read(folder / "versions.tf")["terraform"]
    assert isinstance(terraform, dict)
    return terraform


@pytest.mark.parametrize("folder", ENVIRONMENTS, ids=lambda path: path.name)
def test_an_environment_pins_its_providers(folder: Path) -> None:
    """Providers by one version, Terraform by a range with an end, and the state in a bucket."""
    terraform = tail(folder)
    [providers] = terraform["required_providers"]
    assert {name: one["source"] for name, one in providers.items()} == {
        "google": "hashicorp/google",
        "random": "hashicorp/random",
    }
    assert all(EXACT.match(one["version"]) for one in providers.values())
    assert "<" in terraform["required_version"]
    assert [name for one in terraform["backend"] for name in one] == ["gcs"]


@pytest.mark.parametrize("folder", MODULES, ids=lambda path: path.name)
def test_a_module_says_what_it_can_do_with(folder: Path) -> None:
    """A module bounds its providers on both sides and configures none."""
    [providers] = tail(folder)["required_providers"]
    assert all(re.fullmatch(r">= [\d.]+, < [\d.]+", one["version"]) for one in providers.values())
    assert list(blocks(folder, "provider")) == []


def test_both_environments_pin_the_same() -> None:
    """What was tried in one environment is what the other gets."""
    first, *others = [tail(folder) for folder in ENVIRONMENTS]
    assert all(other == first for other in others)


@pytest.mark.parametrize("folder", ENVIRONMENTS, ids=lambda path: path.name)
def test_the_example_of_values_fits(folder: Path) -> None:
    """Every value of terraform.tfvars.example is a variable, and every variable without a default has one."""
    variables = dict(blocks(folder, "variable"))
    asked = {name for name, body in variables.items() if "default" not in body}
    assert asked <= set(example(folder)) <= set(variables)


def pools(environment: str) -> dict[str, Any]:
    [(_, module)] = blocks(TERRAFORM / "envs" / environment, "module")
    found: dict[str, Any] = module["pools"]
    return found


@pytest.mark.parametrize("environment", [path.name for path in ENVIRONMENTS])
def test_a_gpu_waits_for_nobody(environment: str) -> None:
    """The pool gpu has no node when nothing trains, may be taken away, and there is no GPU in another pool."""
    found = pools(environment)
    assert found["gpu"]["minimum"] == 0
    assert found["gpu"]["spot"] is True
    assert [name for name, pool in found.items() if "gpu" in pool] == ["gpu"]


@pytest.mark.parametrize("environment", [path.name for path in ENVIRONMENTS])
def test_a_steps_folder_fits_onto_its_disk(environment: str) -> None:
    """The state folder that a step may fill is no larger than what GKE leaves of the disks of both pools for steps."""
    size = environments.load(str(ROOT / "configs" / "environments" / f"{environment}.toml")).state.size
    assert size is not None
    for name in ("steps", "gpu"):
        disk = pools(environment)[name].get("disk_gigabytes", 100)
        kept = min(disk / 2, 6 + 0.35 * disk, 100) + disk / 10  # for the system, and below that pods are evicted
        assert float(amount(size)) <= (disk - kept) * 1e9


def keys(folder: Path, output: str) -> set[str]:
    value = dict(blocks(folder, "output"))[output]["value"]
    return set(plain(value))


def test_an_environment_is_given_keys_that_it_has() -> None:
    """Each key of the output `environment` is one that a file of configs/environments may have."""
    installation = TERRAFORM / "modules" / "installation"
    sections = Environment.model_fields
    for dotted in keys(installation, "environment"):
        section, _, key = dotted.partition(".")
        model = sections[section].annotation
        assert model is not None
        assert key in getattr(model, "model_fields", {}), dotted


@pytest.mark.parametrize("environment", [path.name for path in ENVIRONMENTS])
def test_an_overlay_is_given_the_keys_that_it_asks_for(environment: str) -> None:
    """The output `overlay` has the keys of the overlay's ConfigMap of values, all of them."""
    values = ROOT / "infra" / "kubernetes" / "overlays" / environment / "values.yaml"
    asked = yaml.safe_load(values.read_text(encoding="utf-8"))["data"]
    assert keys(TERRAFORM / "modules" / "installation", "overlay") == set(asked)


def test_the_files_are_formatted() -> None:
    """`terraform fmt` would change nothing."""
    program = shutil.which("terraform")
    if program is None:
        pytest.skip("terraform is not on the path")
    done = subprocess.run(
        [program, f"-chdir={TERRAFORM}", "fmt", "-check", "-recursive"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def costs(*arguments: str) -> str:
    program = [sys.executable, str(TERRAFORM / "costs.py"), *arguments]
    return subprocess.run(program, capture_output=True, text=True, check=True).stdout.strip()


def test_the_costs_in_the_documents_are_those_of_the_program() -> None:
    """docs/google-cloud.md shows what infra/terraform/costs.py prints, and how it is asked for another number."""
    page = (ROOT / "docs" / "google-cloud.md").read_text(encoding="utf-8")
    assert page.partition("<!-- costs -->\n")[2].partition("\n<!-- /costs -->")[0] == costs()
    [asked] = re.findall(r"(?m)^\$ \.venv/bin/python infra/terraform/costs\.py (.+)$", page)
    assert len(costs(*asked.split()).splitlines()) == len(costs().splitlines())


def test_costs_are_what_the_formula_says(tmp_path: Path) -> None:
    """730 hours of machines, gigabytes, and hours of trainings, each times its price, in two digits."""
    prices = tmp_path / "prices.toml"
    prices.write_text(
        "[prices.hour]\nnode = 0.1\ngpu = 0.5\n[prices.month]\ndisk = 0.2\n"
        "[idle.here]\nhour = { node = 2 }\nmonth = { disk = 100 }\n[training.here]\ngpu = 4\n"
    )
    assert costs("--prices", str(prices), "--trainings", "10").splitlines()[-1] == "| `here` | 170 | 2 | 190 |"


@pytest.mark.parametrize("environment", [path.name for path in ENVIRONMENTS])
def test_costs_are_reckoned_with_the_machines_there_are(environment: str) -> None:
    """Every machine that a training or an idle installation pays for is one of the environment's pools or databases."""
    known = tomllib.loads((TERRAFORM / "costs.toml").read_text(encoding="utf-8"))
    [(_, module)] = blocks(TERRAFORM / "envs" / environment, "module")
    machines = {pool["machine"] + ("-spot" if pool["spot"] else "") for pool in module["pools"].values()}
    idle = known["idle"][environment]["hour"]
    system = module["pools"]["system"]
    assert idle[system["machine"]] == system["minimum"]
    assert idle[module["database"]["tier"]] == (2 if module["database"]["highly_available"] else 1)
    assert set(known["training"][environment]) <= machines
