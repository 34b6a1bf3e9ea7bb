"""Checksums of files, remembered between runs."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trainer.data import digests as module
from trainer.data.digests import UNREADABLE, FileFact, digests
from trainer.errors import StateError


def settle(path: Path, seconds_ago: float = 60) -> None:
    """Make a file look as if it had been left alone for a while."""
    when = time.time() - seconds_ago
    os.utime(path, (when, when))


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = []
    for index in range(1200):  # more than one query's worth
        path = tmp_path / f"{index}.bin"
        path.write_bytes(f"content {index}".encode())
        settle(path)
        paths.append(path)
    return paths


def facts(files: list[Path]) -> list[FileFact]:
    return [FileFact.of(path) for path in files]


def true(files: list[Path]) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]


def test_checksums_are_those_of_the_contents(files: list[Path], tmp_path: Path) -> None:
    """Every file gets its SHA-256, in the order asked for, the first time and from memory."""
    database = tmp_path / "cache" / "digests.db"
    assert digests(facts(files), database) == true(files)
    assert digests(facts(files)[::-1], database) == true(files)[::-1]


def test_an_unchanged_file_is_not_read_again(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second time, only the file that changed is opened."""
    digests(facts(files), tmp_path / "digests.db")
    files[7].write_bytes(b"something else")
    settle(files[7], 30)
    read: list[str] = []
    hash_one = module._hash
    monkeypatch.setattr(module, "_hash", lambda file: (read.append(file.path), hash_one(file))[1])
    assert digests(facts(files), tmp_path / "digests.db") == true(files)
    assert read == [str(files[7])]


def test_a_file_that_changed_just_now_is_not_trusted(tmp_path: Path) -> None:
    """Two writes of equal length within the clock's grain are told apart."""
    path = tmp_path / "fresh"
    path.write_bytes(b"one")
    stat = path.stat()
    first = digests([FileFact.of(path)], tmp_path / "digests.db")
    path.write_bytes(b"two")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert digests([FileFact.of(path)], tmp_path / "digests.db") != first


def test_a_file_that_cannot_be_read_has_a_mark_and_is_tried_again(tmp_path: Path) -> None:
    """A file that has gone is marked; when it is back, it has its checksum."""
    path = tmp_path / "there"
    path.write_bytes(b"content")
    settle(path)
    fact = FileFact.of(path)
    path.rename(tmp_path / "gone")
    assert digests([fact], tmp_path / "digests.db") == [UNREADABLE]
    (tmp_path / "gone").rename(path)
    assert digests([fact], tmp_path / "digests.db") == true([path])


def test_a_damaged_database_is_made_anew(files: list[Path], tmp_path: Path) -> None:
    """The memory is only a memory: garbage in its place costs time, not the run."""
    database = tmp_path / "digests.db"
    database.write_bytes(b"this is not a database" * 100)
    assert digests(facts(files), database) == true(files)
    assert digests(facts(files), database) == true(files)


def test_a_place_that_cannot_be_written_is_a_state_error(tmp_path: Path) -> None:
    """Where the state folder is not a folder, the error says so."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StateError, match="state"):
        digests([], tmp_path / "file" / "digests.db")
    (tmp_path / "digests.db").mkdir()
    with pytest.raises(StateError, match="cannot be kept"):
        digests([], tmp_path / "digests.db")


def test_several_processes_share_one_memory(files: list[Path], tmp_path: Path) -> None:
    """Four processes that start from nothing at once all get the right answers."""
    code = (
        "import sys; from pathlib import Path; from trainer.data.digests import *;"
        "files = [FileFact.of(Path(sys.argv[1]) / f'{i}.bin') for i in range(1200)];"
        "print('\\n'.join(digests(files, Path(sys.argv[1]) / 'shared.db')))"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for process in running:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert output.split() == true(files)
