"""Image bytes on disk, written one after the other and read by index.

Two encodings. `raw`: images of one small shape as pixels in one `.npy`, read through a memory map with nothing to
decode. `encoded`: the source's own bytes in an ArrayRecord file (https://github.com/google/array_record), one record
per image. Which one fits is known only when the last image has been seen, and a source is read once, so while all
images have been small and alike both are written; the first that is different ends the raw one.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from trainer.data.images import Pixels, decode

Encoding = Literal["raw", "encoded"]
Shape = tuple[int, int]

RAW_FILE = "images.npy"
ENCODED_FILE = "images.array_record"
RAW_LIMIT = 64 * 64
"""Pixels of the largest image kept raw: a CIFAR-10 takes 184 MB, 60,000 images at this limit 740 MB."""
STORAGE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS)


class EncodedWriter:
    def __init__(self, folder: Path) -> None:
        from array_record.python.array_record_module import ArrayRecordWriter

        self.path = folder / ENCODED_FILE
        self._writer = ArrayRecordWriter(str(self.path), "group_size:1")
        self.count = 0

    def append(self, payload: bytes) -> None:
        """Errors: OSError."""
        with self._os_errors():
            self._writer.write(payload)
        self.count += 1

    def close(self) -> None:
        """Errors: OSError, also for what could not be written earlier: the library writes in the background."""
        with self._os_errors():
            self._writer.close()
        with open(self.path, "rb") as file:
            os.fsync(file.fileno())

    @contextmanager
    def _os_errors(self) -> Iterator[None]:
        """The library says what the operating system said, in a RuntimeError's text."""
        try:
            yield
        except RuntimeError as error:
            for code in STORAGE_ERRORS:
                if os.strerror(code) in str(error):
                    raise OSError(code, os.strerror(code), str(self.path)) from error
            raise OSError(errno.EIO, str(error), str(self.path)) from error


class RawWriter:
    """A `.npy` of (count, h, w, 3) bytes whose count is filled in at the end.

    Plain writes, not a memory map: a full disk is then an error and not a SIGBUS.
    """

    def __init__(self, folder: Path, shape: Shape) -> None:
        self.path = folder / RAW_FILE
        self._shape = shape
        self._file = open(self.path, "wb")
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


class PayloadReader(Protocol):
    def __len__(self) -> int: ...

    def image(self, row: int) -> Pixels: ...

    def images(self, rows: Sequence[int] | NDArray[Any]) -> list[Pixels] | Pixels: ...


class RawReader:
    def __init__(self, folder: Path) -> None:
        self._pixels: Pixels = np.load(folder / RAW_FILE, mmap_mode="r")

    def __len__(self) -> int:
        return len(self._pixels)

    def image(self, row: int) -> Pixels:
        return np.array(self._pixels[row])

    def images(self, rows: Sequence[int] | NDArray[Any]) -> Pixels:
        return np.asarray(self._pixels[np.asarray(rows)])


class EncodedReader:
    """Safe under threads."""

    def __init__(self, folder: Path) -> None:
        from array_record.python.array_record_module import ArrayRecordReader

        # Both off: they speed up reading in order and slow down reading at random.
        options = "readahead_buffer_size:0,max_parallelism:0"
        self._reader = ArrayRecordReader(
            str(folder / ENCODED_FILE), options, file_reader_buffer_size=32_768
        )

    def __len__(self) -> int:
        return int(self._reader.num_records())

    def payload(self, row: int) -> bytes:
        records: list[bytes] = self._reader.read([int(row)])
        return records[0]

    def image(self, row: int) -> Pixels:
        return decode(self.payload(row))

    def images(self, rows: Sequence[int] | NDArray[Any]) -> list[Pixels]:
        return [self.image(row) for row in rows]
