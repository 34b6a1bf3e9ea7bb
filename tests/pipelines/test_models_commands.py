"""`inception models …`: what people are told, asked and refused; on a real MLflow store and a real ledger."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest

from pipelines.cli import cli, main
from trainer import record, tracking
from trainer.errors import EvaluationError
from trainer.promote import promote
from trainer.registry import opened
from trainer.registry.protocol import ModelVersion, champion
from trainer.state import State

COMMANDS = ("promote", "rollback", "retire", "audit", "history", "prune")


@dataclass
class Place:
    state: State
    ask: Callable[..., tuple[int, str, str]]

    @property
    def registry(self) -> Any:
        return opened(self.state, "digits")[0]

    def events(self) -> list[str]:
        return [entry.event for entry in opened(self.state, "digits")[1].read().entries]

    @property
    def champion(self) -> str | None:
        registry, ledger = opened(self.state, "digits")
        assert registry.alias("digits", "champion") == champion(ledger.read().entries)
        return champion(ledger.read().entries)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, mlflow_template: Path) -> State:
    """Three versions of rising accuracy; 1 and 2 were promoted by the gate, 3 awaits it."""
    from trainer.config import Gate

    state = State.open(tmp_path_factory.mktemp("models") / "state")
    shutil.copyfile(mlflow_template, state.mlflow_database)
    registry, ledger = opened(state, "digits")
    for number in (1, 2, 3):
        tags = {"run_key": f"k{number}", "test_accuracy": f"0.9{number}"}
        version = registry.create_version("digits", f"file:///{number}", "", tags).version
        scored = card(state.run(f"k{number}"), 90 + number)
        evaluated = record.Evaluated(challenger=scored, champion=None, champion_version=None, worst_mistakes=[])
        record.write(state.run(f"k{number}"), evaluated)
        registered = record.Registered(name="digits", version=version, created=True)
        if number < 3:
            policy = Gate(threshold=0.5, policy="threshold")
            folder = state.run(f"k{number}")
            promote(registry, ledger, "digits", folder, registered, evaluated, policy, f"t{number}", f"k{number}")
    return state


def card(folder: Path, right: int) -> Any:
    import numpy as np

    from trainer.scorecard import Predictions, score

    correct = np.arange(100)[:, None] < right
    probabilities = np.where(correct, np.float32([0.9, 0.1]), np.float32([0.2, 0.8])).astype(np.float32)
    predictions = Predictions([str(index) for index in range(100)], np.zeros(100, np.int32), probabilities)
    predictions.save(folder / "challenger.npz")
    return score(predictions, ["x", "y"], "challenger.npz")


@pytest.fixture
def place(template: State, state: State, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Place:
    """What loads a model is replaced: version 1 answers, others are damaged where a test says so."""
    shutil.copytree(template.root, state.root, dirs_exist_ok=True)
    monkeypatch.setattr("trainer.judging.golden.check", lambda state, version: None)
    tracking.connect(state)

    def ask(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["models", *arguments, "--state", str(state.root)])
        assert isinstance(ended.value.code, int)
        return ended.value.code, *capfd.readouterr()

    return Place(state, ask)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_an_example(name: str) -> None:
    """As the ones above it."""
    group = cli.get_command(click.Context(cli), "models")
    assert isinstance(group, click.Group)
    command = group.commands[name]
    assert f"inception models {name} digits" in (command.help or "")
    assert all(option.help for option in command.params if isinstance(option, click.Option))


def test_alone_it_lists_the_models(place: Place) -> None:
    """As ever, in words and in JSON; an option that stands before a command is sent behind it."""
    status, out, _ = place.ask()
    assert status == 0
    assert "version 2, accuracy 0.9200" in out
    assert json.loads(place.ask("--json")[1])["models"][0]["champion"]["version"] == "2"
    with pytest.raises(SystemExit) as ended:
        main(["models", "--state", str(place.state.root), "history", "digits"])
    assert ended.value.code == 2


def test_an_accuracy_that_a_hand_made_no_number_is_left_out(place: Place) -> None:
    """Of the list, and of the questions."""
    place.registry.set_tags("digits", "2", {"test_accuracy": "good"})
    status, out, _ = place.ask()
    assert (status, json.loads(place.ask("--json")[1])["models"][0]["champion"]["accuracy"]) == (0, None)
    assert "version 2" in out
    _, _, err = place.ask("rollback", "digits")
    assert "Champion now: version 2." in err


def test_the_history_tells_who_did_what_and_why(place: Place) -> None:
    """By the run or the person; a version that was deleted since is still told of."""
    place.ask("promote", "digits", "3", "--reason", "wrong labels in the test set", "--yes")
    place.registry.delete_version("digits", "1")
    status, out, _ = place.ask("history", "digits")
    assert status == 0
    first, second, third = out.splitlines()[1:]
    assert first.split()[:1] == ["1"]
    for fact in ("promote", "1 (deleted)", "nobody → 1", "run t1"):
        assert fact in first
    assert "1 → 2" in second
    for fact in ("force", "2 → 3", "wrong labels in the test set", "@"):
        assert fact in third
    told = json.loads(place.ask("history", "digits", "--json")[1])
    assert (told["model"], told["champion"]) == ("digits", "3")
    assert [(one["event"], one["version"], one["deleted"]) for one in told["entries"]] == [
        ("promote", "1", ["1"]), ("promote", "2", ["1"]), ("force", "3", []),
    ]  # fmt: skip
    assert told["entries"][0]["verdict_digest"]


def test_hands_change_the_champion_and_say_so(place: Place) -> None:
    """Forced, rolled back, retired with a successor, retired without: one line each, or one object."""
    status, out, err = place.ask("promote", "digits", "3", "--reason", "r", "--yes")
    assert (status, place.champion) == (0, "3")
    assert out.startswith("digits: version 3 is champion (was 2). Entry 3 of the ledger, by ")
    assert "loading version 3" in err
    status, out, _ = place.ask("rollback", "digits", "--yes", "--json")
    done = json.loads(out)
    assert (done["event"], done["version"], done["previous"], place.champion) == ("rollback", "2", "3", "2")
    status, out, _ = place.ask("retire", "digits", "2", "--successor", "3", "--reason", "r", "--yes")
    assert "version 2 is retired, version 3 is champion (was 2)" in out
    status, out, _ = place.ask("rollback", "digits", "--to", "1", "--yes")
    assert (status, place.champion) == (0, "1")
    status, out, _ = place.ask("retire", "digits", "1", "--reason", "r", "--yes")
    assert "nobody is champion (was 1)" in out
    assert (status, place.champion) == (0, None)
    assert place.events()[2:] == ["force", "rollback", "retire", "rollback", "retire"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("promote", "digits", "3", "--yes"), 2, "no reason"),
        (("promote", "digits", "9", "--reason", "r", "--yes"), 1, "no version '9'"),
        (("promote", "digit", "3", "--reason", "r", "--yes"), 1, "Did you mean 'digits'"),
        (("rollback", "digits", "--to", "3", "--yes"), 1, "was never champion"),
        (("audit", "digits", "--adopt", "--restore"), 2, "both --adopt and --restore"),
        (("audit", "digits", "--restore"), 2, "agree"),
        (("history", "digit"), 1, "Did you mean 'digits'"),
        (("prune", "digits", "--keep", "0"), 2, "x>=1"),
    ],
)
def test_what_cannot_be_is_refused_in_words(
    place: Place, arguments: tuple[str, ...], status: int, message: str
) -> None:
    """The exit status tells wrong use from what cannot be; nothing changes."""
    found, out, err = place.ask(*arguments)
    assert (found, out) == (status, "")
    assert message in err
    assert place.events() == ["promote", "promote"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("promote", "digits", "3", "--reason", "r"),
        ("rollback", "digits"),
        ("retire", "digits", "2", "--reason", "r"),
    ],
)
def test_without_a_terminal_nothing_is_done_unasked(place: Place, arguments: tuple[str, ...]) -> None:
    """The question is told, and --yes named."""
    status, out, err = place.ask(*arguments)
    assert (status, out) == (2, "")
    assert "Add --yes" in err
    assert "digits" in err
    assert place.events() == ["promote", "promote"]


def test_on_a_terminal_the_question_is_asked(place: Place) -> None:
    """It names versions and accuracies; a no changes nothing and says so."""
    controller, terminal = pty.openpty()
    words = ["models", "retire", "digits", "1", "--reason", "r", "--state", str(place.state.root)]
    process = subprocess.Popen(
        [sys.executable, "-c", "from pipelines.cli import main; main()", *words],
        stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.write(controller, b"n\n")
    out, err = process.communicate(timeout=100)
    os.close(controller)
    os.close(terminal)
    assert (process.returncode, out) == (1, "")
    assert "Retire version 1 (accuracy 0.9100) of digits for good?" in err
    assert "Champion then: version 2 (accuracy 0.9200). [y/N]" in err
    assert "not confirmed, so nothing was changed" in err
    assert place.events() == ["promote", "promote"]


def test_a_damaged_version_does_not_become_champion(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check's own words are shown, and the champion stays."""

    def damaged(state: State, version: ModelVersion) -> None:
        raise EvaluationError(f"Version {version.version} cannot be loaded.", "Train again.")

    monkeypatch.setattr("trainer.judging.golden.check", damaged)
    for words in (("rollback", "digits"), ("promote", "digits", "3", "--reason", "r")):
        status, out, err = place.ask(*words, "--yes")
        assert (status, out) == (1, "")
        assert "cannot be loaded" in err
    assert place.champion == "2"


def test_an_alias_moved_in_mlflow_is_found_and_settled(place: Place) -> None:
    """Exit status 1 and both histories until --restore or --adopt; each is an entry."""
    assert place.ask("audit", "digits")[0] == 0
    for answer, after in ((("--restore",), "2"), (("--adopt", "--reason", "on purpose"), "1")):
        place.registry.set_alias("digits", "champion", "1")
        status, out, err = place.ask("audit", "digits")
        assert status == 1
        assert "was moved to version 1 by hand; by the ledger the champion is version 2" in out
        assert "1 promote" in out
        status, out, _ = place.ask("audit", "digits", "--json")
        told = json.loads(out)
        assert (status, told["agrees"], told["alias"], told["ledger_champion"]) == (1, False, "1", "2")
        assert place.ask("rollback", "digits", "--yes")[0] == 1
        status, out, err = place.ask("audit", "digits", *answer, "--yes")
        assert status == 0, err
        assert "registry and ledger agree" in out
        assert place.champion == after
    assert place.events() == ["promote", "promote", "restore", "adopt"]


def test_a_crash_before_the_alias_moved_is_told_and_put_right(place: Place) -> None:
    """The audit alone changes nothing; the next run mends it, and so does --restore."""
    registry, ledger = opened(place.state, "digits")
    entries, generation = ledger.read()
    changed = {"number": 3, "event": "rollback", "version": "1", "previous": "2"}
    ledger.append(entries[0].model_copy(update=changed), generation)
    status, out, _ = place.ask("audit", "digits", "--json")
    assert (status, json.loads(out)["agrees"]) == (1, False)
    assert "a run was killed in between" in json.loads(out)["discrepancies"][0]
    assert registry.alias("digits", "champion") == "2"
    assert place.ask("audit", "digits", "--restore", "--yes")[0] == 0
    assert registry.alias("digits", "champion") == "1"


def test_an_alias_moved_in_mlflow_is_told_wherever_it_is_shown(
    place: Place, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the list and of the champion looked up: on standard error, and as a field; unless the ledger is damaged."""
    place.registry.set_alias("digits", "champion", "1")
    said = "The alias 'champion' of 'digits' was moved to version 1 by hand"
    status, out, err = place.ask("--json")
    assert status == 0
    assert json.loads(out)["models"][0]["doubt"] in err
    assert said in err
    looked_up = [
        ["lookup", reference, "--json", "--state", str(place.state.root)] for reference in ("digits", "digits/2")
    ]
    for words, doubted in zip(looked_up, (True, False), strict=True):
        with pytest.raises(SystemExit) as ended:
            main(words)
        out, err = capfd.readouterr()
        assert ended.value.code == 0
        assert ((said in err), bool(json.loads(out)["doubt"])) == (doubted, doubted)
    place.state.ledger("digits").write_text("{")
    status, out, err = place.ask("--json")
    assert (status, json.loads(out)["models"][0]["doubt"]) == (0, None)


def test_who_is_retired_is_listed_and_looked_up(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    """And no challenger any more; figures are written as people read them."""
    place.registry.set_alias("digits", "challenger", "3")
    place.registry.set_tags("digits", "3", {"parameters": "263050", "test_log_loss": "0.123456789", "recipe": "{}"})
    assert place.ask("retire", "digits", "3", "--reason", "bad images", "--yes")[0] == 0
    (row,) = json.loads(place.ask("--json")[1])["models"]
    assert (row["challenger"], row["retired"]) == (None, ["3"])
    assert place.ask()[1].splitlines()[1].split()[-2:] == ["none", "3"]
    with pytest.raises(SystemExit):
        main(["lookup", "digits/3", "--state", str(place.state.root)])
    lines = dict(line.split(maxsplit=1) for line in capfd.readouterr().out.splitlines())
    assert lines["retired"] == "bad images"
    assert lines["parameters"] == "263,050"
    assert lines["test"].split() == ["log", "loss", "0.1235"]
    assert "recipe" not in lines


def test_the_history_says_of_a_challenger_that_it_was_not_promoted(place: Place) -> None:
    """Or that it was left undecided, as its verdict tag says; the ledger's own word stays in the JSON."""
    registry, ledger = opened(place.state, "digits")
    for number, (challenger, tag) in enumerate((("3", "undecided"), ("1", "promoted")), 3):
        registry.set_tags("digits", challenger, {"verdict": tag})
        entries, generation = ledger.read()
        changed = {"number": number, "event": "keep", "version": "2", "previous": "2", "challenger": challenger}
        ledger.append(entries[0].model_copy(update=changed), generation)
    out = place.ask("history", "digits")[1].splitlines()
    assert "digest" in out[0]
    assert "verdict" not in out[0]
    assert " undecided " in out[3]
    assert " not promoted " in out[4]
    entries = json.loads(place.ask("history", "digits", "--json")[1])["entries"]
    assert [(one["event"], one["result"]) for one in entries[2:]] == [("keep", "undecided"), ("keep", "kept")]


def test_prune_shows_first_and_deletes_when_told(place: Place) -> None:
    """What goes, why and how large; without a terminal --apply needs --yes."""
    for path in (place.state.run("k3"), *place.state.run("k3").iterdir()):
        os.utime(path, (0, 0))
    place.registry.create_version("digits", "file:///4", "", {"run_key": "k4", "verdict": "kept"})
    place.registry.set_tags("digits", "3", {"verdict": "kept"})
    status, out, _ = place.ask("prune", "digits", "--keep", "1")
    assert status == 0
    assert "1 (was champion), 2 (champion), 4 (among the last 1)" in out
    assert "version  3" in out
    assert "Nothing was deleted. Delete them: " in out
    assert "--keep 1 --apply" in out
    assert place.ask("prune", "digits", "--keep", "1", "--apply")[0] == 2
    assert [one.version for one in place.registry.versions("digits")] == ["1", "2", "3", "4"]
    status, out, _ = place.ask("prune", "digits", "--keep", "1", "--apply", "--yes", "--json")
    assert [one["name"] for one in json.loads(out)["deleted"] if one["kind"] == "version"] == ["3"]
    assert [one.version for one in place.registry.versions("digits")] == ["1", "2", "4"]
    assert "nothing to delete" in place.ask("prune", "digits", "--keep", "1")[1]


def test_the_hands_work_on_a_ledger_in_a_bucket(place: Place, storage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """INCEPTION_LEDGERS says where; the file in the state folder is not looked at."""
    monkeypatch.setenv("INCEPTION_LEDGERS", "gs://b/ledgers")
    for words in (["history"], ["audit"], ["audit", "--restore"], ["prune"], ["rollback"]):
        status, _, err = place.ask(words[0], "digits", *words[1:])
        assert status == 1
        assert "a ledger knows it, and there is none at gs://b/ledgers/digits.json" in err
    assert storage.names() == []
    assert place.ask("audit", "digits", "--adopt", "--reason", "the ledger moves", "--yes")[0] == 0
    status, _, err = place.ask("promote", "digits", "3", "--reason", "r", "--yes")
    assert status == 0, err
    assert storage.names() == ["ledgers/digits.json"]
    assert place.events() == ["adopt", "force"]
    assert json.loads(place.ask("history", "digits", "--json")[1])["ledger"] == "gs://b/ledgers/digits.json"


@pytest.mark.slow
def test_a_rollback_loads_the_model_and_asks_its_golden_images(
    digits: Any, digits_state: State, capfd: pytest.CaptureFixture[str]
) -> None:
    """A trained, registered model comes back; one whose files were damaged since does not, and the champion stays."""
    from trainer.train import train

    trained = train(digits.recipe("train.epochs=1"), digits.fingerprint, "k1", digits_state)
    registry, _ = opened(digits_state, "digits")
    for number in (1, 2):
        registry.create_version("digits", trained.model_uri, trained.mlflow_run_id, {"run_key": f"k{number}"})

    def ask(*words: str) -> int:
        with pytest.raises(SystemExit) as ended:
            main(["models", *words, "--yes", "--state", str(digits_state.root)])
        return int(str(ended.value.code))

    assert ask("promote", "digits", "1", "--reason", "the first") == 0
    assert ask("promote", "digits", "2", "--reason", "the second") == 0
    assert ask("rollback", "digits") == 0
    assert registry.alias("digits", "champion") == "1"
    (weights,) = (digits_state.artifacts / "models").rglob("*.keras")
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 0xFF
    weights.write_bytes(bytes(content))
    capfd.readouterr()
    assert ask("promote", "digits", "2", "--reason", "again") == 1
    assert "version 2" in capfd.readouterr().err
    assert registry.alias("digits", "champion") == "1"
