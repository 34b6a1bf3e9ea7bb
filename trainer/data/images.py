"""The one decoder: preparation, training, evaluation and prediction all see an image through `decode`."""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

Pixels = NDArray[np.uint8]
"""(height, width, 3), red, green, blue, 0 to 255."""

MAX_PIXELS = 100_000_000
"""A header that announces more is refused before anything is decoded: 300 MB of pixels."""
MAX_BYTES = 8 * MAX_PIXELS
"""Of an encoded image: as many as the largest one takes with 16 bits in each of four channels and no compression."""
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""Whatever a file is called. Pillow knows thirty more, little used and little tested; one of them, EPS, is a program
that Ghostscript runs."""
MIN_SIDE = 8
"""Smaller is a tracking pixel or a spacer, not a photograph."""

TOO_LARGE = f"larger than {MAX_BYTES // 1_000_000} MB"

# What Pillow warns of (odd metadata, 89 megapixels) is either no matter or the reason in a BadImage, which has a path.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


class BadImage(ValueError):
    """An image that cannot be used. The message is the reason, in words that fit after "left out:"."""


def decode(payload: bytes) -> Pixels:
    """Pixels (H, W, 3) of an encoded image.

    EXIF orientation is applied, the first frame of an animation taken, grey, palette, CMYK and 16-bit grey converted,
    and what is transparent shows white, as a viewer would show it.

    Errors: BadImage.
    """
    if not payload:
        raise BadImage("the file is empty")
    if len(payload) > MAX_BYTES:
        raise BadImage(TOO_LARGE)
    try:
        with opened(io.BytesIO(payload)) as image:
            if min(image.size) < MIN_SIDE:
                raise BadImage(f"{image.width}×{image.height} pixels, smaller than {MIN_SIDE} on a side")
            return np.array(_to_rgb(_upright(image)))
    except BadImage:
        raise
    except MemoryError:
        raise BadImage("too large for the memory of this machine") from None
    except Exception as error:  # Pillow's plugins raise anything from struct.error to SyntaxError on broken files
        raise BadImage(f"truncated or corrupt ({_first_line(error)})") from None


def opened(file: io.BytesIO | Path) -> Image.Image:
    """An image whose header was read and nothing else: what it announces can be held. Errors: BadImage, OSError."""
    try:
        image = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        raise BadImage("not an image of a known format") from None
    except Image.DecompressionBombError:
        raise BadImage(f"more than {MAX_PIXELS // 1_000_000} megapixels") from None
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise BadImage(f"{image.width}×{image.height} pixels, more than {MAX_PIXELS // 1_000_000} megapixels")
    return image


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    ImageOps.exif_transpose(image, in_place=True)
    return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I;16"):
        # Pillow's own conversion clips at 255 and would give a white picture.
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise BadImage("32 bits per pixel, whose range is not known")
    if image.has_transparency_data:
        overlay = image.convert("RGBA")
        white = Image.new("RGBA", overlay.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, overlay).convert("RGB")
    return image.convert("RGB")


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def identity(pixels: Pixels) -> str:
    """What an example is, wherever it lies and however it is compressed: SHA-256 of shape and pixels."""
    digest = hashlib.sha256(struct.pack("<3I", *pixels.shape))
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def resize(pixels: Pixels, size: int) -> Pixels:
    """Pixels (H, W, 3) to (size, size, 3), bilinear with antialiasing; the aspect ratio gives way."""
    if pixels.shape[:2] == (size, size):
        return pixels
    return np.array(Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR))
