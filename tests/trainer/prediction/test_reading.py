"""Pictures as they are read: what is too large is told of before memory is full of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainer.prediction import reading


def test_a_picture_that_is_too_large_is_one_that_cannot_be_classified(
    storage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a disk and in a bucket alike; the others are read all the same."""
    monkeypatch.setattr(reading, "MAX_BYTES", 10)
    (tmp_path / "a.png").write_bytes(b"x" * 11)
    storage.put("a.png", b"x" * 11)
    storage.put("b.png", b"")
    found = list(reading.read([str(tmp_path / "a.png"), "gs://b/a.png", "gs://b/b.png", "gs://b/c.png"]))
    assert [one.problem for one in found] == [
        *[f"cannot be classified: {reading.TOO_LARGE}"] * 2,
        "cannot be classified: the file is empty",
        "cannot be read: it is not there",
    ]
