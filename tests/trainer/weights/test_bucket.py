"""Weights in a bucket, fetched by Google's own client from a server of the storage API's form."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import google_crc32c
import pytest

from trainer.errors import WeightsError
from trainer.weights import bucket
from trainer.weights.obtaining import obtain
from trainer.weights.published import find

CONTENT = b"of a network" * 500


class Storage:
    """Objects by name, as (generation, content); and how often one was downloaded."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[int, bytes]] = {}
        self.downloads: list[str] = []

    def described(self, name: str) -> dict[str, str]:
        generation, content = self.objects[name]
        checksum = base64.b64encode(google_crc32c.Checksum(content).digest()).decode()
        return {
            "kind": "storage#object",
            "name": name,
            "bucket": "b",
            "generation": str(generation),
            "size": str(len(content)),
            "crc32c": checksum,
        }


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    held = Storage()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = urlsplit(self.path)
            query = parse_qs(address.query)
            name = unquote(address.path.partition("/b/b/o")[2]).removeprefix("/")
            if "/b/b/o" not in address.path or (name and name not in held.objects):
                self.answer(404, b'{"error": {"code": 404, "message": "no such object"}}')
            elif query.get("alt") == ["media"]:
                held.downloads.append(name)
                self.answer(200, held.objects[name][1], held.described(name)["crc32c"])
            elif name:
                self.answer(200, json.dumps(held.described(name)).encode())
            else:
                found = [held.described(one) for one in sorted(held.objects) if one.startswith(query["prefix"][0])]
                self.answer(200, json.dumps({"kind": "storage#objects", "items": found}).encode())

        def answer(self, status: int, body: bytes, crc32c: str | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Type", "application/octet-stream" if crc32c else "application/json")
            if crc32c:
                self.send_header("X-Goog-Hash", f"crc32c={crc32c}")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
    yield held
    server.shutdown()
    server.server_close()


def test_an_object_is_fetched_once(storage: Storage, tmp_path: Path) -> None:
    """As long as the bucket holds the same generation."""
    storage.objects["w/a.h5"] = (1, CONTENT)
    first = bucket.fetch("gs://b/w/a.h5", tmp_path)
    assert first.name == "a.h5"
    assert first.read_bytes() == CONTENT
    assert bucket.fetch("gs://b/w/a.h5", tmp_path) == first
    assert storage.downloads == ["w/a.h5"]


def test_a_new_generation_is_fetched_again(storage: Storage, tmp_path: Path) -> None:
    """What is in the bucket now is what the training begins with."""
    storage.objects["a.h5"] = (1, CONTENT)
    bucket.fetch("gs://b/a.h5", tmp_path)
    storage.objects["a.h5"] = (2, CONTENT[::-1])
    assert bucket.fetch("gs://b/a.h5", tmp_path).read_bytes() == CONTENT[::-1]


def test_a_damaged_copy_is_fetched_again(storage: Storage, tmp_path: Path) -> None:
    """Its checksum was remembered beside it."""
    storage.objects["a.h5"] = (1, CONTENT)
    path = bucket.fetch("gs://b/a.h5", tmp_path)
    path.write_bytes(CONTENT[:-1])
    assert bucket.fetch("gs://b/a.h5", tmp_path).read_bytes() == CONTENT
    assert len(storage.downloads) == 2


def test_a_prefix_brings_the_files_of_a_checkpoint(storage: Storage, tmp_path: Path) -> None:
    """Its index and its data; not its graph, nor another checkpoint whose name begins alike."""
    parts = ("m.ckpt.index", "m.ckpt.data-00000-of-00001")
    for name in (*parts, "m.ckpt.meta", "m.ckpt-2.index"):
        storage.objects[f"w/{name}"] = (1, CONTENT + name.encode())
    obtained = obtain(find("inception_v3", "slim"), "gs://b/w/m.ckpt", True, tmp_path)
    assert sorted(storage.downloads) == sorted(f"w/{name}" for name in parts)
    assert obtained.path.name == "m.ckpt"
    assert obtained.source == "gs://b/w/m.ckpt"
    whole = b"".join(CONTENT + name.encode() for name in parts)
    assert obtained.sha256 == hashlib.sha256(whole).hexdigest()


def test_the_same_name_elsewhere_is_another_file(storage: Storage, tmp_path: Path) -> None:
    """Copies of two objects do not overwrite each other."""
    storage.objects |= {"x/a.h5": (1, b"x"), "y/a.h5": (1, b"y")}
    copies = [bucket.fetch(f"gs://b/{folder}/a.h5", tmp_path) for folder in "xy"]
    assert [copy.read_bytes() for copy in copies] == [b"x", b"y"]


def test_a_download_that_arrives_damaged_is_refused(storage: Storage, tmp_path: Path) -> None:
    """The client compares checksums; nothing is left under the file's name."""
    storage.objects["a.h5"] = (1, CONTENT)
    real = storage.described
    storage.described = lambda name: real(name) | {"crc32c": base64.b64encode(bytes(4)).decode()}  # type: ignore[method-assign]
    with pytest.raises(WeightsError, match=r"gs://b/a.h5 cannot be fetched"):
        bucket.fetch("gs://b/a.h5", tmp_path)
    assert not list(tmp_path.rglob("a.h5"))


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("gs://b/none.h5", "nothing at gs://b/none.h5"),
        ("gs://other/a.h5", "gs://other/a.h5 cannot be fetched"),
        ("gs://b", "Received the address 'gs://b'"),
        ("gs://b/folder/", "Received the address 'gs://b/folder/'"),
    ],
)
def test_an_address_that_leads_nowhere_is_refused(storage: Storage, tmp_path: Path, address: str, words: str) -> None:
    """With the address."""
    storage.objects["a.h5"] = (1, CONTENT)
    with pytest.raises(WeightsError, match=words):
        bucket.fetch(address, tmp_path)
