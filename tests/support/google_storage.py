"""A server of the Google Cloud Storage JSON API's form, for Google's own client: objects in memory, faults on order.

As its documentation has it: generations grow with every write, `ifGenerationMatch` and `ifGenerationNotMatch` are
enforced with 412 (0 meaning "is not there") at the moment of the write, checksums that come with an upload are
compared, a chunk may repeat bytes that arrived before, ranges of an object can be read.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

import google_crc32c

Operation = Literal["list", "get", "download", "start", "upload", "delete"]
Action = int | Literal["drop", "lose", "truncate", "corrupt", "stall"]
"""A status, or: close the connection in the middle of the request's body; do what was asked and close it without an
answer; close it in the middle of the answer's body; change a bit of what is downloaded; say nothing for
`Storage.silence` seconds, then close it."""

OBJECT = re.compile(r"/b/([^/]+)/o(?:/(.+))?$")
CLIENT_BUG = 400


@dataclass(frozen=True)
class Held:
    generation: int
    content: bytes
    kind: str = "application/octet-stream"


@dataclass
class Session:
    """A resumable upload under way."""

    bucket: str
    name: str
    conditions: dict[str, str]
    kind: str
    arrived: bytearray = field(default_factory=bytearray)


class Storage:
    """What the server holds, what it was asked, and what it will do wrong."""

    def __init__(self, *buckets: str) -> None:
        self.buckets = set(buckets)
        self.objects: dict[tuple[str, str], Held] = {}
        self.asked: list[tuple[Operation, str]] = []
        """Every request, as operation and object name, those that failed too."""
        self.page = 1000
        """Objects that a list gives at once."""
        self.silence = 1.0
        self.address = ""
        self._faults: list[tuple[Operation | None, str, Action]] = []
        self._generations = itertools.count(1_700_000_000_000_000)
        self._sessions: dict[str, Session] = {}
        self._lock = threading.RLock()

    def put(self, name: str, content: bytes, bucket: str = "b", kind: str = "application/octet-stream") -> None:
        with self._lock:
            self.objects[bucket, name] = Held(next(self._generations), content, kind)

    def names(self, bucket: str = "b") -> list[str]:
        return sorted(name for at, name in self.objects if at == bucket)

    def fault(self, operation: Operation | None, action: Action, times: int = 1, ending: str = "") -> None:
        """Do this wrong, the next times it is asked for (None: anything) of an object whose name ends like this."""
        self._faults += [(operation, ending, action)] * times

    def count(self, operation: Operation, ending: str = "") -> int:
        return sum(asked == operation and name.endswith(ending) for asked, name in self.asked)

    def fault_of(self, operation: Operation, name: str) -> Action | None:
        """Notes the request; the action that was ordered for it, once."""
        with self._lock:
            self.asked.append((operation, name))
            for index, (wanted, ending, action) in enumerate(self._faults):
                if wanted in (None, operation) and name.endswith(ending):
                    del self._faults[index]
                    return action
        return None

    def described(self, bucket: str, name: str) -> dict[str, str]:
        held = self.objects[bucket, name]
        return {
            "kind": "storage#object",
            "id": f"{bucket}/{name}/{held.generation}",
            "name": name,
            "bucket": bucket,
            "generation": str(held.generation),
            "metageneration": "1",
            "size": str(len(held.content)),
            "contentType": held.kind,
            "updated": "2026-11-21T12:00:00.000Z",
            **checksums(held.content),
        }

    def holds(self, bucket: str, name: str, conditions: dict[str, str]) -> bool:
        """Whether the preconditions of a request hold."""
        held = self.objects.get((bucket, name))
        now = held.generation if held else 0
        match, other = conditions.get("ifGenerationMatch"), conditions.get("ifGenerationNotMatch")
        return (match is None or int(match) == now) and (other is None or int(other) != now)

    def write(self, bucket: str, name: str, content: bytes, conditions: dict[str, str], kind: str) -> bool:
        """In one go with the look at its preconditions. False where they do not hold."""
        with self._lock:
            if not self.holds(bucket, name, conditions):
                return False
            self.put(name, content, bucket, kind)
            return True

    def delete(self, bucket: str, name: str, conditions: dict[str, str]) -> bool:
        with self._lock:
            if not self.holds(bucket, name, conditions):
                return False
            del self.objects[bucket, name]
            return True

    def begin(self, session: Session) -> str:
        with self._lock:
            key = str(next(self._generations))
            self._sessions[key] = session
            return key

    def session(self, key: str) -> Session | None:
        return self._sessions.get(key)


def _kind(part: bytes) -> str:
    """The content type of a part of a multipart upload."""
    found = re.search(rb"(?i)content-type: ?([^\r\n]+)", part.partition(b"\r\n\r\n")[0])
    return found[1].decode() if found else ""


@lru_cache(maxsize=64)
def checksums(content: bytes) -> dict[str, str]:
    return {
        "crc32c": base64.b64encode(google_crc32c.Checksum(content).digest()).decode(),
        "md5Hash": base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode(),
    }


@contextmanager
def serving(storage: Storage) -> Iterator[str]:
    """Serve on a free port. Gives the address, for STORAGE_EMULATOR_HOST."""
    handler = type("StorageHandler", (Handler,), {"storage": storage})
    server = Server(("127.0.0.1", 0), handler)
    storage.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield storage.address
    finally:
        server.shutdown()
        server.server_close()


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Clients that hang up are part of the play."""


class Handler(BaseHTTPRequestHandler):
    storage: Storage
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        bucket, name, query = self.parsed()
        if not bucket:  # the client asks for it by the way, to name it in traces, and goes on without it
            self.refuse(403, "nobody may see a bucket itself")
            return
        if not name:
            self.do("list", query.get("prefix", ""), lambda: self.list(bucket, query))
            return
        if query.get("alt") == "media":
            self.do("download", name, lambda: self.download(bucket, name, query))
            return
        self.do("get", name, lambda: self.get(bucket, name, query))

    def do_DELETE(self) -> None:
        bucket, name, query = self.parsed()
        self.do("delete", name, lambda: self.delete(bucket, name, query))

    def do_POST(self) -> None:
        bucket, _, query = self.parsed()
        kind = query.get("uploadType")
        if kind == "resumable":
            name = query.get("name") or json.loads(self.peeked())["name"]
            self.do("start", name, lambda: self.start(bucket, name, query))
        elif kind == "multipart":
            self.do("upload", query.get("name", ""), lambda: self.multipart(bucket, query))
        else:
            name = query["name"]
            self.do("upload", name, lambda: self.store(bucket, name, self.body(), query, {}, ""))

    def do_PUT(self) -> None:
        session = self.storage.session(self.parsed()[2].get("upload_id", ""))
        if session is None:
            self.refuse(410, "the upload is gone")
            return
        self.do("upload", session.name, lambda: self.chunk(session))

    # ---------------------------------------------------------------- what is asked

    def list(self, bucket: str, query: dict[str, str]) -> None:
        if not self.bucket_is_there(bucket):
            return
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
        names = [name for name in self.storage.names(bucket) if name.startswith(prefix)]
        folders: set[str] = set()
        if delimiter:
            deeper = {name for name in names if delimiter in name[len(prefix) :]}
            folders = {prefix + name[len(prefix) :].partition(delimiter)[0] + delimiter for name in deeper}
            names = [name for name in names if name not in deeper]
        first = int(query.get("pageToken", 0))
        after = first + min(self.storage.page, int(query.get("maxResults", self.storage.page)))
        answer: dict[str, Any] = {
            "kind": "storage#objects",
            "items": [self.storage.described(bucket, name) for name in names[first:after]],
        }
        if folders:
            answer["prefixes"] = sorted(folders)
        if after < len(names):
            answer["nextPageToken"] = str(after)
        self.answer(200, answer)

    def get(self, bucket: str, name: str, query: dict[str, str]) -> None:
        if self.is_there(bucket, name, query):
            self.answer(200, self.storage.described(bucket, name))

    def download(self, bucket: str, name: str, query: dict[str, str]) -> None:
        if not self.is_there(bucket, name, query):
            return
        held, about = self.storage.objects[bucket, name], self.storage.described(bucket, name)
        headers = {
            "Content-Type": "application/octet-stream",
            "X-Goog-Hash": f"crc32c={about['crc32c']},md5={about['md5Hash']}",
            "X-Goog-Generation": about["generation"],
            "X-Goog-Stored-Content-Length": about["size"],
            "X-Goog-Stored-Content-Encoding": "identity",
        }
        content, whole = held.content, len(held.content)
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted:
            begin, end = int(wanted[1]), min(int(wanted[2] or whole), whole - 1)
            if begin >= whole:
                self.refuse(416, "the range is not satisfiable")
                return
            content, headers["Content-Range"] = content[begin : end + 1], f"bytes {begin}-{end}/{whole}"
        self.send(206 if wanted else 200, content, headers)

    def delete(self, bucket: str, name: str, query: dict[str, str]) -> None:
        if not self.is_there(bucket, name, query, read=False):
            return
        if not self.storage.delete(bucket, name, query):
            self.unmet()
            return
        self.send(204, b"", {})

    def start(self, bucket: str, name: str, query: dict[str, str]) -> None:
        about = json.loads(self.body() or b"{}")
        if not self.bucket_is_there(bucket):
            return
        if not self.storage.holds(bucket, name, query):
            self.unmet()
            return
        kind = self.headers.get("X-Upload-Content-Type") or about.get("contentType", "")
        key = self.storage.begin(Session(bucket, name, query, kind))
        location = f"{self.storage.address}/upload/storage/v1/b/{bucket}/o?uploadType=resumable&upload_id={key}"
        self.send(200, b"", {"Location": location})

    def chunk(self, session: Session) -> None:
        content = self.body()
        given = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", self.headers["Content-Range"])
        if given is None:
            self.refuse(CLIENT_BUG, f"Content-Range: {self.headers['Content-Range']}")
            return
        if given[1] is not None:
            begin = int(given[1])
            if begin > len(session.arrived) or int(given[2]) - begin + 1 != len(content):
                self.refuse(CLIENT_BUG, "the chunk does not follow what arrived before")
                return
            session.arrived[begin:] = content
        if given[3] == "*" or len(session.arrived) < int(given[3]):
            arrived = {"Range": f"bytes=0-{len(session.arrived) - 1}"} if session.arrived else {}
            self.send(308, b"", arrived)
            return
        sent = dict(part.split("=", 1) for part in self.headers.get("X-Goog-Hash", "").split(",") if part)
        proof = {"crc32c": sent.get("crc32c"), "md5Hash": sent.get("md5")}
        self.store(session.bucket, session.name, bytes(session.arrived), session.conditions, proof, session.kind)

    def multipart(self, bucket: str, query: dict[str, str]) -> None:
        boundary = self.headers["Content-Type"].partition("boundary=")[2].strip('"').encode()
        _, about, content, _ = self.body().split(b"--" + boundary)
        described, raw = (part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in (about, content))
        values = json.loads(described)
        self.store(bucket, values["name"], raw, query, values, _kind(content))

    def store(
        self,
        bucket: str,
        name: str,
        content: bytes,
        conditions: dict[str, str],
        proof: dict[str, str | None],
        kind: str,
    ) -> None:
        if not self.bucket_is_there(bucket):
            return
        for way, computed in checksums(content).items():
            if proof.get(way) not in (None, computed):
                self.refuse(CLIENT_BUG, f"the {way} that was given is not that of what arrived")
                return
        if not self.storage.write(bucket, name, content, conditions, kind):
            self.unmet()
            return
        self.answer(200, self.storage.described(bucket, name))

    # ---------------------------------------------------------------- how it is answered

    def do(self, operation: Operation, name: str, work: Callable[[], None]) -> None:
        if operation == "upload" and not name:  # a multipart upload has its name inside
            name = re.search(rb'"name": ?"([^"]*)"', self.peeked())[1].decode()  # type: ignore[index]
        self.action = self.storage.fault_of(operation, name)
        if isinstance(self.action, int):
            self.body()
            self.refuse(self.action, "an error on order")
            return
        if self.action == "stall":
            time.sleep(self.storage.silence)
            self.hang_up()
            return
        if self.action == "drop":
            if self._body is None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)) // 2)
            self.hang_up()
            return
        work()

    def is_there(self, bucket: str, name: str, query: dict[str, str], read: bool = True) -> bool:
        if not self.bucket_is_there(bucket):
            return False
        held = self.storage.objects.get((bucket, name))
        if held is None or query.get("generation") not in (None, str(held.generation)):
            self.refuse(404, f"No such object: {bucket}/{name}")
            return False
        if read and not self.storage.holds(bucket, name, query):
            self.unmet()
            return False
        return True

    def bucket_is_there(self, bucket: str) -> bool:
        if bucket not in self.storage.buckets:
            self.refuse(404, "The specified bucket does not exist.")
        return bucket in self.storage.buckets

    def unmet(self) -> None:
        self.refuse(412, "At least one of the pre-conditions you specified did not hold.")

    def refuse(self, status: int, message: str) -> None:
        self.answer(status, {"error": {"code": status, "message": message, "errors": [{"message": message}]}})

    def answer(self, status: int, value: dict[str, Any]) -> None:
        self.send(status, json.dumps(value).encode(), {"Content-Type": "application/json; charset=UTF-8"})

    def send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        if self.action == "lose":
            self.hang_up()
            return
        if self.action == "corrupt" and content:
            content = bytes([content[0] ^ 1]) + content[1:]
        self.send_response(status)
        for header, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(header, value)
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if self.action == "truncate" else content)
        if self.action == "truncate":
            self.hang_up()

    def hang_up(self) -> None:
        """As when a cable is pulled: what is on its way may be lost."""
        self.close_connection = True
        with suppress(OSError):
            self.wfile.flush()
            if self.action != "truncate":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.shutdown(socket.SHUT_RDWR)

    # ---------------------------------------------------------------- what came

    def setup(self) -> None:
        super().setup()
        self.action: Action | None = None

    def parse_request(self) -> bool:
        self.action, self._body = None, None
        return super().parse_request()

    def parsed(self) -> tuple[str, str, dict[str, str]]:
        address = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(address.query).items()}
        found = OBJECT.search(address.path)
        return (unquote(found[1]), unquote(found[2] or ""), query) if found else ("", "", query)

    def body(self) -> bytes:
        if self._body is None:
            self._body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return self._body

    peeked = body

    def log_message(self, *_: object) -> None:
        pass
