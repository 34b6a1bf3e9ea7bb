"""The prepared dataset: checked, divided, and readable at random.

    <folder>/manifest.json                what it holds and what was left out
    <folder>/<split>/examples.parquet     one row per example, sorted by identity
    <folder>/<split>/images.npy           or images.array_record: the payloads, in the order they were met

A row of the table names the payload's place in `row`. Sorting by identity makes the order of a split independent of
names and places in the source. The folder appears whole, by a rename, or not at all.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from trainer.data.images import Pixels
from trainer.data.payloads import FILES, EncodedReader, Encoding, PayloadReader, RawReader
from trainer.data.splits import SPLITS
from trainer.errors import StateError
from trainer.record import NearDuplicate, Rejected
from trainer.state import reported

FORMAT = 2
MANIFEST = "manifest.json"
TABLE = "examples.parquet"

SCHEMA = pa.schema(
    [
        ("identity", pa.string()),
        ("label", pa.int32()),
        ("path", pa.string()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("brightness", pa.float32()),
        ("hash", pa.uint64()),
        ("row", pa.int64()),
    ]
)
"""`brightness` is the mean over all pixels and channels, 0 to 255; `hash` is perceptual (see `near_duplicates`); `row`
is the payload's place in its file."""


class Manifest(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    fingerprint: str
    source: dict[str, str | int]
    classes: list[str]
    counts: dict[str, list[int]]
    """Examples per split and class."""
    identity_digests: dict[str, str]
    """SHA-256 over the sorted identities of each split, one a line."""
    mean: tuple[float, float, float]
    """Of the train split's pixels, per channel, 0 to 255."""
    std: tuple[float, float, float]
    height: tuple[int, int]
    """Smallest and largest, over all splits."""
    width: tuple[int, int]
    shape: tuple[int, int] | None
    """Height and width that all images share, where they do."""
    encoding: Encoding
    candidates: int
    """Images the source offered."""
    rejected: list[Rejected]
    """Every one that was left out, and why."""
    near_duplicates: list[NearDuplicate]
    """The closest hundred pairs of a training and a test image that look alike."""
    near_duplicates_total: int


class Split:
    """The examples of one split, by index. Reading is safe under threads."""

    def __init__(self, name: str, folder: Path, manifest: Manifest) -> None:
        self.name = name
        self.shape = manifest.shape
        """(h, w) where all images of the dataset have it, else None."""
        self.classes = manifest.classes
        self._folder = folder
        self._encoding = manifest.encoding

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def table(self) -> pa.Table:
        """See `SCHEMA`."""
        with reported(self._folder):
            return pq.read_table(self._folder / TABLE)

    @cached_property
    def labels(self) -> NDArray[np.int32]:
        return self._column("label")

    @cached_property
    def identities(self) -> list[str]:
        identities: list[str] = self.table["identity"].to_pylist()
        return identities

    @cached_property
    def _rows(self) -> NDArray[np.int64]:
        return self._column("row")

    def _column(self, name: str) -> NDArray[Any]:
        # A copy: pyarrow's own memory is read-only, which surprises whoever shuffles in place.
        values: NDArray[Any] = self.table[name].to_numpy().copy()
        return values

    @cached_property
    def _payloads(self) -> PayloadReader:
        with reported(self._folder):
            return RawReader(self._folder) if self._encoding == "raw" else EncodedReader(self._folder)

    def image(self, index: int) -> Pixels:
        """(H, W, 3) uint8."""
        return self._payloads.image(int(self._rows[index]))

    def images(self, indices: NDArray[Any] | list[int]) -> Pixels:
        """(B, h, w, 3) uint8, for a dataset whose images all have one shape. Errors: ValueError (they have not)."""
        if self.shape is None:
            raise ValueError("The images differ in shape: read them one by one with `image`, and resize.")
        rows = self._rows[np.asarray(indices, dtype=np.int64)]
        if not len(rows):
            return np.empty((0, *self.shape, 3), np.uint8)
        return self._payloads.images(rows)

    @property
    def decodes(self) -> bool:
        """Whether reading an image means decoding it."""
        return self._encoding == "encoded"


class PreparedDataset:
    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self._splits = {name: Split(name, path / name, manifest) for name in SPLITS}

    def split(self, name: str) -> Split:
        """`train`, `validation` or `test`."""
        return self._splits[name]


def open_prepared(path: str | Path) -> PreparedDataset:
    """Errors: StateError (not there, not complete, of another format)."""
    folder = Path(path)
    dataset = find_prepared(folder)
    if dataset is None:
        raise StateError(f"There is no prepared dataset at {folder}.", "Run again: `prepare` will make it anew.")
    return dataset


def find_prepared(folder: Path) -> PreparedDataset | None:
    """A complete prepared dataset of this format, or None."""
    try:
        with reported(folder):
            text = (folder / MANIFEST).read_text(encoding="utf-8")
    except StateError:
        if (folder / MANIFEST).exists():
            raise
        return None
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError:
        return None
    files = [folder / name / file for name in SPLITS for file in (TABLE, FILES[manifest.encoding])]
    if manifest.format != FORMAT or not all(file.is_file() for file in files):
        return None
    return PreparedDataset(folder, manifest)
