"""The one decoder: what it takes, what it turns away and why."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trainer.data.images import MAX_PIXELS, BadImage, decode, identity, resize

# pytest puts its own filters in place of those the module sets.
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:PIL"),
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
]

HEIGHT, WIDTH = 12, 20


def picture(mode: str = "RGB", colour: Any = (200, 100, 50)) -> Image.Image:
    return Image.new(mode, (WIDTH, HEIGHT), colour)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def palette_with_transparency() -> Image.Image:
    image = picture("P", 1)
    image.putpalette([10, 20, 30, 200, 100, 50])
    return image


READABLE: dict[str, tuple[Callable[[], bytes], tuple[int, int, int]]] = {
    "png": (lambda: encoded(picture(), "PNG"), (200, 100, 50)),
    "jpeg": (lambda: encoded(picture(), "JPEG", quality=95), (200, 100, 50)),
    "webp": (lambda: encoded(picture(), "WEBP", lossless=True), (200, 100, 50)),
    "bmp": (lambda: encoded(picture(), "BMP"), (200, 100, 50)),
    "gif": (lambda: encoded(picture(), "GIF"), (200, 100, 50)),
    "grey": (lambda: encoded(picture("L", 77), "PNG"), (77, 77, 77)),
    "one bit": (lambda: encoded(picture("1", 1), "PNG"), (255, 255, 255)),
    "grey of 16 bits": (lambda: encoded(Image.fromarray(np.full((12, 20), 77 * 257, np.uint16)), "PNG"), (77, 77, 77)),
    "palette": (lambda: encoded(palette_with_transparency(), "PNG"), (200, 100, 50)),
    "palette, transparent colour": (
        lambda: encoded(palette_with_transparency(), "PNG", transparency=1),
        (255, 255, 255),
    ),
    "opaque alpha": (lambda: encoded(picture("RGBA", (200, 100, 50, 255)), "PNG"), (200, 100, 50)),
    "half transparent": (lambda: encoded(picture("RGBA", (200, 100, 50, 128)), "PNG"), (227, 177, 152)),
    "transparent": (lambda: encoded(picture("RGBA", (200, 100, 50, 0)), "PNG"), (255, 255, 255)),
    "grey with alpha": (lambda: encoded(picture("LA", (77, 0)), "PNG"), (255, 255, 255)),
    "cmyk": (lambda: encoded(picture("CMYK", (0, 0, 255, 0)), "JPEG", quality=95), (255, 255, 0)),
}


@pytest.mark.parametrize("kind", READABLE)
def test_every_kind_of_image_becomes_rgb_of_its_colour(kind: str) -> None:
    """Grey, palette, transparency, CMYK and 16 bits all end as 8-bit RGB that looks as a viewer shows it."""
    make, colour = READABLE[kind]
    pixels = decode(make())
    assert pixels.dtype == np.uint8
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(pixels.astype(int) - colour).max() <= 3


def test_lossless_images_come_back_exactly() -> None:
    """What went into a PNG comes out of the decoder, and its array can be written to."""
    pixels = decode(encoded(Image.fromarray(noise()), "PNG"))
    assert np.array_equal(pixels, noise())
    pixels[0, 0] = 0


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.transpose(1, 0, 2)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: np.rot90(a, 2).transpose(1, 0, 2)),
        (8, lambda a: np.rot90(a, 1)),
    ],
)
def test_exif_orientation_is_applied(orientation: int, upright: Callable[[Any], Any]) -> None:
    """A photograph that a camera stored on its side is turned upright, for all eight orientations."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(decode(encoded(Image.fromarray(noise()), "PNG", exif=exif)), upright(noise()))


def test_an_animation_gives_its_first_frame() -> None:
    """Of a moving GIF the first frame counts."""
    frames = [picture("RGB", colour) for colour in ((255, 0, 0), (0, 0, 255))]
    pixels = decode(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    assert tuple(pixels[0, 0]) == (255, 0, 0)


def decoded_or_none(payload: bytes) -> Any:
    try:
        return decode(payload)
    except BadImage:
        return None


def png_header(width: int, height: int) -> bytes:
    """A PNG that announces a size and holds next to nothing."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    start = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + start + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


UNUSABLE: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "empty"),
    "text": (lambda: b"These are notes on the photographs.\n" * 20, "not an image"),
    "html error page": (lambda: b"<!DOCTYPE html><html><body>404</body></html>", "not an image"),
    "half a jpeg": (lambda: (whole := encoded(Image.fromarray(noise(90, 90)), "JPEG"))[: len(whole) // 2], "truncated"),
    "half a png": (lambda: (whole := encoded(Image.fromarray(noise(90, 90)), "PNG"))[: len(whole) // 2], "truncated"),
    "jpeg header only": (lambda: encoded(picture(), "JPEG")[:30], "not an image|truncated"),
    "too small": (lambda: encoded(Image.new("RGB", (1, 1)), "PNG"), "1×1 pixels, smaller than 8"),
    "too narrow": (lambda: encoded(Image.new("RGB", (500, 7)), "PNG"), "500×7 pixels, smaller than 8"),
    "bomb": (lambda: png_header(10_001, 10_000), "10001×10000 pixels, more than 100 megapixels"),
    "huge bomb": (lambda: png_header(100_000, 100_000), "more than 100 megapixels"),
    "32 bits": (lambda: encoded(Image.new("F", (WIDTH, HEIGHT)), "TIFF"), "32 bits per pixel"),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_what_cannot_be_used_is_turned_away_with_the_reason(kind: str) -> None:
    """Broken, foreign, tiny and exploding files are each turned away in words."""
    make, reason = UNUSABLE[kind]
    with pytest.raises(BadImage, match=reason):
        decode(make())


def test_an_image_at_the_limit_is_not_a_bomb() -> None:
    """The refusal is of more than the limit: a header of exactly that size is decoded (and here found truncated)."""
    with pytest.raises(BadImage, match="truncated"):
        decode(png_header(MAX_PIXELS // 10_000, 10_000))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"])
def test_a_damaged_file_is_an_image_or_a_reason_and_nothing_else(kind: str) -> None:
    """However a file is cut or its bytes flipped, the decoder returns pixels or raises BadImage."""
    whole = encoded(Image.fromarray(noise(24, 24)), kind)
    rng = np.random.default_rng(1)
    damaged = [whole[:cut] for cut in range(0, len(whole), max(1, len(whole) // 60))]
    for _ in range(120):
        spoilt = bytearray(whole)
        for at in rng.integers(0, len(whole), 4):
            spoilt[at] = rng.integers(0, 256)
        damaged.append(bytes(spoilt))
    for payload in damaged:
        pixels = decoded_or_none(payload)
        assert pixels is None or (pixels.dtype == np.uint8 and pixels.ndim == 3)


def test_identity_is_of_the_pixels_not_of_the_file() -> None:
    """The same pixels in another container are the same example; one changed value or another shape is not."""
    a = decode(encoded(Image.fromarray(noise()), "PNG"))
    b = decode(encoded(Image.fromarray(noise()), "BMP"))
    assert identity(a) == identity(b)
    b[3, 3, 1] ^= 1
    assert identity(a) != identity(b)
    assert identity(a) != identity(a.reshape(WIDTH, HEIGHT, 3))
    assert identity(a[:, ::2]) == identity(a[:, ::2].copy())


def test_resizing_averages_what_it_leaves_out() -> None:
    """Shrinking a fine chequerboard gives grey, not the squares that happen to be hit."""
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    small = resize(np.repeat(board[..., None], 3, axis=2).astype(np.uint8), 16)
    assert small.shape == (16, 16, 3)
    assert np.abs(small.astype(int) - 127).max() < 20
    assert resize(small, 16) is small
