"""The schema of the resources of hashicorp/google that are in use, read out of its bindings for cdktf (an npm package).

    npm pack @cdktf/provider-google@16.12.1 && tar xzf cdktf-provider-google-16.12.1.tgz
    python tests/support/google_schema.py package/lib tests/support/google_provider.json

The bindings are generated from the provider's own schema, so every argument and block of it is in them, with its type
and whether it must be given. What they do not say: which optional arguments the provider computes (all are taken for
such).
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

RESOURCES = (
    "artifact_registry_repository",
    "artifact_registry_repository_iam_member",
    "compute_global_address",
    "compute_network",
    "compute_router",
    "compute_router_nat",
    "compute_subnetwork",
    "container_cluster",
    "container_node_pool",
    "project_iam_member",
    "project_service",
    "secret_manager_secret",
    "secret_manager_secret_iam_member",
    "secret_manager_secret_version",
    "service_account",
    "service_account_iam_member",
    "service_networking_connection",
    "sql_database",
    "sql_database_instance",
    "sql_user",
    "storage_bucket",
    "storage_bucket_iam_member",
)
DATA = ("project",)
SCALARS = {"string": "string", "boolean": "bool", "number": "number"}
VERSION = re.compile(r"providerVersion: '([\d.]+)'")
INTERFACE = re.compile(r"^export interface (\w+)(?: extends [\w.]+)? \{\n(.*?)^\}", re.S | re.M)
MEMBER = re.compile(r"#(\w+) [\w#]+\}.*?readonly \w+(\??): ([^;]+);", re.S)
FUNCTION = re.compile(r"^function (\w+)ToHclTerraform\(struct\) \{\n(.*?)^\}", re.S | re.M)
ROOT = re.compile(r"synthesizeHclAttributes\(\) \{\n +const attrs = \{\n(.*?)\n        \};", re.S)
ARGUMENT = re.compile(r'(\w+): \{\n[^\n]*\n +isBlock: (\w+),\n +type: "(\w+)",\n +storageClassType: "(\w+)"')
CLASS = re.compile(r"^class (\w+) extends cdktf\.\w+ \{\n(.*?)^\}", re.S | re.M)
GETTER = re.compile(r"get(String|Number|Boolean)(Map|)Attribute\('(\w+)'\)")
COMPUTED = re.compile(r'// (\w+) - computed: true, optional: false, required: false\n[^\n]*?(StringMap)?\(this, "')


def kind(type_: str, storage: str) -> Any:
    """Terraform's type of an argument, from the names that cdktf has for it."""
    if type_ == "simple":
        return SCALARS[storage]
    return [type_, SCALARS[re.sub(r"(List|Map)$", "", storage).lower()]]


class Bindings:
    """The files of one resource."""

    def __init__(self, folder: Path) -> None:
        javascript = "\n".join(path.read_text() for path in sorted(folder.rglob("*.js")))
        types = "\n".join(path.read_text() for path in sorted(folder.rglob("*.d.ts")))
        self.version = VERSION.findall(javascript)[0]
        self.members = {name: MEMBER.findall(body) for name, body in INTERFACE.findall(types)}
        self.arguments = {name[0].upper() + name[1:]: body for name, body in FUNCTION.findall(javascript)}
        self.classes = dict(CLASS.findall(javascript))
        [self.root] = [name[:-6] for name in self.members if name.endswith("Config") and name[:-6] in self.classes]
        self.arguments[self.root + "Config"] = ROOT.findall(self.classes[self.root])[0]

    def block(self, name: str) -> dict[str, Any]:
        """Arguments and blocks of a block, by the name of its interface."""
        forms = {key: (type_, storage) for key, _, type_, storage in ARGUMENT.findall(self.arguments[name])}
        given: dict[str, Any] = {}
        blocks: dict[str, Any] = {}
        for key, optional, typed in self.members[name]:
            type_, storage = forms[key]
            inner = re.sub(r"\[\]| \| cdktf\.IResolvable|cdktf\.IResolvable \| ", "", typed).split(".")[-1]
            if inner in self.members:
                blocks[key] = {
                    "nesting": "single" if key == "timeouts" else "set" if type_ == "set" else "list",
                    "least": 0 if optional else 1,
                    "most": 0 if "[]" in typed or key == "timeouts" else 1,
                    **self.block(inner),
                }
            else:
                given[key] = {"type": kind(type_, storage), "is": "optional" if optional else "required"}
        made = self.classes.get(self.root if name == self.root + "Config" else name + "OutputReference", "")
        for scalar, map_, key in GETTER.findall(made):
            type_ = SCALARS[scalar.lower()]
            given.setdefault(key, {"type": ["map", type_] if map_ else type_, "is": "computed"})
        for key, map_ in COMPUTED.findall(made):
            given.setdefault(key, {"type": ["map", "string"] if map_ else "dynamic", "is": "computed"})
        return {"arguments": dict(sorted(given.items())), "blocks": dict(sorted(blocks.items()))}


def read(library: Path) -> dict[str, Any]:
    """{"version": …, "resources": {…}, "data": {…}} of everything that is in use."""
    resources = {name: Bindings(library / name.replace("_", "-")) for name in RESOURCES}
    data = {name: Bindings(library / f"data-google-{name}".replace("_", "-")) for name in DATA}
    [version] = {one.version for one in [*resources.values(), *data.values()]}
    return {
        "version": version,
        "resources": {f"google_{name}": one.block(one.root + "Config") for name, one in resources.items()},
        "data": {f"google_{name}": one.block(one.root + "Config") for name, one in data.items()},
    }


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(read(Path(sys.argv[1])), separators=(",", ":")) + "\n")
