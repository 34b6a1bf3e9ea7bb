"""Keras' own file, byte by byte as it is registered. It holds images of any size and loads in safe mode."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.exporting.answers import answering
from trainer.models import archive

if TYPE_CHECKING:
    from trainer.exporting.formats import Answer, Size
    from trainer.exporting.source import Source


def write(source: Source, path: Path, size: Size | None) -> None:
    shutil.copyfile(source.file, path)


def load(path: Path) -> Answer:
    return answering(archive.load(path))
