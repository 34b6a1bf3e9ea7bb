"""Where weights come from: the disk, or their publisher over HTTP; what was wrong when they do not come."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from trainer.errors import WeightsError
from trainer.weights.obtaining import obtain
from trainer.weights.published import Download, Kind, Weights

CONTENT = b"weights" * 1000
MD5, SHA256 = hashlib.md5(CONTENT).hexdigest(), hashlib.sha256(CONTENT).hexdigest()


class Counting(SimpleHTTPRequestHandler):
    asked: list[str]

    def __init__(self, *arguments: object, asked: list[str], **keywords: object) -> None:
        self.asked = asked
        super().__init__(*arguments, **keywords)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def publisher(tmp_path: Path, asked: list[str]) -> Iterator[str]:
    """A server with `all.h5`, `body.h5` and `model.safetensors` on it."""
    folder = tmp_path / "published"
    folder.mkdir()
    (folder / "all.h5").write_bytes(CONTENT)
    (folder / "body.h5").write_bytes(CONTENT[::-1])
    (folder / "model.safetensors").write_bytes(CONTENT)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Counting, directory=str(folder), asked=asked))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def weights(at: str, kind: Kind = "imagenet", md5: str | None = MD5) -> Weights:
    body = hashlib.md5(CONTENT[::-1]).hexdigest()
    return Weights(
        kind,
        "weights of this test",
        Download(f"{at}/all.h5", "all.h5", md5),
        Download(f"{at}/body.h5", "body.h5", body),
        {"net.tag": Download(f"{at}/model.safetensors", "net.tag.safetensors")},
    )


def test_a_published_file_is_downloaded_once(publisher: str, asked: list[str], tmp_path: Path) -> None:
    """Into the folder where keras.applications keeps its own, and checked there."""
    first = obtain(weights(publisher), "", True, tmp_path / "cache")
    again = obtain(weights(publisher), "", True, tmp_path / "cache")
    assert first == again
    assert first.path == tmp_path / "cache" / "keras" / "models" / "all.h5"
    assert first.path.read_bytes() == CONTENT
    assert (first.source, first.sha256) == (f"{publisher}/all.h5", SHA256)
    assert asked == ["/all.h5"]


def test_other_classes_take_the_file_without_a_classifier(publisher: str, tmp_path: Path) -> None:
    """A tenth less to fetch, and nothing in it that is not used."""
    assert obtain(weights(publisher), "", False, tmp_path / "cache").path.name == "body.h5"


def test_a_damaged_copy_is_downloaded_again(publisher: str, asked: list[str], tmp_path: Path) -> None:
    """A download that was killed leaves no trap."""
    path = obtain(weights(publisher), "", True, tmp_path / "cache").path
    path.write_bytes(CONTENT[:100])
    assert obtain(weights(publisher), "", True, tmp_path / "cache").sha256 == SHA256
    assert asked == ["/all.h5"] * 2


def test_a_download_with_the_wrong_checksum_is_refused(publisher: str, tmp_path: Path) -> None:
    """Whoever sent it."""
    with pytest.raises(WeightsError, match=r"cannot be downloaded: .*file hash does not match"):
        obtain(weights(publisher, md5="0" * 32), "", True, tmp_path / "cache")


@pytest.mark.parametrize("leftover", [False, True])
def test_a_name_stands_for_a_download(publisher: str, asked: list[str], tmp_path: Path, leftover: bool) -> None:
    """Without a checksum only a whole file gets its name, and what a killed download left is not taken for it."""
    if leftover:
        half = tmp_path / "cache" / "keras" / "models" / "net.tag.safetensors.part"
        half.parent.mkdir(parents=True)
        half.write_bytes(CONTENT[:10])
    for _ in range(2):
        obtained = obtain(weights(publisher, "timm"), "net.tag", True, tmp_path / "cache")
        assert (obtained.path.name, obtained.sha256) == ("net.tag.safetensors", SHA256)
    assert asked == ["/model.safetensors"]


@pytest.mark.parametrize(
    ("kind", "address", "words"),
    [
        ("imagenet", "", ["all.h5", f"(md5 {MD5})", 'init = "keras:<path']),
        ("timm", "net.tag", ["model.safetensors", 'init = "timm:<path']),
    ],
)
def test_without_the_internet_the_way_around_is_said(
    tmp_path: Path, kind: Kind, address: str, words: list[str]
) -> None:
    """Which file to fetch elsewhere, its checksum, and what to write then."""
    with pytest.raises(WeightsError) as caught:
        obtain(weights("http://127.0.0.1:9", kind), address, True, tmp_path / "cache")
    assert "cannot be downloaded" in caught.value.message
    assert [word for word in words if word not in caught.value.remedy] == []


def test_a_local_file_is_taken_where_it_lies(tmp_path: Path) -> None:
    """And known by its checksum."""
    path = tmp_path / "mine.h5"
    path.write_bytes(CONTENT)
    obtained = obtain(weights("http://127.0.0.1:9", "keras"), str(path), True, tmp_path / "cache")
    assert (obtained.path, obtained.source, obtained.sha256) == (path, str(path), SHA256)


def test_a_local_file_by_a_published_name_is_the_published_file(tmp_path: Path) -> None:
    """Its checksum is held against the known one."""
    path = tmp_path / "all.h5"
    path.write_bytes(CONTENT)
    assert obtain(weights("http://h", "keras"), str(path), True, tmp_path / "cache").sha256 == SHA256
    path.write_bytes(CONTENT + b"!")
    with pytest.raises(WeightsError, match=rf"its md5 is [0-9a-f]{{32}}, the published one {MD5}.\n.*http://h/all.h5"):
        obtain(weights("http://h", "keras"), str(path), True, tmp_path / "cache")


def test_the_prefix_of_a_checkpoint_stands_for_its_files(tmp_path: Path) -> None:
    """The checksum is over all of them but the graph."""
    (tmp_path / "m.ckpt.index").write_bytes(CONTENT[:500])
    (tmp_path / "m.ckpt.data-00000-of-00001").write_bytes(CONTENT[500:])
    (tmp_path / "m.ckpt.meta").write_bytes(b"graph")
    obtained = obtain(weights("http://h", "slim"), str(tmp_path / "m.ckpt"), True, tmp_path / "cache")
    assert (obtained.path, obtained.sha256) == (tmp_path / "m.ckpt", SHA256)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    """With what should be."""
    with pytest.raises(WeightsError, match=r"no weights at '.*none.h5'.\nGive the path of weights of this test."):
        obtain(weights("http://h", "keras"), str(tmp_path / "none.h5"), True, tmp_path / "cache")
