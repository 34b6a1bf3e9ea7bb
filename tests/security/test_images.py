"""Pictures that are made to cost: bombs, endless metadata, formats that are programs. One decoder meets all of them."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainer.config import Data
from trainer.data.images import FORMATS, MAX_BYTES, BadImage, decode
from trainer.data.sources import open_source
from trainer.state import State

ROOT = Path(__file__).resolve().parents[2]
ENDLESS_MB = 200
ENOUGH_MB = 120
"""What a decoder may take for a picture that it refuses, or for one of 16×16; the bombs announce 0.2 to 12 GB."""


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *extra: bytes, inside: bytes | None = None) -> bytes:
    rows = bytes((1 + 3 * 16) * 16) if inside is None else inside
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@cache
def zeros(megabytes: int) -> bytes:
    """A zlib stream of so many zeros."""
    packer = zlib.compressobj(1)
    block = bytes(1_000_000)
    return b"".join(packer.compress(block) for _ in range(megabytes)) + packer.flush()


def bmp(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)


def tiff(width: int, height: int) -> bytes:
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 5), (262, 3, 1, 1), (273, 4, 1, 8)]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4)


def saved(kind: str) -> bytearray:
    file = io.BytesIO()
    Image.new("P" if kind == "GIF" else "RGB", (16, 16)).save(file, kind)
    return bytearray(file.getvalue())


def gif(screen: bool) -> bytes:
    found = saved("GIF")
    at = 6 if screen else found.index(b",", 13) + 5
    found[at : at + 4] = struct.pack("<HH", 65535, 65535)
    return bytes(found)


def jpeg() -> bytes:
    found = saved("JPEG")
    at = found.index(b"\xff\xc0") + 5
    found[at : at + 4] = struct.pack(">HH", 65500, 65500)
    return bytes(found)


def webp() -> bytes:
    """A lossless WebP says its size in the first 28 bits after the signature 0x2f."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "WEBP", lossless=True)
    found = bytearray(file.getvalue())
    at = found.index(b"VP8L") + 9
    found[at : at + 4] = struct.pack("<I", (16382 | 16382 << 14) & 0x0FFFFFFF)
    return bytes(found)


REFUSED: dict[str, Callable[[], bytes]] = {
    "PNG": lambda: png(60_000, 60_000),
    "GIF's screen": lambda: gif(screen=True),
    "GIF's frame": lambda: gif(screen=False),
    "JPEG": jpeg,
    "WebP": webp,
    "BMP": lambda: bmp(60_000, 60_000),
    "TIFF": lambda: tiff(60_000, 60_000),
    "PNG's text": lambda: png(16, 16, chunk(b"zTXt", b"k\0\0" + zeros(ENDLESS_MB))),
    "PNG's international text": lambda: png(16, 16, chunk(b"iTXt", b"k\0\1\0\0\0" + zeros(ENDLESS_MB))),
    "PNG's profile": lambda: png(16, 16, chunk(b"iCCP", b"k\0\0" + zeros(ENDLESS_MB))),
    "PNG's many texts": lambda: png(16, 16, *[chunk(b"zTXt", b"k\0\0" + zeros(1))] * 200),
}


@pytest.fixture(scope="module")
def bombs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bombs")
    for name, make in REFUSED.items():
        (folder / name).write_bytes(make())
    (folder / "PNG with more pixels than it says").write_bytes(
        png(16, 16).replace(chunk(b"IDAT", zlib.compress(bytes(49 * 16))), chunk(b"IDAT", zeros(ENDLESS_MB)))
    )
    frames = [Image.fromarray(np.full((64, 64), number % 251, np.uint8)) for number in range(300)]
    frames[0].save(folder / "GIF of three hundred frames", "GIF", save_all=True, append_images=frames[1:])
    return {path.name: path for path in sorted(folder.iterdir())}


def test_no_bomb_goes_off(bombs: dict[str, Path]) -> None:
    """Each is refused, or decoded as the small picture that it is, and the process grows by less than 120 MB."""
    program = (
        "import json, re, sys\nfrom pathlib import Path\nfrom trainer.data.images import BadImage, decode\n"
        "def held(word):\n    status = Path('/proc/self/status').read_text()\n"
        "    return int(re.search(word + r':\\s+(\\d+)', status)[1]) // 1024\n"
        "answers = {}\nbefore = held('VmRSS')\n"
        "for name in sys.argv[1:]:\n"
        "    try: answers[Path(name).name] = decode(Path(name).read_bytes()).shape[:2]\n"
        "    except BadImage as reason: answers[Path(name).name] = str(reason)\n"
        "print(json.dumps([answers, held('VmHWM') - before]))\n"
    )
    command = [sys.executable, "-c", program, *map(str, bombs.values())]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    answers, megabytes = json.loads(done.stdout)
    assert {name for name, answer in answers.items() if isinstance(answer, str)} == set(REFUSED)
    assert answers["PNG with more pixels than it says"] == [16, 16]
    assert answers["GIF of three hundred frames"] == [64, 64]
    for name in ("PNG", "GIF's screen", "GIF's frame", "JPEG", "WebP", "BMP", "TIFF"):
        assert "megapixels" in answers[name], name
    assert megabytes < ENOUGH_MB


OTHERS = {
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\n(x) print\n%%EOF\n",
    "PPM": b"P6 16 16 255\n" + bytes(768),
    "PCX": lambda: None,
    "ICO": lambda: None,
    "TGA": lambda: None,
    "JPEG2000": lambda: None,
}


@pytest.mark.parametrize("kind", OTHERS)
def test_a_format_that_nobody_needs_is_none(kind: str) -> None:
    """Whatever the file is called: an EPS would be run by Ghostscript where that is installed."""
    content = OTHERS[kind]
    if callable(content):
        file = io.BytesIO()
        Image.new("RGB", (16, 16)).save(file, kind)
        content = file.getvalue()
    with pytest.raises(BadImage, match="not an image of a known format"):
        decode(content)
    assert kind not in FORMATS


def test_a_file_too_large_for_any_picture_is_not_read(tmp_path: Path, state: State) -> None:
    """Not from a folder, and not for a prediction: its size is asked first. (A sparse file: it takes no space.)"""
    from trainer.prediction.reading import read

    for name in ("cat", "dog"):
        (tmp_path / "images" / name).mkdir(parents=True)
        Image.new("RGB", (9, 9)).save(tmp_path / "images" / name / "small.png")
    huge = tmp_path / "images" / "cat" / "huge.png"
    with huge.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    told = {one.path: one for one in open_source(Data(source=f"folder:{tmp_path / 'images'}"), state).examples()}
    assert told["cat/huge.png"].problem == "larger than 800 MB"
    assert told["cat/huge.png"].payload == b""
    [picture] = read([str(huge)])
    assert picture.problem == "cannot be classified: larger than 800 MB"


def test_a_picture_of_a_run_record_is_opened_like_any_other(bombs: dict[str, Path]) -> None:
    """The card's pictures lie where others may write."""
    from trainer.card.material import _picture

    for path in bombs.values():
        if path.name in REFUSED:
            assert _picture(path.parent, path.name) == (None, (0, 0)), path.name
