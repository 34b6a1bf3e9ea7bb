"""docs/schedules.md: its examples can be used as they stand, and it leaves no key out."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from pipelines.schedules import Schedule, load
from trainer.notifications import Notifications

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "schedules.md").read_text(encoding="utf-8")


def example(language: str, word: str) -> str:
    """The block of a language that has a word in it."""
    [found] = [block for block in re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL) if word in block]
    return found


def test_the_schedules_of_the_page_can_be_used(tmp_path: Path) -> None:
    """With every value that is written there."""
    shutil.copy(ROOT / "configs" / "digits.toml", tmp_path)
    (tmp_path / "schedules.toml").write_text(example("toml", "[[schedule]]"))
    [schedule] = load(tmp_path / "schedules.toml")
    assert schedule.parameters.epochs == 30
    assert schedule.problem(tmp_path) is None


def test_every_key_of_a_schedule_is_on_the_page() -> None:
    """With what holds where it is left out."""
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", TEXT, re.MULTILINE))
    assert set(rows) == set(Schedule.model_fields)
    for name, field in Schedule.model_fields.items():
        if field.is_required():
            assert rows[name] == "must be there"
        elif isinstance(field.default, str | bool | int):
            assert tomllib.loads(f"value = {rows[name].strip('`')}")["value"] == field.default


def test_the_notifications_of_the_page_can_be_used() -> None:
    """And the comments beside them name what holds where a key is left out."""
    text = example("toml", "[[webhook]]")
    wanted = Notifications.model_validate(tomllib.loads(text))
    assert len(wanted.webhook) == len(wanted.email) == 1
    assert f"left out: {', '.join(wanted.email[0].on[:-1])} and {wanted.email[0].on[-1]}" in text


def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    """No key that it does not know, in no section that it does not belong to."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not here")
    unit = tmp_path / "inception.service"
    unit.write_text(re.sub(r"ExecStart=\S+", f"ExecStart={sys.executable}", example("ini", "[Service]")))
    found = subprocess.run([program, "verify", str(unit)], capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 0, found.stderr
    assert str(unit.name) not in found.stderr
