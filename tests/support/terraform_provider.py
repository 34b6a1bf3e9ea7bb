"""Terraform providers of the tests' own, for a Terraform that can download none: they know a schema and nothing else.

Terraform speaks its plug-in protocol (version 6) over gRPC with them, and is told of them by TF_REATTACH_PROVIDERS. So
`terraform validate` checks every argument, block, type and reference, and `terraform test` plans with mocked resources.
The one thing they make is a "random" password, which Terraform cannot mock.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

Schema = dict[str, Any]
PASSWORD = "CanaryOfTheRandomPasswordProvider"[:32]
"""Every password, so that a test can look for it."""
NESTING = {"single": 1, "list": 2, "set": 3}
RANDOM: dict[str, Schema] = {
    "random_password": {
        "arguments": {
            "length": {"type": "number", "is": "required"},
            "lower": {"type": "bool", "is": "optional"},
            "min_lower": {"type": "number", "is": "optional"},
            "min_numeric": {"type": "number", "is": "optional"},
            "min_special": {"type": "number", "is": "optional"},
            "min_upper": {"type": "number", "is": "optional"},
            "numeric": {"type": "bool", "is": "optional"},
            "override_special": {"type": "string", "is": "optional"},
            "special": {"type": "bool", "is": "optional"},
            "upper": {"type": "bool", "is": "optional"},
            "bcrypt_hash": {"type": "string", "is": "computed"},
            "result": {"type": "string", "is": "computed"},
        },
        "blocks": {},
    }
}
"""The ephemeral resources of hashicorp/random, from its documentation."""


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def field(number: int, value: int | str | bytes) -> bytes:
    """One field of a protocol buffer."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    encoded = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(encoded)) + encoded


def block(schema: Schema) -> bytes:
    """tfplugin6.Schema.Block."""
    out = b""
    for name, argument in schema["arguments"].items():
        written = name.endswith("_wo")
        out += field(
            2,
            field(1, name)
            + field(2, json.dumps(argument["type"]))
            + field(4, argument["is"] == "required")
            + field(5, argument["is"] == "optional")
            + field(6, argument["is"] == "computed" or (argument["is"] == "optional" and not written))
            + field(7, written)
            + field(11, written),
        )
    for name, inner in schema["blocks"].items():
        out += field(
            3,
            field(1, name)
            + field(2, block(inner))
            + field(3, NESTING[inner["nesting"]])
            + field(4, inner["least"])
            + field(5, inner["most"]),
        )
    return out


def listed(number: int, schemas: dict[str, Schema]) -> bytes:
    """A map of tfplugin6.Schema, by the resource's name."""
    return b"".join(field(number, field(1, name) + field(2, field(2, block(one)))) for name, one in schemas.items())


def provider(resources: dict[str, Schema], data: dict[str, Schema], ephemeral: dict[str, Schema]) -> bytes:
    """tfplugin6.GetProviderSchema.Response. The provider itself takes a project and a region."""
    own = {name: {"type": "string", "is": "optional"} for name in ("project", "region")}
    labels = {"default_labels": {"type": ["map", "string"], "is": "optional"}}
    configured = {"arguments": own | labels if resources else {}, "blocks": {}}
    return field(1, field(2, block(configured))) + listed(2, resources) + listed(3, data) + listed(8, ephemeral)


def password(_: bytes) -> bytes:
    """tfplugin6.OpenEphemeralResource.Response, as JSON. It must repeat what was asked for: 32 letters and digits."""
    made = dict.fromkeys(RANDOM["random_password"]["arguments"])
    made |= {"length": 32, "special": False, "result": PASSWORD}
    return field(3, field(2, json.dumps(made)))


class Plugin(grpc.GenericRpcHandler):
    """Answers about the schema, finds everything valid, and makes passwords."""

    def __init__(self, schema: bytes) -> None:
        self._answers: dict[str, Callable[[bytes], bytes]] = {
            "GetProviderSchema": lambda _: schema,
            "OpenEphemeralResource": password,
            **{f"Validate{what}Config": lambda _: b"" for what in ("Provider", "Resource", "DataResource")},
            "ValidateEphemeralResourceConfig": lambda _: b"",
            "ConfigureProvider": lambda _: b"",
            "CloseEphemeralResource": lambda _: b"",
            "StopProvider": lambda _: b"",
        }

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        answer = self._answers.get(details.method.rpartition("/")[2])
        return answer and grpc.unary_unary_rpc_method_handler(lambda request, _: answer(request))


@contextmanager
def serving(google: Path) -> Iterator[dict[str, str]]:
    """Both providers, serving in this process. Yields the environment in which Terraform finds them.

    Args:
        google: what tests/support/google_schema.py wrote.
    """
    known = json.loads(google.read_text(encoding="utf-8"))
    schemas = {
        "google": provider(known["resources"], known["data"], {}),
        "random": provider({}, {}, RANDOM),
    }
    servers, reattach = [], {}
    for name, schema in schemas.items():
        server = grpc.server(ThreadPoolExecutor(4))
        server.add_generic_rpc_handlers((Plugin(schema),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        reattach[f"registry.terraform.io/hashicorp/{name}"] = {
            "Protocol": "grpc",
            "ProtocolVersion": 6,
            "Pid": os.getpid(),
            "Test": True,
            "Addr": {"Network": "tcp", "String": f"127.0.0.1:{port}"},
        }
    try:
        yield {"TF_REATTACH_PROVIDERS": json.dumps(reattach), "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}
    finally:
        for server in servers:
            server.stop(None)
