"""Writes a prepared dataset while its images stream by, into a folder beside, and publishes it by a rename."""

from __future__ import annotations

import heapq
import os
import shutil
import tempfile
from array import array
from hashlib import sha256
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from trainer.data import near_duplicates
from trainer.data.inspection import Inspected
from trainer.data.payloads import EncodedWriter, RawWriter, Shape
from trainer.data.prepared import FORMAT, MANIFEST, SCHEMA, TABLE, Manifest
from trainer.data.splits import SPLITS
from trainer.record import Rejected
from trainer.state import shared

PerChannel = tuple[float, float, float]


class Table:
    """The columns of one split, compactly, in the order in which the examples were met."""

    def __init__(self) -> None:
        self.identities: list[str] = []
        self.paths: list[str] = []
        self.labels = array("i")
        self.heights = array("i")
        self.widths = array("i")
        self.sums = array("Q")
        """Six per example: sum over the pixels of each channel, then of their squares."""
        self.hashes = array("Q")
        self.dropped: set[int] = set()

    def moments(self) -> NDArray[np.float64]:
        """(n, 2, 3): sums and sums of squares per channel."""
        return np.array(self.sums, dtype=np.float64).reshape(-1, 2, 3)


class DatasetWriter:
    """Takes accepted examples one by one; memory grows by their names and numbers only."""

    def __init__(self, final: Path, limit: int | None) -> None:
        """Errors: OSError."""
        final.parent.mkdir(parents=True, exist_ok=True)
        self._final = final
        self._limit = limit
        self.folder = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.parent))
        self.tables = {name: Table() for name in SPLITS}
        self._smallest: dict[str, list[int]] = {name: [] for name in SPLITS}
        self._encoded: dict[str, EncodedWriter] = {}
        self._raw: dict[str, RawWriter] = {}
        for name in SPLITS:
            (self.folder / name).mkdir()
            self._encoded[name] = EncodedWriter(self.folder / name)
        self._shape: Shape | None = None
        self._uniform = True

    def add(self, split: str, inspected: Inspected) -> int | None:
        """Keep one example; its index in the split's table, None where the limit passes over it. Errors: OSError."""
        if self._limit is not None and not self._may_be_chosen(split, inspected.identity):
            return None
        self._write(split, inspected)
        table = self.tables[split]
        table.identities.append(inspected.identity)
        table.paths.append(inspected.raw.path)
        table.labels.append(inspected.raw.label)
        table.heights.append(inspected.shape[0])
        table.widths.append(inspected.shape[1])
        table.sums.extend(inspected.sums)
        table.hashes.append(inspected.hash)
        return len(table.identities) - 1

    def _may_be_chosen(self, split: str, identity: str) -> bool:
        """Whether fewer than the limit have come so far whose identity sorts before this one."""
        smallest, value = self._smallest[split], -int(identity, 16)
        if len(smallest) < (self._limit or 0):
            heapq.heappush(smallest, value)
            return True
        return heapq.heappushpop(smallest, value) != value

    def _write(self, split: str, inspected: Inspected) -> None:
        self._encoded[split].append(inspected.raw.payload)
        if self._shape is None:
            self._shape = inspected.shape
            if inspected.pixels is not None:
                self._raw = {name: RawWriter(self.folder / name, inspected.shape) for name in SPLITS}
        elif inspected.shape != self._shape and self._uniform:
            self._uniform = False
            self._discard_raw()
        if self._raw:
            assert inspected.pixels is not None, "small images come with their pixels"
            self._raw[split].append(inspected.pixels)

    def _discard_raw(self) -> None:
        for writer in self._raw.values():
            writer.discard()
        self._raw = {}

    def drop(self, split: str, index: int) -> None:
        """Leave an example out after all; its payload stays in the file, and nothing names it."""
        self.tables[split].dropped.add(index)

    def chosen(self, split: str) -> NDArray[np.int64]:
        """Indices into the split's table of what will be in the dataset, sorted by identity."""
        table = self.tables[split]
        kept = [index for index in range(len(table.identities)) if index not in table.dropped]
        kept.sort(key=table.identities.__getitem__)
        return np.array(kept[: self._limit], dtype=np.int64)

    def counts(self, classes: int) -> dict[str, list[int]]:
        """Examples per split and class."""
        return {
            name: np.bincount(np.array(table.labels, dtype=np.int64)[self.chosen(name)], minlength=classes).tolist()
            for name, table in self.tables.items()
        }

    def finish(
        self,
        fingerprint: str,
        source: dict[str, str | int],
        classes: list[str],
        candidates: int,
        rejected: list[Rejected],
    ) -> None:
        """Write tables and manifest and put the folder in its place. Errors: OSError."""
        chosen = {name: self.chosen(name) for name in SPLITS}
        digests = {name: self._write_table(name, chosen[name]) for name in SPLITS}
        mean, std = self._pixel_statistics(chosen["train"])
        alike, pairs = near_duplicates.named(*(self._looks(name, chosen[name]) for name in ("train", "test")))
        raw = bool(self._raw)
        for name in SPLITS:
            if raw:
                self._raw[name].close()
                self._encoded[name].discard()
            else:
                self._encoded[name].close()
        manifest = Manifest(
            format=FORMAT,
            fingerprint=fingerprint,
            source=source,
            classes=classes,
            counts=self.counts(len(classes)),
            identity_digests=digests,
            mean=mean,
            std=std,
            height=self._range("heights", chosen),
            width=self._range("widths", chosen),
            shape=self._shape if self._uniform else None,
            encoding="raw" if raw else "encoded",
            candidates=candidates,
            rejected=rejected,
            near_duplicates=pairs,
            near_duplicates_total=alike,
        )
        _write_synced(self.folder / MANIFEST, manifest.model_dump_json(indent=1).encode())
        self._publish()

    def _write_table(self, name: str, chosen: NDArray[np.int64]) -> str:
        table = self.tables[name]
        heights = np.array(table.heights, dtype=np.int32)[chosen]
        widths = np.array(table.widths, dtype=np.int32)[chosen]
        sums = table.moments()[chosen, 0].sum(axis=1)
        identities = [table.identities[index] for index in chosen]
        columns = {
            "identity": identities,
            "label": np.array(table.labels, dtype=np.int32)[chosen],
            "path": [table.paths[index] for index in chosen],
            "height": heights,
            "width": widths,
            "brightness": (sums / (3.0 * heights * widths)).astype(np.float32),
            "hash": np.array(table.hashes, dtype=np.uint64)[chosen],
            "row": chosen,
        }
        with (self.folder / name / TABLE).open("wb") as file:
            pq.write_table(pa.table(columns, schema=SCHEMA), file)
            file.flush()
            os.fsync(file.fileno())
        return sha256("".join(f"{identity}\n" for identity in identities).encode()).hexdigest()

    def _looks(self, name: str, chosen: NDArray[np.int64]) -> near_duplicates.Looks:
        table = self.tables[name]
        return near_duplicates.Looks(np.array(table.hashes, np.uint64)[chosen], [table.paths[i] for i in chosen])

    def _pixel_statistics(self, chosen: NDArray[np.int64]) -> tuple[PerChannel, PerChannel]:
        """Mean and standard deviation per channel over all pixels of the train split; zeros where it is empty."""
        table = self.tables["train"]
        if not len(chosen):
            return (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)
        pixels = float(
            np.sum(np.array(table.heights, dtype=np.int64)[chosen] * np.array(table.widths, dtype=np.int64)[chosen])
        )
        first, second = table.moments()[chosen].sum(axis=0) / pixels
        std = np.sqrt(np.maximum(second - first**2, 0.0))
        return _per_channel(first), _per_channel(std)

    def _range(self, column: str, chosen: dict[str, NDArray[np.int64]]) -> tuple[int, int]:
        values = np.concatenate(
            [np.array(getattr(self.tables[name], column), dtype=np.int64)[chosen[name]] for name in SPLITS]
        )
        return int(values.min()), int(values.max())

    def _publish(self) -> None:
        for folder in [*(self.folder / name for name in SPLITS), self.folder]:
            _sync_folder(folder)
        self.folder.chmod(shared(0o777))
        if self._final.exists():  # of an older format, or damaged: nobody could have read it
            shutil.rmtree(self._final)
        self.folder.rename(self._final)
        _sync_folder(self._final.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """Remove what has been written and not published."""
        if self.folder.exists():
            self._discard_raw()
            for writer in self._encoded.values():
                writer.discard()
        shutil.rmtree(self.folder, ignore_errors=True)


def _per_channel(values: NDArray[np.float64]) -> PerChannel:
    red, green, blue = values.tolist()
    return red, green, blue


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
