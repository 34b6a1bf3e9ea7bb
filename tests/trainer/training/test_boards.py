"""TensorBoard's event files."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.training.boards import Boards, scalars


def test_every_network_has_scalars_of_its_own(tmp_path: Path) -> None:
    """In a folder each; with their steps."""
    with Boards(tmp_path) as boards:
        boards.log(1, {"step/loss": 2.5, "step/accuracy": 0.25}, 10)
        boards.log(2, {"step/loss": 1.5}, 20)
    assert list(scalars(tmp_path / "member_1")) == [("step/loss", 10, 2.5), ("step/accuracy", 10, 0.25)]
    assert list(scalars(tmp_path / "member_2")) == [("step/loss", 20, 1.5)]


def test_scalars_can_be_seen_while_the_training_goes_on(tmp_path: Path) -> None:
    """Nobody waits for its end."""
    boards = Boards(tmp_path)
    boards.log(1, {"loss": 2.5}, 1)
    assert list(scalars(tmp_path / "member_1")) == [("loss", 1, 2.5)]
    boards.close()


@pytest.mark.parametrize("cut", [0, 5])
def test_a_second_sitting_doubles_no_step(cut: int, tmp_path: Path) -> None:
    """Every tag goes on where it stopped, also where a kill left half a record."""
    with Boards(tmp_path) as boards:
        for step in (1, 2, 3):
            boards.log(1, {"step/loss": 1.0}, 10 * step)
        boards.log(1, {"epoch/loss": 1.0}, 1)
        boards.log(1, {"step/loss": 1.0}, 40)
    [file] = (tmp_path / "member_1").iterdir()
    file.write_bytes(file.read_bytes()[: file.stat().st_size - cut])
    with Boards(tmp_path) as boards:
        for step in (3, 4, 5):
            boards.log(1, {"step/loss": 2.0}, 10 * step)
        for epoch in (1, 2):
            boards.log(1, {"epoch/loss": 2.0}, epoch)
    found = sorted(scalars(tmp_path / "member_1"))
    assert [(tag, step) for tag, step, _ in found] == [
        *(("epoch/loss", epoch) for epoch in (1, 2)),
        *(("step/loss", 10 * step) for step in (1, 2, 3, 4, 5)),
    ]
    assert ("step/loss", 40, 2.0 if cut else 1.0) in found


def test_a_folder_that_cannot_be_written_ends_no_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is said once."""
    (tmp_path / "tensorboard").write_text("in the way")
    with Boards(tmp_path / "tensorboard") as boards:
        boards.log(1, {"loss": 1.0}, 1)
        boards.log(1, {"loss": 1.0}, 2)
    [said] = capsys.readouterr().out.splitlines()
    assert said.startswith(f"TensorBoard's files in {tmp_path / 'tensorboard'} end here: ")
