"""`inception data`: what it answers, what it draws, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli import main
from trainer.state import State

RECIPE = """
[data]
source = "digits"
limit = 96

[model]
variant = "inception_module"
image_size = 32

[train]
epochs = 1
batch_size = 16
optimizer = { name = "sgd", learning_rate = 0.1 }

[gate]
threshold = 0.1

[registry]
name = "digits"
"""


@pytest.fixture
def ask(capfd: pytest.CaptureFixture[str], tmp_path: Path, state: State, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command as it is typed: exit status, standard output and standard error."""
    (tmp_path / "digits.toml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["data", "digits.toml", "--state", str(state.root), *arguments])
        assert isinstance(ended.value.code, int)
        return ended.value.code, *capfd.readouterr()

    return run


def test_the_images_are_prepared_and_described(ask: Any, state: State) -> None:
    """The first time they are prepared, which is said; then they are there. The table adds up."""
    status, out, err = ask()
    assert status == 0
    assert err == "preparing the images of digits …\n"
    for fact in ("class  train  validation  test", "8 × 8 pixels", "0 of 1,797", "state/data/", "raw"):
        assert fact in out
    assert [line.split() for line in out.splitlines() if line.startswith("all")] == [["all", "96", "96", "96"]]
    status, again, err = ask()
    assert (status, err) == (0, "")
    assert out.endswith(again)


def test_the_facts_are_answered_in_json(ask: Any, digits: Any, state: State) -> None:
    """One object, and nothing else on standard output."""
    digits.into(state)
    status, out, err = ask("--json")
    assert (status, err) == (0, "")
    facts = json.loads(out)
    assert facts["fingerprint"] == digits.fingerprint
    assert facts["classes"] == list("0123456789")
    assert {split: sum(counts) for split, counts in facts["counts"].items()} == dict.fromkeys(facts["counts"], 96)
    assert (facts["height"], facts["width"], facts["encoding"]) == ([8, 8], [8, 8], "raw")
    assert facts["rejected"] == []
    assert facts["bytes"] == sum(p.stat().st_size for p in Path(facts["path"]).rglob("*") if p.is_file())


def test_a_contact_sheet_is_drawn(ask: Any, digits: Any, state: State, tmp_path: Path) -> None:
    """Whole or not at all; the answer says where it is."""
    digits.into(state)
    assert ask("--show", "sheet.png", "--set", "train.augment.rotation=30.0") == (0, "drawn: sheet.png\n", "")
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    status, out, _ = ask("--show", "sheet.png", "--json")
    assert (status, json.loads(out)["picture"]) == (0, "sheet.png")
    assert not list(tmp_path.glob(".sheet*"))


@pytest.mark.parametrize(
    ("arguments", "message", "remedy"),
    [
        (["--show", "sheet.jpg"], "Received the picture's name 'sheet.jpg'.", ".png"),
        (["--show", "nowhere/sheet.png"], "which is no folder", "a folder that is there"),
        (["--set", "train.agument.flip=true"], "unknown key", "--set"),
        (["--set", "data.source=tfds:cifar10", "--data-dir", "nowhere"], "nowhere", ""),
    ],
)
def test_what_makes_no_sense_is_refused(
    ask: Any, tmp_path: Path, arguments: list[str], message: str, remedy: str
) -> None:
    """Before anything is prepared or drawn: what was received and what to do."""
    status, out, err = ask(*arguments)
    assert status in (1, 2)
    assert out == ""
    assert message in err
    assert remedy in err
    assert not list(tmp_path.glob("*.png"))
