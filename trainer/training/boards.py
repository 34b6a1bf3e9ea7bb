"""TensorBoard event files of a training: one folder per network, scalars of looks and epochs.

Written with `tf.summary.write`, which needs no tensorboard package (`tf.summary.scalar` does). A training that goes on
from a checkpoint passes some steps a second time; what the files have already is not written twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import tensorflow as tf
from tensorflow.core.framework import summary_pb2
from tensorflow.core.util import event_pb2

from trainer.events import note

_SCALAR = summary_pb2.SummaryMetadata(
    plugin_data=summary_pb2.SummaryMetadata.PluginData(plugin_name="scalars"), data_class=summary_pb2.DATA_CLASS_SCALAR
)


class Boards:
    """Event files in `folder`/member_<n>; a context manager, or close it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writers: dict[int, tuple[Any, dict[str, int]]] = {}
        self._broken = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def log(self, member: int, figures: Mapping[str, float], step: int) -> None:
        """Write scalars of one network. A disk that is full ends the files, not the training."""
        if self._broken:
            return
        try:
            writer, seen = self._writer(member)
            with writer.as_default():
                for tag, value in figures.items():
                    if step > seen.get(tag, -1):
                        tf.summary.write(tag, tf.constant(value, tf.float32), step=step, metadata=_SCALAR)
        except (tf.errors.OpError, OSError) as error:
            self._broken = True
            note(f"TensorBoard's files in {self.folder} end here: {error}.")

    def close(self) -> None:
        for writer, _ in self._writers.values():
            with suppress(tf.errors.OpError):
                writer.close()
        self._writers.clear()

    def _writer(self, member: int) -> tuple[Any, dict[str, int]]:
        if member not in self._writers:
            place = self.folder / f"member_{member}"
            seen: dict[str, int] = {}
            for tag, step, _ in scalars(place):
                seen[tag] = max(step, seen.get(tag, -1))
            self._writers[member] = tf.summary.create_file_writer(str(place)), seen
        return self._writers[member]


def scalars(folder: Path) -> Iterator[tuple[str, int, float]]:
    """Tag, step and value of every scalar in a folder's event files, oldest file first."""
    for file in sorted(folder.glob("events.out.tfevents.*")):
        # A process that was killed leaves half a record at a file's end.
        with suppress(tf.errors.DataLossError):
            for record in tf.data.TFRecordDataset(str(file)):
                event = event_pb2.Event.FromString(record.numpy())
                for value in event.summary.value:
                    yield value.tag, event.step, float(tf.make_ndarray(value.tensor))
