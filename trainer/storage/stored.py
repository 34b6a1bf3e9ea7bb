"""What a place says of a file without giving it: enough to tell whether a copy elsewhere is the same."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from trainer.errors import StoreError

MOST_DOCUMENT_BYTES = 256 << 20
"""Of what is read whole into memory. The longest of ours lists every image that was left out."""
_BLOCK = 1 << 20


class TooLarge(StoreError):
    """More bytes than who asked for them can use."""


@dataclass(frozen=True, slots=True)
class Stored:
    name: str
    """Relative to its place."""
    size: int
    mark: str
    """Changes when the content does: a checksum where the place has one, else what it offers in its stead."""
    generation: int | None = None
    """The number of this very content, where the place counts them."""
    crc32c: str | None = None
    """Of the content, Base64, where the place says it."""
    changed: datetime | None = None
    """When it was written, where the place says it."""


def crc32c(path: Path) -> str:
    """Checksum of a local file, as Google Cloud Storage writes it (Base64). Errors: OSError."""
    import google_crc32c

    value = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            value = google_crc32c.extend(value, block)
    return _written(value)


def crc32c_of(content: bytes) -> str:
    """The same of bytes."""
    import google_crc32c

    return _written(google_crc32c.value(content))


def expect_size(size: int, most: int | None, address: str) -> None:
    """Errors: TooLarge."""
    if most is not None and size > most:
        raise TooLarge(f"{address} is larger than {most / 1e6:,.0f} MB.", "See what it is, and who wrote it.")


class Bounded(io.BytesIO):
    """Takes so many bytes of what lies at an address. Errors of `write`: TooLarge."""

    def __init__(self, most: int | None, address: str) -> None:
        super().__init__()
        self._most = most
        self._address = address

    def write(self, content: Any) -> int:
        expect_size(self.tell() + len(content), self._most, self._address)
        return super().write(content)


def _written(value: int) -> str:
    return base64.b64encode(value.to_bytes(4, "big")).decode()
