from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trainer import config, record, report
from trainer.errors import StateError
from trainer.registry.ledger import FileLedger
from trainer.registry.protocol import Entry
from trainer.state import State

pytestmark = pytest.mark.usefixtures("no_plots")

TICK = "tick-1"
FILES = {"card.html", "card.md", "curves.png", "confusion.png", "reliability.png", "recipe.toml"}


@pytest.mark.parametrize(
    ("options", "result", "champion"),
    [
        ({}, "promoted", "4"),
        ({"champion_skill": 3.0, "skill": 5.0}, "promoted", "4"),
        ({"champion_skill": 6.0, "skill": 3.0}, "kept", "3"),
        ({"skill": 1.0}, "kept", None),
        ({"champion_skill": 3.5, "skill": 3.8}, "undecided", "3"),
    ],
)
def test_a_decided_run_ends_with_its_verdict(make_record, options, result: str, champion: str | None) -> None:
    """Result, reason and figures are those of the decision, and the card lies in the run's record."""
    made = make_record(**options)
    outcome = report.report(made.state, TICK, "SUCCEEDED")
    promoted, evaluated = record.read(made.run, record.Promoted), record.read(made.run, record.Evaluated)
    assert outcome.result == result
    assert outcome.reason == promoted.verdict.reason
    assert outcome.accuracy == evaluated.challenger.accuracy
    assert (outcome.model, outcome.version, outcome.champion) == ("digits", "4", champion)
    assert (outcome.run_key, outcome.tick, outcome.failed_step, outcome.remedy) == (made.run_key, TICK, None, "")
    assert outcome.card == str(made.run / "card.html")
    assert outcome.seconds is not None
    assert outcome.seconds > 90
    assert {path.name for path in made.run.iterdir()} >= FILES


def test_the_outcome_is_kept_and_told(make_record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tick's folder has it as a document, and the event that ends the run carries the same."""
    monkeypatch.setenv("INCEPTION_EVENTS", str(tmp_path / "events.jsonl"))
    made = make_record()
    outcome = report.report(made.state, TICK, "SUCCEEDED")
    assert record.read(made.at, record.Outcome) == outcome
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    told = [event for event in events if event["kind"] == "outcome"]
    assert len(told) == 1
    assert record.as_json(outcome).items() <= told[0].items()


def test_the_recipe_beside_the_card_is_the_one_that_was_run(make_record) -> None:
    """It can be run again as it is."""
    made = make_record()
    report.report(made.state, TICK, "SUCCEEDED")
    checked = record.read(made.run, record.Checked)
    assert config.load(made.run / "recipe.toml").canonical() == checked.recipe


def test_a_skipped_run_leaves_the_earlier_card_alone(make_record) -> None:
    """Nothing is drawn again: the outcome points to the card of the work that was found done."""
    made = make_record()
    first = report.report(made.state, TICK, "SUCCEEDED")
    before = {path: path.stat().st_mtime_ns for path in made.run.iterdir()}
    checked = record.read(made.at, record.Checked)
    skip = checked.model_copy(update={"decision": "skip", "reason": "Nothing changed: the same made version 4."})
    record.write(made.state.tick("tick-2"), skip)

    outcome = report.report(made.state, "tick-2", "SUCCEEDED")
    assert (outcome.result, outcome.reason) == ("skipped", skip.reason)
    assert (outcome.card, outcome.version, outcome.champion) == (first.card, "4", "4")
    assert {path: path.stat().st_mtime_ns for path in made.run.iterdir()} == before
    assert record.read(made.state.tick("tick-2"), record.Outcome) == outcome


def test_a_skipped_run_makes_a_card_that_is_gone_again(make_record) -> None:
    """The card is about the work, so it shows the decision that was made then."""
    made = make_record()
    record.write(made.at, record.read(made.at, record.Checked).model_copy(update={"decision": "skip"}))
    outcome = report.report(made.state, TICK, "SUCCEEDED")
    assert outcome.result == "skipped"
    assert outcome.card == str(made.run / "card.html")
    assert "is the first champion" in Path(outcome.card).read_text()


def test_a_skipped_run_without_any_record_has_a_card_of_its_own(make_record) -> None:
    """The registry knew the work, this state folder does not: the card says that there was nothing to do."""
    made = make_record(decision="skip")
    outcome = report.report(made.state, TICK, "SUCCEEDED")
    assert (outcome.result, outcome.version, outcome.accuracy) == ("skipped", None, None)
    assert outcome.card == str(made.at / "card.html")
    assert "Nothing has changed" in Path(outcome.card).read_text()


def test_a_failure_of_the_data_is_found_where_prepare_leaves_it(make_record) -> None:
    """`prepare` is given no run key, so its failure lies with the data's fingerprint."""
    made = make_record(until="check")
    checked = record.read(made.at, record.Checked)
    made.fail("prepare", "30 of 100 images cannot be used.", "Mend them.", made.state.failed_data(checked.fingerprint))
    outcome = report.report(made.state, TICK, "FAILED")
    assert (outcome.failed_step, outcome.reason, outcome.remedy) == (
        "prepare",
        "30 of 100 images cannot be used.",
        "Mend them.",
    )
    assert outcome.card == str(made.run / "card.html")


@pytest.mark.parametrize("until", ["prepare", "register"])
def test_a_failed_step_is_named_with_its_remedy(make_record, until: str) -> None:
    """The outcome repeats what the step said; the card shows what had been reached."""
    made = make_record(until=until)
    made.fail("train", "The loss became NaN in epoch 3.", "Lower train.optimizer.learning_rate.")
    outcome = report.report(made.state, TICK, "FAILED")
    assert (outcome.result, outcome.failed_step) == ("failed", "train")
    assert (outcome.reason, outcome.remedy) == (
        "The loss became NaN in epoch 3.",
        "Lower train.optimizer.learning_rate.",
    )
    assert outcome.card == str(made.run / "card.html")
    assert "The loss became NaN in epoch 3." in Path(outcome.card).read_text()


def test_a_failure_before_the_run_key_is_known_is_reported_in_the_ticks_folder(tmp_path: Path) -> None:
    """A source that cannot be read leaves no record of a run; the tick has the card."""
    state = State.open(tmp_path / "state")
    failure = record.Failure(
        step="check", message="No such folder: cats.", remedy="Look at data.source.", traceback="", at=record.now()
    )
    record.write(state.tick(TICK), failure)
    outcome = report.report(state, TICK, "FAILED")
    assert (outcome.result, outcome.failed_step, outcome.reason) == ("failed", "check", "No such folder: cats.")
    assert (outcome.run_key, outcome.model, outcome.seconds) == (None, None, None)
    assert outcome.card == str(state.tick(TICK) / "card.html")


@pytest.mark.parametrize(
    ("until", "step"),
    [
        ("check", "prepare"),
        ("prepare", "train"),
        ("train", "evaluate"),
        ("evaluate", "register"),
        ("register", "promote"),
    ],
)
def test_a_run_that_was_killed_says_where_it_stopped(make_record, until: str, step: str) -> None:
    """No decision and no error is a failure, and the next run resumes."""
    made = make_record(until=until)
    outcome = report.report(made.state, TICK, "FAILED")
    assert (outcome.result, outcome.failed_step) == ("failed", step)
    assert f"at the step {step}" in outcome.reason
    assert "goes on where this one stopped" in outcome.remedy


@pytest.mark.parametrize("status", ["FAILED", "SUCCEEDED", "CANCELLED", "", "UNHEARD_OF"])
def test_a_run_without_a_decision_failed_whatever_the_orchestrator_says(make_record, status: str) -> None:
    """Its word is only taken for whether somebody cancelled the run."""
    made = make_record(until="check")
    outcome = report.report(made.state, TICK, status)
    assert outcome.result == "failed"
    assert ("cancelled" in outcome.reason) == (status == "CANCELLED")


def test_a_run_that_left_nothing_stopped_at_its_first_step(tmp_path: Path) -> None:
    """Even an empty state folder gives an outcome and a card."""
    outcome = report.report(State.open(tmp_path / "state"), TICK, "FAILED")
    assert (outcome.result, outcome.failed_step) == ("failed", "check")
    assert Path(outcome.card or "").exists()


def test_a_failure_does_not_replace_the_card_of_finished_work(make_record) -> None:
    """A later try that fails at work which had been decided has its card in its own folder."""
    made = make_record()
    first = report.report(made.state, TICK, "SUCCEEDED")
    later = record.read(made.at, record.Checked).model_copy(update={"at": record.now() + timedelta(minutes=1)})
    record.write(made.state.tick("tick-2"), later)
    outcome = report.report(made.state, "tick-2", "FAILED")
    assert outcome.result == "failed"
    assert outcome.card == str(made.state.tick("tick-2") / "card.html")
    assert "is the first champion" in Path(first.card or "").read_text()


def test_an_earlier_promotion_stands_where_the_run_came_through(make_record) -> None:
    """A run that found its decision made, by a try that was killed before it could report, reports that decision."""
    made = make_record()
    later = record.read(made.at, record.Checked).model_copy(update={"at": record.now() + timedelta(minutes=1)})
    record.write(made.state.tick("tick-2"), later)
    assert report.report(made.state, "tick-2", "SUCCEEDED").result == "promoted"


def test_the_champion_is_the_ledgers(make_record) -> None:
    """Another run may have promoted since: the outcome names who is champion now."""
    made = make_record(champion_skill=6.0, skill=3.0)
    entry = Entry(
        number=1, event="promote", version="9", previous=None, run_key="k", verdict_digest="d", reason="better",
        tick="t", at=datetime.now(UTC),
    )  # fmt: skip
    FileLedger(made.state.ledger("digits")).append(entry, 0)
    assert report.report(made.state, TICK, "SUCCEEDED").champion == "9"


def test_a_damaged_ledger_does_not_stop_the_report(make_record) -> None:
    """The champion is then the one that this run's decision saw."""
    made = make_record(champion_skill=6.0, skill=3.0)
    ledger = made.state.ledger("digits")
    ledger.parent.mkdir(parents=True)
    ledger.write_text("{")
    assert report.report(made.state, TICK, "SUCCEEDED").champion == "3"


@pytest.mark.parametrize("step", ["check", "prepare", "train", "evaluate", "register", "promote"])
@pytest.mark.parametrize("content", [None, b"\xff\xfe"], ids=["missing", "damaged"])
def test_no_hole_in_the_record_stops_the_report(make_record, step: str, content: bytes | None) -> None:
    """Whatever became of a document, there is an outcome and a card; without a decision it is a failure."""
    made = make_record()
    for folder in (made.run, made.at, made.data):
        path = folder / f"{step}.json"
        if path.exists() and content is None:
            path.unlink()
        elif path.exists():
            path.write_bytes(content or b"")
    outcome = report.report(made.state, TICK, "SUCCEEDED")
    assert outcome.result == ("failed" if step in ("check", "promote") else "promoted")
    assert Path(outcome.card or "").read_text().startswith("<!doctype html>")


def test_the_card_is_published_to_the_trainings_mlflow_run(make_record) -> None:
    """All its files go, and they are there when it is called."""
    made = make_record()
    calls: list[tuple[str, set[str]]] = []

    def publish(run_id: str, paths) -> None:
        assert all(path.exists() for path in paths)
        calls.append((run_id, {path.name for path in paths}))

    outcome = report.report(made.state, TICK, "SUCCEEDED", publish)
    assert calls == [(outcome.mlflow_run_id, FILES)]


def test_a_publisher_that_fails_takes_nothing_from_the_run(make_record, capsys: pytest.CaptureFixture[str]) -> None:
    """The tracking server may be away: the outcome and the card stand, and a note says so."""
    made = make_record()

    def publish(run_id: str, paths) -> None:
        raise ConnectionError("server is away")

    outcome = report.report(made.state, TICK, "SUCCEEDED", publish)
    assert outcome.result == "promoted"
    assert Path(outcome.card or "").exists()
    assert "could not be logged to MLflow" in capsys.readouterr().out


def test_nothing_is_published_without_a_training(make_record) -> None:
    """A run that failed before its training has no MLflow run."""
    made = make_record(until="prepare")
    report.report(made.state, TICK, "FAILED", lambda run_id, paths: pytest.fail("published"))


def test_a_card_that_cannot_be_written_leaves_an_outcome(make_record, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk costs the card; that the model was promoted is still said."""
    made = make_record()

    def full(path: Path, content: bytes | str) -> None:
        raise StateError("No space is left.")

    monkeypatch.setattr(report, "write_atomically", full)
    outcome = report.report(made.state, TICK, "SUCCEEDED")
    assert (outcome.result, outcome.card) == ("promoted", None)
    assert record.read(made.at, record.Outcome) == outcome
