"""A server between a client and a real one that does things wrong, on order: the faults of networks and gateways."""

from __future__ import annotations

import hashlib
import http.client
import io
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

Fault = Literal["refuse", "500", "503 after", "lose", "cut", "hang", "hang after"]
"""Reset the connection before anything was done; answer 500 instead of doing it; do it and answer 503, or reset the
connection without an answer, or after half of it; leave the client waiting until it goes, without or after doing it."""

DONE_FIRST = ("503 after", "lose", "cut", "hang after")
MOMENT = re.compile(rb"\d{13}")
_HELD_SECONDS = 30


@dataclass(frozen=True)
class Request:
    number: int
    """Counted from 0."""
    method: str
    path: str
    digest: str
    """Of method, path and body but for moments in it: what is asked again has the same."""

    def __str__(self) -> str:
        return f"{self.method} {urlsplit(self.path).path}"


Order = Callable[[Request], Fault | None]


@dataclass
class Proxy:
    """What came by, and what will go wrong."""

    upstream: str
    address: str = ""
    order: Order = lambda request: None
    requests: list[Request] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def at(self, number: int, fault: Fault) -> None:
        """Order a fault for the request of this number, once."""
        self.order = lambda request: fault if request.number == number else None

    def always(self, fault: Fault, since: int = 0) -> None:
        """Order a fault for every request from this number on."""
        self.order = lambda request: fault if request.number >= since else None

    def each_first(self, fault: Fault) -> None:
        """Order a fault for every request when it comes for the first time; asked again, it is done."""
        seen: set[str] = set()

        def order(request: Request) -> Fault | None:
            new = request.digest not in seen
            seen.add(request.digest)
            return fault if new else None

        self.order = order

    def fault_of(self, method: str, path: str, body: bytes) -> Fault | None:
        digest = hashlib.sha256(b"\0".join([method.encode(), path.encode(), MOMENT.sub(b"", body)])).hexdigest()
        with self.lock:
            request = Request(len(self.requests), method, path, digest)
            self.requests.append(request)
            return self.order(request)


@contextmanager
def between(upstream: str) -> Iterator[Proxy]:
    """A proxy in front of a server."""
    proxy = Proxy(upstream)
    leaving = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle_one(self) -> None:
            body = self._body()
            fault = proxy.fault_of(self.command, self.path, body)
            if fault is None or fault in DONE_FIRST:
                status, headers, answer = _forward(upstream, self.command, self.path, dict(self.headers), body)
            if fault is None:
                self._answer(status, headers, answer)
            elif fault in ("500", "503 after"):
                self._answer(int(fault[:3]), {"Content-Type": "text/html"}, b"<h1>Trouble</h1>")
            else:
                if fault == "cut":
                    self._answer(status, headers | {"Content-Length": str(2 * len(answer) + 2)}, answer)
                elif fault.startswith("hang"):
                    self._hang(leaving)
                self._reset()

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_one  # noqa: N815

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def _answer(self, status: int, headers: dict[str, str], answer: bytes) -> None:
            self.send_response(status)
            for key, value in ({"Content-Length": str(len(answer))} | headers).items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(answer)
            self.wfile.flush()

        def _hang(self, leaving: threading.Event) -> None:
            self.connection.settimeout(0.05)
            for _ in range(int(_HELD_SECONDS / 0.05)):
                if leaving.is_set():
                    return
                with suppress(TimeoutError):
                    if not self.connection.recv(1):
                        return

        def _reset(self) -> None:
            """As when a process dies: no orderly end of the connection."""
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.rfile.close()
            self.wfile.close()
            self.wfile = io.BytesIO()  # the base class flushes it once more
            self.connection.close()

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=[0.01], daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        leaving.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _forward(
    upstream: str, method: str, path: str, headers: dict[str, str], body: bytes
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(urlsplit(upstream).netloc, timeout=60)
    hops = {"connection", "transfer-encoding", "content-length", "accept-encoding", "host"}
    passed = {key: value for key, value in headers.items() if key.lower() not in hops}
    try:
        connection.request(method, path, body, passed)
        response = connection.getresponse()
        answer = response.read()
        kept = {"Content-Type": response.getheader("Content-Type", "application/json")}
        return response.status, kept, answer
    finally:
        connection.close()
