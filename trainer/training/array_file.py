"""Named arrays in one file, in the safetensors format, written straight from where they lie in memory.

The library's own writer passes through a file of a name that nobody could clean up after a kill, says of a full disk
only that it failed, and would be followed by a second reading for the checksum.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

_TYPES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
}


def write(path: Path, arrays: Mapping[str, np.ndarray]) -> str:
    """Write them and return the file's SHA-256. Errors: OSError; TypeError (a type that the format has not)."""
    # As the library does it: large types first, so that everything lies where its type wants it.
    ordered = sorted(arrays.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
    header, begin = {}, 0
    for name, array in ordered:
        if array.dtype.name not in _TYPES:
            raise TypeError(f"{name!r} is of type {array.dtype}, which cannot be written")
        end = begin + array.nbytes
        header[name] = {"dtype": _TYPES[array.dtype.name], "shape": array.shape, "data_offsets": (begin, end)}
        begin = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    digest = hashlib.sha256()
    parts: list[bytes | memoryview] = [struct.pack("<Q", len(text)), text, *(_raw(array) for _, array in ordered)]
    with path.open("wb") as file:
        for part in parts:
            file.write(part)
            digest.update(part)
    return digest.hexdigest()


def read(path: Path, sha256: str) -> dict[str, np.ndarray]:
    """Errors: OSError; ValueError where the checksum is another."""
    from safetensors import safe_open

    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise ValueError("the checksum does not match")
    with safe_open(path, framework="np", backend="pread") as held:
        arrays: dict[str, np.ndarray] = held.get_tensors()
        return arrays


def _raw(array: np.ndarray) -> memoryview:
    little = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
    return little.reshape(-1).view(np.uint8).data
