"""Many files at once."""

from __future__ import annotations

import threading
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from trainer.errors import StateError, StoreError
from trainer.storage import google, place, transfers


def test_many_files_go_and_come_at_once(storage: Any, tmp_path: Path) -> None:
    """Eight at a time, faults among them, into folders that are made; the answers are in the files' order."""
    there = place("gs://b/x")
    names = [f"sub-{number % 3}/{number}" for number in range(40)]
    for name in names:
        (tmp_path / "from" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "from" / name).write_bytes(name.encode())
    for action in (429, 503, "drop", "lose"):
        storage.fault("upload", action, times=3)
    sent = transfers.send(there, {name: tmp_path / "from" / name for name in names})
    assert [held.name for held in sent] == names
    for action in (429, 503, "drop", "truncate", "corrupt"):
        storage.fault("download", action, times=3)
    transfers.fetch(there, list(there.stored()), tmp_path / "to")
    assert {name: (tmp_path / "to" / name).read_text() for name in names} == {name: name for name in names}


def test_the_disk_has_room_before_anything_is_fetched(
    storage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For all files together, and some to spare; nothing is asked for where it has not."""
    there = place("gs://b/x")
    for name in "abc":
        there.write(name, b"x" * 1000)
    free = transfers.SPARE_BYTES + 2999
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(transfers.shutil, "disk_usage", lambda path: usage(free, 0, free))
    wanted = list(there.stored())
    with pytest.raises(StateError, match=r"GB are to be fetched into .*, and its disk has 0\.07 GB left") as caught:
        transfers.fetch(there, wanted, tmp_path / "to" / "here")
    assert "a larger disk" in caught.value.remedy
    assert storage.count("download") == 0
    transfers.fetch(there, wanted[:2], tmp_path / "to" / "here")


def test_the_first_error_ends_it(storage: Any, tmp_path: Path) -> None:
    """What has not begun does not begin."""
    begun, slow = [], threading.Event()

    def work(number: int) -> None:
        begun.append(number)
        if number == 0:
            raise StoreError("refused")
        slow.wait(0.5)

    with pytest.raises(StoreError, match="refused"):
        transfers.together(work, range(100))
    assert len(begun) < 30


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/x", "a//x"])
def test_no_name_leads_out_of_the_folder(name: str, storage: Any, tmp_path: Path) -> None:
    """Nothing is fetched then."""
    there = place("gs://b/x")
    there.write("good", b"")
    storage.put(f"x/{name}", b"malice")
    with pytest.raises(StateError, match="leads out of the folder"):
        transfers.fetch(there, list(there.stored()), tmp_path / "to" / "here")
    assert storage.count("download") == 0


def test_who_is_in_a_hurry_is_in_all_threads(storage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that is being ended does not wait for minutes."""
    monkeypatch.setattr(google, "HASTY_SECONDS", 0.2)
    (tmp_path / "x").touch()
    storage.fault("upload", 503, times=1000)
    with pytest.raises(StoreError, match="503"), google.hastily():
        transfers.send(place("gs://b/x"), {"x": tmp_path / "x"})
    assert storage.count("upload") < 100
