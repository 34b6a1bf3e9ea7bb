"""`inception evaluate` and `inception compare` as they are typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines.cli import main
from pipelines.commands.compare import _conclusion
from trainer.compare import Paired
from trainer.scorecard import Predictions, Scorecard
from trainer.state import State


@pytest.fixture
def ask(capfd: pytest.CaptureFixture[str], tmp_path: Path, colours: State, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Exit status, standard output and standard error, in a folder with pictures in `animals`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INCEPTION_STATE", str(colours.root))
    for number in range(12):
        name, channel = (("cat", 0), ("dog", 1), ("cow", 2))[number % 3]
        pixels = np.random.default_rng(number).integers(0, 60, (9, 9, 3)).astype(np.uint8)
        pixels[..., channel] += 150
        path = tmp_path / "animals" / ("cat" if number == 11 else name) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([*arguments])
        assert isinstance(ended.value.code, int)
        return ended.value.code, *capfd.readouterr()

    return run


ANIMALS = ("--data", "folder:animals", "--split", "all")


def test_a_scorecard_is_written_for_the_gate(ask: Any, tmp_path: Path) -> None:
    """As JSON with the answers beside it; `inception gate` takes the two as they are."""
    status, out, _ = ask("evaluate", "colours", *ANIMALS, "--out", "new.json")
    assert status == 0
    assert "colours version 1 on 12 images: all of folder:animals" in out
    assert "written: new.json and new.npz" in out
    card = Scorecard.model_validate_json((tmp_path / "new.json").read_text())
    assert card.accuracy == pytest.approx(11 / 12)
    assert Predictions.load(tmp_path / card.predictions).correct.mean() == pytest.approx(11 / 12)
    (tmp_path / "policy.toml").write_text("[gate]\nthreshold = 0.9\n")
    status, out, _ = ask("gate", "--scorecard", "new.json", "--policy", "policy.toml", "--json")
    assert status == 0
    assert json.loads(out)["outcome"] == "promote"


def test_one_json_object_is_the_answer(ask: Any) -> None:
    """And nothing else is on standard output."""
    status, out, _ = ask("evaluate", "colours/1", *ANIMALS, "--json")
    answer = json.loads(out)
    assert status == 0
    assert (answer["model"], answer["version"], answer["split"]) == ("colours", "1", "all")
    assert answer["scorecard"]["examples"] == 12
    assert answer["seen_in_training"] is None


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("evaluate", "colour", *ANIMALS), 1, "Did you mean 'colours'?"),
        (("evaluate", "colours/2", *ANIMALS), 1, "does not name its classes"),
        (("evaluate", "colours/3", *ANIMALS), 1, "cannot be loaded"),
        (("evaluate", "colours", "--data", "folder:nowhere"), 1, "Mend the path: that of --data, or"),
        (("evaluate", "colours", "--data", "digts"), 2, "Did you mean 'digits'?"),
        (("evaluate", "colours", *ANIMALS, "--out", "card.txt"), 2, "Let it end in .json."),
        (("evaluate", "colours", *ANIMALS, "--out", "no/card.json"), 2, "There is no folder 'no' for"),
        (("evaluate", "colours", *ANIMALS, "--out", "/proc/card.json"), 1, "/proc/card.json cannot be written"),
        (("compare", "colours/1", "colours"), 1, "Name images to ask both about with --data SOURCE."),
        (("compare", "colours/1", "colours/3", *ANIMALS), 1, "colours version 3"),
    ],
)
def test_a_wrong_call_is_an_error_with_a_remedy(arguments: tuple[str, ...], status: int, says: str, ask: Any) -> None:
    """No traceback."""
    ended, _, err = ask(*arguments)
    assert ended == status
    assert says in err
    assert "Traceback" not in err


def test_a_model_is_as_good_as_itself(ask: Any) -> None:
    """The comparison in words, and as one JSON object."""
    status, out, _ = ask("compare", "colours", "colours/1", *ANIMALS)
    assert status == 0
    assert "12 images, 3 classes: folder:animals" in out
    assert "Cannot tell: the two are right equally often." in out
    status, out, _ = ask("compare", "colours", "colours/1", *ANIMALS, "--json")
    answer = json.loads(out)
    assert (answer["p_value"], answer["better"], answer["difference"]) == (1.0, None, 0.0)


@pytest.mark.parametrize(("low", "explained"), [(0.001, True), (-0.001, False)])
def test_an_interval_without_0_that_decides_nothing_is_explained(low: float, explained: bool) -> None:
    """The exact test is the stricter of the two, and it decides."""
    side = {"name": "colours", "version": "1", "accuracy": 0.9, "interval": None, "log_loss": 0.1}
    side |= {"calibration_error": 0.1, "right_alone": 5, "seen": 0}
    paired = Paired.model_validate(
        {"source": "x", "examples": 100, "classes": ["a", "b"], "first": side, "second": side, "difference": 0.05,
         "difference_interval": {"low": low, "high": 0.1}, "p_value": 0.0625, "level": 0.05, "better": None,
         "examples_needed": 140}
    )  # fmt: skip
    assert _conclusion(paired).startswith("Cannot tell which is better: about 140 images would")
    assert ("stricter than the interval without 0" in _conclusion(paired)) is explained
