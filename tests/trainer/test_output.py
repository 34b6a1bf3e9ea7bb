from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from trainer.errors import StateError, UsageError
from trainer.output import expect, written
from trainer.state import reported


def test_a_place_that_will_do_is_left_as_it_is(tmp_path: Path) -> None:
    """Nothing is made, and what is there stays."""
    (tmp_path / "a.csv").write_text("old")
    expect(tmp_path / "a.csv", "--output")
    expect(tmp_path / "b.csv", "--output")
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.parametrize("parent", ["no", "file"])
def test_a_folder_that_is_not_there_is_wrong_use(tmp_path: Path, parent: str) -> None:
    """None is made."""
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"There is no folder .* for '.*a\.csv'\.") as caught:
        expect(tmp_path / parent / "a.csv", "--out")
    assert "choose another --out" in caught.value.remedy
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_that_cannot_be_written_is_named_as_it_was_given() -> None:
    """Not by the name that it would have had until it was whole."""
    with pytest.raises(StateError) as caught:
        expect(Path("/proc/a.csv"), "--output")
    assert str(caught.value) == "/proc/a.csv cannot be written: No such file or directory.\nChoose another --output."


def test_a_refusal_in_the_middle_is_about_the_output(tmp_path: Path) -> None:
    """Also where the state's own words have been found for it."""
    with pytest.raises(StateError, match="No space left") as caught, written("a.csv", "--out"), reported(tmp_path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/tmp/.a.csv.x")
    assert caught.value.remedy == "Choose another --out."


def test_an_error_about_something_else_is_left_as_it_is() -> None:
    """Its remedy fits."""
    with pytest.raises(StateError, match="gone") as caught, written("gs://b/a.csv", "--output"):
        raise StateError("The network is gone.", "Try again.") from ConnectionError("reset")
    assert caught.value.remedy == "Try again."
