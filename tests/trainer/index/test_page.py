from __future__ import annotations

import multiprocessing
import re
from datetime import timedelta
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest

from trainer import record, report
from trainer.errors import StateError
from trainer.index import page
from trainer.index.champions import reigns
from trainer.index.chart import chart
from trainer.index.runs import read
from trainer.registry import ledger_of
from trainer.state import State


def seen(text: str) -> str:
    """What a reader sees of a page, on one line."""
    body = text[text.index("<body>") :]
    return " ".join(unescape(re.sub(r"<title>.*?</title>|<[^>]*>", " ", body)).split())


def written(state: State) -> str:
    page.refresh(state)
    return state.index.read_text(encoding="utf-8")


def test_every_run_is_there_with_result_and_figures(year) -> None:
    """By model, the model with the newest run first, and within it the newest run first."""
    words = seen(written(year.state))
    assert words.index("digits") < words.index("flowers")
    assert "8 runs with something to do; 6 times nothing had changed." in words
    dates = re.findall(r"(2026-\d\d-\d\d) 06:00 (?:promoted|kept|undecided|failed)", words)
    assert dates == sorted(dates, reverse=True)
    for figure in (
        "93.30 %",
        "92.3–94.1 %",
        "+1.60",
        "inception_resnet_v2",
        "10,000 images, 12 min 34 s",
        "NaN in epoch 3",
    ):
        assert figure in words


def test_links_to_cards_are_relative_and_lead_somewhere(year) -> None:
    """The state folder can be moved or copied as it is."""
    text = written(year.state)
    links = re.findall(r'<a href="([^"#][^"]*)"', text)
    assert len(links) == 8
    for link in links:
        assert (year.state.root / unquote(link)).is_file()


def test_runs_that_found_nothing_changed_are_counted_not_listed(year) -> None:
    """How many, and the last one."""
    words = seen(written(year.state))
    assert "6 times nothing had changed, the last time on 2026-04-26 06:00 UTC." in words
    assert "skipped" not in words


def test_the_champions_are_drawn_and_listed(year) -> None:
    """Every change of hands with its kind, and who did it by hand."""
    text = written(year.state)
    words = seen(text)
    assert text.count('class="dot"') == 5
    assert text.count('class="other"') == 1
    assert "5 changes of hands" in words
    assert (
        "Version 9 after version 11, 91.70 % rollback by ana@host, 2026-05-20 06:00 UTC Bad on the night shift."
        in words
    )
    assert "Version 13 is champion, with 93.30 % accuracy, since 2026-05-31 06:00 UTC." in words


def test_a_decision_that_kept_the_champion_is_no_change_of_hands(history) -> None:
    """The ledger remembers it for its error budget."""
    history.run(1, "promoted", 0.9)
    at = record.now()
    history.append("flowers", "keep", "1", at, "", challenger="2")
    history.append("flowers", "retire", None, at, "Withdrawn.")
    found = reigns(ledger_of(history.state, "flowers").read().entries, read(history.state))
    assert [(one.event, one.version) for one in found] == [("promote", "1"), ("retire", None)]
    assert "It has no champion." in seen(written(history.state))
    assert "Nobody after version 1" in seen(written(history.state))


def test_changes_of_hands_are_called_as_the_ledger_numbers_them(history) -> None:
    """An alias that a hand moved and another put back is among them; the champion's time is that of its promotion."""
    history.run(1, "promoted", 0.9)
    at = record.now()
    history.append("flowers", "keep", "1", at, "", challenger="2")
    history.append("flowers", "restore", "1", at, "A hand had moved it.", actor="bo@host")
    found = reigns(ledger_of(history.state, "flowers").read().entries, read(history.state))
    assert [(one.number, one.event) for one in found] == [(1, "promote"), (3, "restore")]
    text = written(history.state)
    assert re.findall(r'<li value="(\d+)">', text) == ["3", "1"]
    assert "restore by bo@host, " in seen(text)
    assert "after version 1" not in seen(text)
    assert "since 2026-03-08 06:00 UTC" in seen(text)
    assert 'class="dot"' not in text


def test_a_champion_of_unknown_accuracy_is_listed_and_not_drawn(history) -> None:
    """It was made elsewhere, or its record was deleted."""
    history.run(1, "promoted", 0.9)
    history.append("flowers", "force", "77", record.now(), "Because.", actor="bo@host")
    history.run(400, "promoted", 0.95)
    found = reigns(ledger_of(history.state, "flowers").read().entries, read(history.state))
    assert [one.accuracy for one in found] == [0.9, None, 0.95]
    drawn = chart(found, record.now() + timedelta(days=3000))
    assert drawn is not None
    assert drawn.drawing.count('class="dot"') == 2


def test_one_champion_makes_no_chart(history) -> None:
    """There is no course to draw."""
    history.run(1, "promoted", 0.9)
    assert "<svg" not in written(history.state)


@pytest.mark.parametrize("accuracies", [(0.9, 0.9), (0.0, 1.0), (1.0, 1.0), (0.9991, 0.9992)])
def test_a_chart_has_room_for_every_accuracy(history, accuracies: tuple[float, ...]) -> None:
    """Dots and intervals lie within the picture, and no scale is of no height."""
    for number, accuracy in enumerate(accuracies, start=1):
        history.run(number, "promoted", accuracy, old=True)
    found = reigns(ledger_of(history.state, "flowers").read().entries, read(history.state))
    drawn = chart(found, record.now())
    assert drawn is not None
    assert drawn.top != drawn.bottom
    heights = [float(y) for y in re.findall(r'd="M[\d.]+ ([\d.-]+)', str(drawn.drawing))]
    assert all(0 <= height <= 120 for height in heights)


HOSTILE = '<script>alert("1")</script>'


def test_texts_of_runs_are_shown_and_never_obeyed(history) -> None:
    """A message that looks like markup is a message."""
    history.run(1, "failed", reason=HOSTILE)
    history.append("flowers", "force", "1", record.now(), HOSTILE, actor=HOSTILE)
    text = written(history.state)
    assert "<script" not in text
    assert HOSTILE in seen(text)


def test_an_empty_store_says_how_to_begin(state: State) -> None:
    """And is a page all the same."""
    assert "There is no run yet. Make one: inception run configs/digits.toml" in seen(written(state))


def test_a_damaged_ledger_costs_the_history_only(year) -> None:
    """The runs are listed as ever."""
    year.state.ledger("flowers").write_text("{")
    words = seen(written(year.state))
    assert "It has no champion." in words
    assert "NaN in epoch 3" in words


def test_thousands_of_runs_fold_away(history) -> None:
    """Skipped ones are a number; of those that worked the newest fifty are shown and the others unfold."""
    for number in range(1, 121):
        history.run(number, "kept" if number % 2 else "skipped", 0.9, card=False)
    text = written(history.state)
    assert "10 older runs" in text
    assert "60 times nothing had changed" in seen(text)
    assert text.count('<span class="badge kept">') == 60


@pytest.mark.slow
def test_ten_thousand_ticks_are_no_trouble(history) -> None:
    """Skipped ones take one small file each: the page is written and stays small."""
    history.run(1, "promoted", 0.9)
    at = history.state.tick("flowers-00001")
    outcome = record.read(at, record.Outcome).model_copy(update={"result": "skipped"})
    for number in range(10_000):
        folder = history.state.tick(f"tick-{number}")
        folder.mkdir()
        (folder / "outcome.json").write_text(outcome.model_copy(update={"tick": folder.name}).model_dump_json())
    text = written(history.state)
    assert "10,000 times nothing had changed" in seen(text)
    assert len(text) < 50_000


def _report(root: str, tick: str, barrier) -> None:
    barrier.wait()
    report.report(State(Path(root)), tick, "FAILED")


@pytest.mark.slow
def test_reports_at_the_same_time_leave_a_whole_index(history) -> None:
    """Whoever writes last has seen the outcomes of all: none is missing from the page."""
    context = multiprocessing.get_context("spawn")
    for number in range(1, 7):
        history.run(number, "failed", card=False)
        (history.state.tick(f"flowers-{number:05d}") / "outcome.json").unlink()
    barrier = context.Barrier(6)
    processes = [
        context.Process(target=_report, args=(str(history.state.root), f"flowers-{number:05d}", barrier))
        for number in range(1, 7)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * 6
    text = history.state.index.read_text()
    assert text.count('<span class="badge failed">') == 6
    assert "unfinished" not in seen(text)


def test_a_run_that_ends_while_the_page_is_written_is_on_it(history, monkeypatch: pytest.MonkeyPatch) -> None:
    """After writing, the folder is looked at again, and the page written again if it has grown."""
    history.run(1, "kept", 0.9)
    write, times = page.write_atomically, []

    def interrupted(path: Path, text: str) -> None:
        write(path, text)
        if not times:
            history.run(2, "kept", 0.8)
        times.append(path)

    monkeypatch.setattr(page, "write_atomically", interrupted)
    assert len(page.refresh(history.state)) == 2
    assert len(times) == 2
    assert "80.00 %" in history.state.index.read_text()


def test_the_report_step_writes_the_index(make_record) -> None:
    """The page knows of a run as soon as it has ended."""
    made = make_record(until="prepare")
    outcome = report.report(made.state, made.tick, "FAILED")
    assert outcome.reason in seen(made.state.index.read_text())


@pytest.mark.parametrize("error", [StateError("No space is left."), RuntimeError("surprise")], ids=repr)
def test_an_index_that_cannot_be_written_takes_nothing_from_the_run(
    make_record, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    """The outcome stands, and a note says what happened."""

    def broken(_: object) -> None:
        raise error

    monkeypatch.setattr(report, "refresh", broken)
    made = make_record(until="prepare")
    outcome = report.report(made.state, made.tick, "FAILED")
    assert record.read(made.at, record.Outcome) == outcome
    assert "The index page could not be written" in capsys.readouterr().out


def test_a_ledger_elsewhere_is_found(history, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where INCEPTION_LEDGERS says."""
    monkeypatch.setenv("INCEPTION_LEDGERS", str(tmp_path / "ledgers"))
    (tmp_path / "ledgers").mkdir()
    history.run(1, "promoted", 0.9)
    history.state.ledger("flowers").rename(tmp_path / "ledgers" / "flowers.json")
    assert "Version 1 is champion" in seen(written(history.state))


def test_ledgers_out_of_reach_are_asked_for_once(year, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that does not answer is waited for once, not for every model; the runs are listed all the same."""
    asked: list[str] = []

    def away(_: State, name: str) -> None:
        asked.append(name)
        raise StateError("The store does not answer.")

    monkeypatch.setattr(page, "ledger_of", away)
    assert "NaN in epoch 3" in seen(written(year.state))
    assert len(asked) == 1


def test_a_gain_that_may_be_chance_is_grey(history) -> None:
    """An undecided run's change is neither green nor red."""
    history.run(1, "undecided", 0.9, change=0.003)
    history.run(2, "kept", 0.9, change=-0.01)
    text = written(history.state)
    assert text.count('class="change unsure"') == 1
    assert text.count('class="change worse"') == 1
