"""`inception gate` as it is typed: files in, a verdict out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.cli import _status
from trainer.record import Evaluated
from trainer.scorecard import Predictions, score
from trainer.state import write_atomically

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = 400


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs `inception gate` in a folder of its own: status, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def ask(*words: str) -> tuple[int, str, str]:
        status = _status(["gate", *words])
        out, err = capsys.readouterr()
        return status, out, err

    return ask


def write(name: str, right: int, classes: tuple[str, ...] = ("a", "b"), prefix: str = "", kept: bool = True) -> None:
    """A scorecard of a model that is right on the first so many examples, with its predictions beside it."""
    labels = np.arange(EXAMPLES, dtype=np.int32) % 2
    answers = np.where(np.arange(EXAMPLES) < right, labels, 1 - labels)
    probabilities = np.full((EXAMPLES, len(classes)), 0.1 / (len(classes) - 1), np.float32)
    probabilities[np.arange(EXAMPLES), answers] = 0.9
    predictions = Predictions([f"{prefix}{i}" for i in range(EXAMPLES)], labels, probabilities)
    card = score(predictions, classes, f"{name}.npz")
    write_atomically(Path(f"{name}.json"), card.model_dump_json())
    if kept:
        predictions.save(Path(f"{name}.npz"))


def policy(text: str = "threshold = 0.5") -> str:
    Path("gate.toml").write_text(f"[gate]\n{text}\n")
    return "gate.toml"


@pytest.mark.parametrize(("right", "outcome"), [(360, "promote"), (325, "undecided"), (300, "keep"), (100, "keep")])
def test_the_verdict_is_told_in_a_table_and_in_words(asked: Callable[..., Any], right: int, outcome: str) -> None:
    """The exit status is 0 whatever it is; every rule has its row."""
    write("new", right)
    write("old", 320)
    status, out, _ = asked("--scorecard", "new.json", "--against", "old.json", "--policy", policy())
    assert status == 0
    assert outcome.upper() in out.splitlines()
    assert "Accuracy" in out.split(outcome.upper())[1]
    for rule in ("scored", "comparable", "threshold", "improvement", "significance"):
        assert rule in out


def test_as_json_it_is_the_verdict_with_its_digest(asked: Callable[..., Any]) -> None:
    """The level is that of a first decision on these test examples."""
    write("new", 360)
    write("old", 320)
    status, out, _ = asked("--scorecard", "new.json", "--against", "old.json", "--policy", policy(), "--json")
    verdict = json.loads(out)
    assert (status, verdict["outcome"], len(verdict["digest"])) == (0, "promote", 64)
    rules = {rule["name"]: rule for rule in verdict["rules"]}
    assert rules["significance"]["limit"] == pytest.approx(0.2 / 52)
    assert rules["improvement"]["figure"] == pytest.approx(0.1)


def test_a_recipe_is_a_policy_and_a_run_record_a_scorecard(asked: Callable[..., Any]) -> None:
    """Of evaluate.json the challenger is meant; without --against it is a first model."""
    write("challenger", 390)
    card = json.loads(Path("challenger.json").read_text())
    document = Evaluated.model_validate(
        {"challenger": card, "champion": None, "champion_version": None, "worst_mistakes": []}
    )
    Path("evaluate.json").write_text(document.model_dump_json())
    recipe = str(ROOT / "configs" / "digits.toml")
    status, out, _ = asked("--scorecard", "evaluate.json", "--policy", recipe, "--json")
    assert (status, json.loads(out)["outcome"]) == (0, "promote")
    assert "meets the threshold 0.9700, and there is no champion yet" in json.loads(out)["reason"]


def test_without_predictions_what_needs_pairs_is_undecided(asked: Callable[..., Any]) -> None:
    """The threshold and the improvement are told from the scorecards."""
    write("new", 360, kept=False)
    write("old", 320)
    files = ("--scorecard", "new.json", "--against", "old.json", "--json")
    verdict = json.loads(asked(*files, "--policy", policy())[1])
    assert verdict["outcome"] == "undecided"
    assert "per-example predictions are not there" in verdict["reason"]
    assert [rule["outcome"] for rule in verdict["rules"]] == ["pass", "pass", "pass", "pass", "undecided"]
    assert json.loads(asked(*files, "--policy", policy("threshold = 0.95"))[1])["outcome"] == "keep"


@pytest.mark.parametrize(
    ("consent", "kept", "outcome", "words"),
    [
        (False, True, "undecided", "gate.allow_class_changes = true"),
        (True, True, "promote", "on the 2 classes that both know"),
        (True, False, "undecided", "per-example predictions are not there"),
    ],
)
def test_other_classes_need_consent_and_predictions(
    asked: Callable[..., Any], consent: bool, kept: bool, outcome: str, words: str
) -> None:
    """Both are then compared on the classes that both know."""
    write("new", 360, classes=("a", "b", "c"), kept=kept)
    write("old", 320)
    asks = policy(f"threshold = 0.5\nallow_class_changes = {str(consent).lower()}")
    verdict = json.loads(asked("--scorecard", "new.json", "--against", "old.json", "--policy", asks, "--json")[1])
    assert verdict["outcome"] == outcome
    assert words in verdict["reason"]


def test_the_same_classes_in_another_order_are_no_change(asked: Callable[..., Any]) -> None:
    """They need no consent."""
    write("new", 360)
    write("old", 320)
    card = json.loads(Path("old.json").read_text())
    turned = {key: card[key][::-1] for key in ("classes", "per_class", "confusion")}
    Path("old.json").write_text(json.dumps({**card, **turned}))
    kept = Predictions.load(Path("old.npz"))
    Predictions(kept.identities, 1 - kept.labels, kept.probabilities[:, ::-1]).save(Path("old.npz"))
    asks = policy("threshold = 0.5\nmax_class_drop = 0.0")
    verdict = json.loads(asked("--scorecard", "new.json", "--against", "old.json", "--policy", asks, "--json")[1])
    assert verdict["outcome"] == "promote"


def damage(name: str, content: str) -> None:
    write("new", 360)
    write("old", 320)
    Path(name).write_text(content)


@pytest.mark.parametrize(
    ("break_it", "status", "says"),
    [
        (lambda: Path("new.json").unlink(), 1, "new.json cannot be read: No such file"),
        (lambda: damage("new.json", "{"), 1, "new.json holds no scorecard (Expecting property name"),
        (lambda: damage("new.json", "[1]"), 1, "new.json holds no scorecard (document:"),
        (lambda: damage("old.json", '{"examples": "many"}'), 1, "old.json holds no scorecard (examples:"),
        (lambda: damage("new.npz", "PK"), 1, "new.npz are damaged"),
        (lambda: write("old", 320, prefix="other "), 1, "different test examples"),
        (lambda: write("other", 1, prefix="z") or Path("other.npz").rename("new.npz"), 1, "other test examples than"),
        (lambda: damage("gate.toml", "[gate]\nthreshhold = 0.5"), 2, "Did you mean 'threshold'?"),
        (lambda: damage("gate.toml", "[gate"), 2, "gate.toml is not valid TOML"),
        (lambda: Path("gate.toml").unlink(), 2, "There is no recipe at 'gate.toml'"),
        (lambda: damage("gate.toml", "[data]\nsource = 'digits'"), 2, "gate.toml is no policy: it has no [gate]."),
        (lambda: damage("gate.toml", Path("new.json").read_text()), 2, "gate.toml is no policy: it has no [gate]."),
    ],
)
def test_bad_files_end_in_a_clear_error(
    asked: Callable[..., Any], break_it: Callable[[], object], status: int, says: str
) -> None:
    """Which file, what was wrong, what to do; never a traceback."""
    write("new", 360)
    write("old", 320)
    policy()
    break_it()
    found, out, err = asked("--scorecard", "new.json", "--against", "old.json", "--policy", "gate.toml")
    assert (found, out) == (status, "")
    assert says in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) >= 2


def test_predictions_elsewhere_are_not_read(asked: Callable[..., Any]) -> None:
    """A scorecard names a file beside it, and no other."""
    write("new", 360)
    card = json.loads(Path("new.json").read_text())
    Path("new.json").write_text(json.dumps({**card, "predictions": "../new.npz"}))
    status, _, err = asked("--scorecard", "new.json", "--policy", policy())
    assert (status, "not a file beside it" in err) == (1, True)
