"""Pictures inside the page: PNGs as data addresses, in the size they were drawn for, in light and in dark."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable

from markupsafe import Markup

from trainer.card import plots

Pair = tuple[bytes, bytes]
"""One plot for light and one for dark mode, PNG."""


def both(draw: Callable[..., bytes]) -> Pair:
    """A plot for light and for dark mode."""
    return draw(theme=plots.LIGHT), draw(theme=plots.DARK)


def picture(pair: Pair, alt: str) -> Markup:
    """A plot that follows the reader's mode, in the size it was drawn for.

    Two pictures of which the style sheet hides one: a `<picture>` would stay dark on paper.
    """
    return _image("light", pair[0], alt) + _image("dark", pair[1], alt)


def _image(mode: str, png: bytes, alt: str) -> Markup:
    width, height = struct.unpack(">II", png[16:24])  # PNG's first chunk
    scale = plots.PIXELS_PER_INCH / 96
    return Markup('<img class="{}" src="{}" width="{}" height="{}" alt="{}">').format(
        mode, data_uri(png), round(width / scale), round(height / scale), alt
    )


def data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
