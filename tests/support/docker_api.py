"""A server of the Docker engine's API, as far as listing, tagging and pushing images need it, for the SDK's client."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Engine:
    """The images that it has, what was asked of it, and how a push ends."""

    def __init__(self) -> None:
        self.address = ""
        self.images: dict[str, dict[str, Any]] = {}
        """By id."""
        self.tagged: list[tuple[str, str]] = []
        """(id, repository:tag) of every new tag."""
        self.pushed: list[str] = []
        self.push_error: str | None = None
        """What the registry says of a push; an engine reports it in the middle of a good answer."""
        self.dies_at: str | None = None
        """The kind of image in whose push the engine breaks off."""

    def has(self, tag: str, version: str = "1.2.3", commit: str = COMMIT) -> str:
        """Give it an image. Returns its id."""
        identity = f"sha256:{hashlib.sha256(tag.encode()).hexdigest()}"
        labels = {"org.opencontainers.image.version": version, "org.opencontainers.image.revision": commit}
        self.images[identity] = {
            "Id": identity,
            "RepoTags": [tag],
            "RepoDigests": [],
            "Size": 300_000_000,
            "Config": {"Labels": labels},
        }
        return identity

    @staticmethod
    def digest(repository: str) -> str:
        """What a push of a repository's image is answered with."""
        return f"sha256:{hashlib.sha256(repository.encode()).hexdigest()}"


@contextmanager
def serving() -> Iterator[Engine]:
    """An engine on a free port; its `address` is for DOCKER_HOST."""
    engine = Engine()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(engine))
    engine.address = f"tcp://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield engine
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(engine: Engine) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            path = self.asked()
            if path == "/version":
                return self.answer({"ApiVersion": "1.41", "MinAPIVersion": "1.12", "Version": "20.10.24"})
            if path == "/_ping":
                return self.answer("OK")
            if path == "/info":
                return self.answer({"Runtimes": {"runc": {}}})
            if path == "/images/json":
                return self.answer(list(engine.images.values()))
            found = re.match(r"^/images/(.+)/json$", path)
            if found and unquote(found[1]) in engine.images:
                return self.answer(engine.images[unquote(found[1])])
            return self.answer({"message": f"no such thing: {path}"}, 404)

        def do_POST(self) -> None:
            path = self.asked()
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            query = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
            if found := re.match(r"^/images/(.+)/tag$", path):
                engine.tagged.append((unquote(found[1]), f"{query['repo']}:{query['tag']}"))
                return self.answer("", 201)
            found = re.match(r"^/images/(.+)/push$", path)
            assert found, path
            repository = unquote(found[1])
            engine.pushed.append(f"{repository}:{query['tag']}")
            if engine.push_error is not None:
                return self.stream({"errorDetail": {"message": engine.push_error}, "error": engine.push_error})
            if engine.dies_at is not None and repository.endswith(f"-{engine.dies_at}"):
                return self.stream({"status": "Pushing"}, ends=False)
            aux = {"Tag": query["tag"], "Digest": engine.digest(repository)}
            return self.stream({"status": "Pushed"}, {"progressDetail": {}, "aux": aux})

        def asked(self) -> str:
            return re.sub(r"^/v\d+\.\d+", "", urlsplit(self.path).path)

        def stream(self, *lines: dict[str, Any], ends: bool = True) -> None:
            """One line after the other, as they come about; a connection that is closed before the end, on order."""
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for line in [json.dumps(line).encode() + b"\r\n" for line in lines]:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            if ends:
                self.wfile.write(b"0\r\n\r\n")
            else:
                self.close_connection = True

        def answer(self, content: Any, status: int = 200) -> None:
            body = (content if isinstance(content, str) else json.dumps(content)).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
