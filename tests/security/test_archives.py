"""Archives. The product unpacks none (test_code.py); TensorFlow Datasets does, for datasets that it downloads."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

OUTSIDE = ("../beside.png", "inside/../../beside.png", "ABSOLUTE/beside.png")
INSIDE = ("inside/1.png", "through/2.png")


def tar(path: Path, names: list[str]) -> None:
    """With links out of the folder before its files, one of them in the way of a file."""
    with tarfile.open(path, "w") as file:
        for name, leads_to in {"inside/link.png": "/etc/passwd", "through": str(path.parent)}.items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, leads_to
            file.addfile(link)
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 1
            file.addfile(member, io.BytesIO(b"x"))


def zipped(path: Path, names: list[str]) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.writestr(name, b"x")


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "pack"), [("TAR", tar), ("TAR_STREAM", tar), ("ZIP", zipped)])
def test_what_tfds_unpacks_stays_in_its_folder(
    kind: str, pack: Callable[[Path, list[str]], None], tmp_path: Path
) -> None:
    """A path that leads out of it is passed over, and no link is made."""
    from tensorflow_datasets.core.download import extractor, resource

    packed, folder = tmp_path / "packed", tmp_path / "unpacked" / "images"
    folder.parent.mkdir()
    pack(packed, [name.replace("ABSOLUTE", str(tmp_path)) for name in (*OUTSIDE, *INSIDE)])
    unpacking = extractor.get_extractor()
    with unpacking.tqdm():
        unpacking.extract(packed, resource.ExtractMethod[kind], folder).get()
    there = [path for path in tmp_path.rglob("*") if not path.is_dir() or path.is_symlink()]
    assert sorted(there) == sorted([packed, *(folder / name for name in INSIDE)])
    assert not any(path.is_symlink() for path in there)
