"""Checkpoints: two are kept, a damaged one is as good as absent, a killed writer leaves the one before."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer.errors import StateError
from trainer.record import Epoch
from trainer.training.checkpoints import Checkpoints, Position

ARRAYS = {
    "model/0000/conv/kernel": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "optimizer/0000/iteration": np.array(7, np.int64),
    "model/0001/seed": np.array([1, 2**32 - 1], np.uint32),
    "sums": np.array([0.1 + 0.2, 1e-300, 3.0]),
    "nothing": np.zeros((0, 3), np.float32),
}
CURVES = [
    Epoch(
        epoch=1,
        loss=0.1 + 0.2,
        accuracy=0.5,
        validation_loss=1 / 3,
        validation_accuracy=0.25,
        learning_rate=0.01,
        images_per_second=100.0,
        seconds=1.5,
    )
]

DIE_BETWEEN = """
import os, signal, sys
from pathlib import Path
import numpy as np
from trainer import state
from trainer.training import checkpoints
real = os.replace
def replace(beside, path):
    if str(path).endswith(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    real(beside, path)
os.replace = replace
checkpoints.Checkpoints(Path(sys.argv[1])).save(checkpoints.Position(20, 1.0, 1.0), [], {"a": np.zeros(1000)})
"""


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "checkpoints" / "k")


def save(checkpoints: Checkpoints, step: int) -> None:
    checkpoints.save(Position(step, step / 3, 0.25), CURVES, {**ARRAYS, "at": np.array(step)})


def files(checkpoints: Checkpoints) -> list[str]:
    return sorted(file.name for file in checkpoints.folder.iterdir()) if checkpoints.folder.exists() else []


def step_of(checkpoints: Checkpoints) -> int | None:
    found = checkpoints.latest()
    return found.position.step if found else None


def test_a_checkpoint_comes_back_to_the_last_bit(checkpoints: Checkpoints) -> None:
    """Position, curves, and every array with its type and shape."""
    save(checkpoints, 10)
    found = checkpoints.latest()
    assert found is not None
    assert found.position == Position(10, 10 / 3, 0.25)
    assert found.curves == CURVES
    assert found.arrays.keys() == {*ARRAYS, "at"}
    for name, array in ARRAYS.items():
        assert found.arrays[name].dtype == array.dtype
        assert found.arrays[name].shape == array.shape
        assert found.arrays[name].tobytes() == array.tobytes()


def test_none_is_none(checkpoints: Checkpoints) -> None:
    """A training that never wrote one begins at the start; there is nothing to clear."""
    assert checkpoints.latest() is None
    checkpoints.clear()
    assert files(checkpoints) == []


def test_two_are_kept(checkpoints: Checkpoints) -> None:
    """The newest and the one before, by step and not by spelling."""
    for step in (9, 10, 99, 100, 1_000_000):
        save(checkpoints, step)
    assert files(checkpoints) == [
        f"step-{step}.{end}" for step in ("000000100", "001000000") for end in ("json", "npz")
    ]
    assert step_of(checkpoints) == 1_000_000


def test_a_step_that_is_written_again_is_replaced(checkpoints: Checkpoints) -> None:
    """A resumed training passes the same steps again."""
    save(checkpoints, 10)
    checkpoints.save(Position(10, 99.0, 0.0), [], ARRAYS)
    found = checkpoints.latest()
    assert found is not None
    assert found.position.seconds == 99.0
    assert len(files(checkpoints)) == 2


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _drop_position(path: Path) -> None:
    about = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in about.items() if key != "position"}))


def _older(path: Path) -> None:
    about = json.loads(path.read_text())
    about["curves"][0].pop("accuracy")
    path.write_text(json.dumps(about))


@pytest.mark.parametrize(
    ("end", "damage"),
    [
        ("npz", _truncate),
        ("npz", _flip),
        ("npz", lambda path: path.write_bytes(b"")),
        ("npz", Path.unlink),
        ("json", Path.unlink),
        ("json", lambda path: path.write_text("")),
        ("json", lambda path: path.write_text("[]")),
        ("json", lambda path: path.write_bytes(b"\xff\xfe")),
        ("json", _truncate),
        ("json", _drop_position),
        ("json", _older),
    ],
)
def test_of_a_damaged_one_the_one_before_is_used(
    end: str, damage: Callable[[Path], Any], checkpoints: Checkpoints, capsys: pytest.CaptureFixture[str]
) -> None:
    """Truncated, one bit flipped, a file of the two missing, written by another version; it is said, not raised."""
    save(checkpoints, 10)
    save(checkpoints, 20)
    damage(checkpoints.folder / f"step-000000020.{end}")
    found = checkpoints.latest()
    assert found is not None
    assert found.position.step == 10
    assert int(found.arrays["at"]) == 10
    said = capsys.readouterr().out
    gone = end == "json" and damage is Path.unlink
    assert ("checkpoint step-000000020 is damaged" in said) is not gone


def test_when_all_are_damaged_there_is_none(checkpoints: Checkpoints) -> None:
    """The training begins at the start, and its new checkpoints count again."""
    for step in (10, 20):
        save(checkpoints, step)
        _flip(checkpoints.folder / f"step-0000000{step}.npz")
    assert checkpoints.latest() is None
    save(checkpoints, 10)
    assert step_of(checkpoints) == 10


@pytest.mark.parametrize("file", ["npz", "json"])
def test_a_writer_that_is_killed_leaves_the_one_before(
    file: str, checkpoints: Checkpoints, run_python: Callable[..., Any]
) -> None:
    """Between its two files too; the next write and the end of the training leave nothing of it."""
    save(checkpoints, 10)
    done = run_python(DIE_BETWEEN, str(checkpoints.folder), file)
    assert done.returncode == -signal.SIGKILL
    assert step_of(checkpoints) == 10
    save(checkpoints, 30)
    assert step_of(checkpoints) == 30
    checkpoints.clear()
    assert not checkpoints.folder.exists()


def test_clearing_forgets_all_and_no_more(checkpoints: Checkpoints) -> None:
    """A file that is none of ours stays, and so does its folder."""
    save(checkpoints, 10)
    save(checkpoints, 20)
    checkpoints.clear()
    assert not checkpoints.folder.exists()
    save(checkpoints, 10)
    (checkpoints.folder / "notes.txt").touch()
    checkpoints.clear()
    assert files(checkpoints) == ["notes.txt"]


def test_a_folder_that_cannot_be_written_is_an_error(checkpoints: Checkpoints) -> None:
    """One that says which."""
    checkpoints.folder.parent.parent.mkdir(exist_ok=True)
    checkpoints.folder.parent.write_text("in the way")
    with pytest.raises(StateError, match="is not a folder that can hold the state"):
        save(checkpoints, 10)
