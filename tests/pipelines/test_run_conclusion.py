"""The line in which a run says how it ended."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipelines.commands import run
from trainer.record import Outcome


@pytest.mark.parametrize(
    ("result", "changed", "line"),
    [
        ("promoted", {}, "PROMOTED  digits version 2  accuracy 0.8959"),
        ("kept", {}, "KEPT  digits: version 1 stays champion, version 2 (accuracy 0.8959) was not promoted"),
        ("kept", {"champion": None}, "KEPT  digits: nobody is champion, version 2 (accuracy 0.8959) was not promoted"),
        ("kept", {"version": None, "accuracy": None}, "KEPT"),
        ("undecided", {"accuracy": None}, "UNDECIDED  digits version 2"),
        ("failed", {"version": None, "accuracy": None}, "FAILED"),
    ],
)
def test_the_headline_cannot_be_misread(result: Any, changed: dict[str, Any], line: str, tmp_path: Path) -> None:
    """Where the champion was kept it is named, and the challenger is not said to be kept."""
    values: dict[str, Any] = {name: None for name, field in Outcome.model_fields.items() if field.is_required()}
    values |= {"tick": "t", "result": result, "reason": "Why.", "remedy": "", "model": "digits"}
    values |= {"version": "2", "accuracy": 0.8959, "champion": "1"}
    console = Console(file=StringIO(), width=200)
    run._conclude(console, Outcome(**values | changed), ["r.toml"], tmp_path)
    assert isinstance(console.file, StringIO)
    assert console.file.getvalue().splitlines()[1] == line
