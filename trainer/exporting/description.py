"""What stands beside an export, so that whoever has it needs nothing else: classes, input, origin, digests."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.exporting.answers import IMAGES, PROBABILITIES

if TYPE_CHECKING:
    from trainer.exporting.comparison import Compared
    from trainer.exporting.formats import Format, Size
    from trainer.exporting.source import Source

IN_FOLDER = "export.json"
BESIDE_FILE = ".json"
"""Added to the file's whole name."""


def place(path: Path, is_folder: bool) -> Path:
    """Of the description of an export."""
    return path / IN_FOLDER if is_folder else path.with_name(f"{path.name}{BESIDE_FILE}")


def is_one(path: Path) -> bool:
    """Whether a file is the description of an export."""
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(told, dict) and {"format", "load_with", "files"} <= told.keys()


def describe(source: Source, row: Format, path: Path, size: Size | None, compared: Compared) -> dict[str, Any]:
    """As JSON values. Sizes that are open are null."""
    found = source.found
    batch, (height, width) = (1, size) if size else (None, (None, None))
    files = sorted(file for file in path.rglob("*") if file.is_file()) if row.is_folder else [path]
    return {
        "format": row.name,
        "load_with": row.runtime,
        "input": {
            "name": IMAGES,
            "dtype": "uint8",
            "shape": [batch, height, width, 3],
            "meaning": "pixels 0 to 255 as decoded: rows, columns, then red, green, blue; scaling"
            + (" is inside" if size else " and resizing are inside"),
        },
        "output": {"name": PROBABILITIES, "dtype": "float32", "shape": [batch, len(source.classes)]},
        "classes": source.classes,
        "model": {
            "name": found.name,
            "version": found.version,
            "variant": source.told.get("variant"),
            "run_key": found.run_key or source.told.get("run_key"),
            "fingerprint": found.fingerprint or source.told.get("fingerprint"),
            "accuracy": found.accuracy,
            "created_at": found.created_at.isoformat(),
            "sha256": source.sha256,
        },
        "compared": asdict(compared),
        "files": {file.relative_to(path).as_posix() if row.is_folder else file.name: _sha256(file) for file in files},
    }


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
