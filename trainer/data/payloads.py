"""Image bytes on disk, written one after the other and read by index.

Two encodings. `raw`: images of one small shape as pixels in one `.npy`, read through a memory map with nothing to
decode. `encoded`: the source's own bytes in an ArrayRecord file (https://github.com/google/array_record), one record
per image. Which one fits is known only when the last image has been seen, and a source is read once, so while all
images have been small and alike both are written; the first that is different ends the raw one.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from trainer.data.images import Pixels, decode

Encoding = Literal["raw", "encoded"]
Shape = tuple[int, int]

RAW_FILE = "images.npy"
ENCODED_FILE = "images.array_record"
FILES: dict[Encoding, str] = {"raw": RAW_FILE, "encoded": ENCODED_FILE}
RAW_LIMIT = 64 * 64
"""Pixels of the largest image kept raw: a CIFAR-10 takes 184 MB, 60,000 images at this limit 740 MB."""
STORAGE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS, errno.ENOENT)


@contextmanager
def _os_errors(path: Path) -> Iterator[None]:
    """The ArrayRecord library says what the operating system said in the text of a RuntimeError."""
    try:
        yield
    except RuntimeError as error:
        code = next((code for code in STORAGE_ERRORS if os.strerror(code) in str(error)), errno.EIO)
        raise OSError(code, os.strerror(code), str(path)) from error


class EncodedWriter:
    def __init__(self, folder: Path) -> None:
        from array_record.python.array_record_module import ArrayRecordWriter

        self.path = folder / ENCODED_FILE
        self._writer = ArrayRecordWriter(str(self.path), "group_size:1")
        self.count = 0

    def append(self, payload: bytes) -> None:
        """Errors: OSError."""
        with _os_errors(self.path):
            self._writer.write(payload)
        self.count += 1

    def close(self) -> None:
        """Errors: OSError, also for what could not be written earlier: the library writes in the background."""
        with _os_errors(self.path):
            self._writer.close()
        with self.path.open("rb") as file:
            os.fsync(file.fileno())

    def discard(self) -> None:
        """Close and remove, whatever has happened."""
        with suppress(RuntimeError):
            self._writer.close()
        self.path.unlink(missing_ok=True)


class RawWriter:
    """A `.npy` of (count, h, w, 3) bytes whose count is filled in at the end.

    Plain writes, not a memory map: a full disk is then an error and not a SIGBUS.
    """

    def __init__(self, folder: Path, shape: Shape) -> None:
        self.path = folder / RAW_FILE
        self._shape = shape
        # A large buffer: every write that reaches the system lets a decoding thread take over.
        self._file = self.path.open("wb", buffering=1 << 20)
        self._file.write(self._header(0))
        self.count = 0

    def _header(self, count: int) -> bytes:
        buffer = BytesIO()
        np.lib.format.write_array_header_1_0(
            buffer, {"descr": "|u1", "fortran_order": False, "shape": (count, *self._shape, 3)}
        )
        return buffer.getvalue()

    def append(self, pixels: Pixels) -> None:
        self._file.write(pixels.data)
        self.count += 1

    def close(self) -> None:
        header = self._header(self.count)
        # numpy pads its headers so that the first axis may grow in place.
        assert len(header) == len(self._header(0))
        with self._file as file:
            file.seek(0)
            file.write(header)
            file.flush()
            os.fsync(file.fileno())

    def discard(self) -> None:
        """Close and remove, whatever has happened."""
        with suppress(OSError):
            self._file.close()
        self.path.unlink(missing_ok=True)


class PayloadReader(Protocol):
    def image(self, row: int) -> Pixels:
        """(H, W, 3)."""

    def images(self, rows: NDArray[np.int64]) -> Pixels:
        """(B, h, w, 3), of images that have one shape."""


class RawReader:
    def __init__(self, folder: Path) -> None:
        """Errors: OSError."""
        self._pixels: Pixels = np.load(folder / RAW_FILE, mmap_mode="r", allow_pickle=False)

    def image(self, row: int) -> Pixels:
        return np.array(self._pixels[row])

    def images(self, rows: NDArray[np.int64]) -> Pixels:
        return np.asarray(self._pixels[rows])


class EncodedReader:
    """Safe under threads."""

    def __init__(self, folder: Path) -> None:
        """Errors: OSError."""
        from array_record.python.array_record_module import ArrayRecordReader

        self._path = folder / ENCODED_FILE
        # Both off: they speed up reading in order and slow down reading at random.
        options = "readahead_buffer_size:0,max_parallelism:0"
        with _os_errors(self._path):
            self._reader = ArrayRecordReader(str(self._path), options, file_reader_buffer_size=32_768)

    def image(self, row: int) -> Pixels:
        """Errors: OSError, BadImage (the file was damaged since it was written)."""
        with _os_errors(self._path):
            records: list[bytes] = self._reader.read([row])
        return decode(records[0])

    def images(self, rows: NDArray[np.int64]) -> Pixels:
        return np.stack([self.image(row) for row in rows.tolist()])
