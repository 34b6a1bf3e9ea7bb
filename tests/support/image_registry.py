"""A registry of the distribution API v2, as far as an engine that pushes needs it: what arrives is checked by digest.

Layers are counted and forgotten, manifests are kept. It refuses on order.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

UPLOADS = re.compile(r"^/v2/(.+)/blobs/uploads/([0-9a-f]*)$")
BLOB = re.compile(r"^/v2/(.+)/blobs/(sha256:[0-9a-f]{64})$")
MANIFEST = re.compile(r"^/v2/(.+)/manifests/(.+)$")


class Registry:
    """What the registry holds."""

    def __init__(self) -> None:
        self.address = ""
        self.blobs: dict[str, int] = {}
        """Bytes of each, by digest."""
        self.manifests: dict[tuple[str, str], bytes] = {}
        """By repository and tag, and by repository and digest."""
        self.refuses = 0
        """Answer everything but the first question with this status; 0: answer."""
        self.uploads: dict[str, tuple[Any, int]] = {}

    def manifest(self, address: str) -> dict[str, Any]:
        """What lies at `host/repository@digest` or `host/repository:tag`; KeyError where nothing does."""
        path = address.removeprefix(f"{self.address}/")
        repository, _, reference = path.partition("@") if "@" in path else path.rpartition(":")
        held: dict[str, Any] = json.loads(self.manifests[repository, reference])
        return held


@contextmanager
def serving() -> Iterator[Registry]:
    """A registry on a free port of 127.0.0.1, which engines speak to without TLS."""
    registry = Registry()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(registry))
    registry.address = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(registry: Registry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            if self.path == "/v2/":
                return self.answer(200)
            if registry.refuses:
                return self.refuse()
            if found := BLOB.match(self.path):
                size = registry.blobs.get(found[2])
                return self.answer(404) if size is None else self.answer(200, {"Content-Length": str(size)})
            if found := MANIFEST.match(self.path):
                held = registry.manifests.get((found[1], found[2]))
                return self.answer(404) if held is None else self.answer(200, body=held)
            return self.answer(404)

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_POST(self) -> None:
            self.arrived(lambda _: None)
            found = UPLOADS.match(urlsplit(self.path).path)
            if registry.refuses or not found:
                return self.refuse()
            name = uuid.uuid4().hex
            registry.uploads[name] = (hashlib.sha256(), 0)
            return self.answer(202, {"Location": f"/v2/{found[1]}/blobs/uploads/{name}", "Docker-Upload-UUID": name})

        def do_PATCH(self) -> None:
            size = self.take()
            self.answer(202, {"Location": self.path, "Range": f"0-{max(size - 1, 0)}"})

        def do_PUT(self) -> None:
            parts = urlsplit(self.path)
            if found := MANIFEST.match(parts.path):
                body: list[bytes] = []
                self.arrived(body.append)
                content = b"".join(body)
                digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
                registry.manifests[found[1], found[2]] = registry.manifests[found[1], digest] = content
                return self.answer(201, {"Docker-Content-Digest": digest, "Location": self.path})
            size = self.take()
            found = UPLOADS.match(parts.path)
            assert found
            digest = f"sha256:{registry.uploads.pop(found[2])[0].hexdigest()}"
            if parse_qs(parts.query)["digest"] != [digest]:
                return self.answer(400)
            registry.blobs[digest] = size
            return self.answer(201, {"Docker-Content-Digest": digest, "Location": f"/v2/{found[1]}/blobs/{digest}"})

        def take(self) -> int:
            """Add what arrives to its upload. Returns the upload's bytes so far."""
            found = UPLOADS.match(urlsplit(self.path).path)
            assert found
            digest, size = registry.uploads[found[2]]
            arrived = [size]

            def add(part: bytes) -> None:
                digest.update(part)
                arrived[0] += len(part)

            self.arrived(add)
            registry.uploads[found[2]] = (digest, arrived[0])
            return arrived[0]

        def arrived(self, use: Any) -> None:
            """Read the request's body, in chunks or by its length."""
            if self.headers.get("Transfer-Encoding") == "chunked":
                while size := int(self.rfile.readline(), 16):
                    use(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return
            left = int(self.headers.get("Content-Length") or 0)
            while left:
                part = self.rfile.read(min(left, 1 << 20))
                use(part)
                left -= len(part)

        def refuse(self) -> None:
            problem = {"errors": [{"code": "DENIED", "message": "this team may not write here"}]}
            self.answer(registry.refuses or 404, {"Content-Type": "application/json"}, json.dumps(problem).encode())

        def answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
            self.send_response(status)
            said = {"Content-Length": str(len(body)), "Docker-Distribution-Api-Version": "registry/2.0"}
            for name, value in (said | (headers or {})).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    return Handler
