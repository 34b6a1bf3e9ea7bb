from __future__ import annotations

from pathlib import Path

import pytest

from trainer import report
from trainer.errors import StateError, UsageError
from trainer.index.finding import card, find

pytestmark = pytest.mark.usefixtures("no_plots")


@pytest.mark.parametrize(
    ("name", "tick"),
    [
        ("flowers-00009", "flowers-00009"),
        (f"{9:016x}", "flowers-00009"),
        ("latest", "digits-00015"),
        ("flowers-00005", "flowers-00005"),
    ],
)
def test_a_run_is_found_by_what_people_call_it_by(year, name: str, tick: str) -> None:
    """Its tick, its run key, or `latest`; one that found nothing changed by its tick only."""
    assert find(year.state, name).tick == tick


def test_the_beginning_of_a_run_key_is_enough(history) -> None:
    """As with commits."""
    history.run(0xA1, "kept", 0.9)
    history.run(0xB2, "kept", 0.9)
    assert find(history.state, f"{0xA1:016x}"[:15]).run_key == f"{0xA1:016x}"


def test_a_beginning_that_fits_several_is_refused(year) -> None:
    """They are named."""
    with pytest.raises(UsageError, match="run keys begin with '0000'"):
        find(year.state, "0000")


def test_a_run_that_is_not_there_is_refused_with_those_that_are(year) -> None:
    """The newest are named."""
    with pytest.raises(UsageError) as caught:
        find(year.state, "nothing-like-it")
    assert f"{14:016x}" in caught.value.remedy


def test_an_empty_store_has_no_latest(state) -> None:
    """The remedy is to make a run."""
    with pytest.raises(UsageError) as caught:
        find(state, "latest")
    assert "inception run" in caught.value.remedy


def test_a_card_that_is_there_is_named(year) -> None:
    """It is not touched."""
    run = find(year.state, "flowers-00009")
    path = card(year.state, run)
    assert path == year.state.run(f"{9:016x}") / "card.html"
    assert path.read_text() == "<!doctype html><title>a card</title>"


@pytest.mark.parametrize("anew", [False, True])
def test_a_card_is_made_from_the_record(make_record, anew: bool) -> None:
    """Where it is missing, or where it is asked for."""
    made = make_record(champion_skill=3.0, skill=5.0)
    path = Path(report.report(made.state, made.tick, "SUCCEEDED").card or "")
    if anew:
        path.write_text("old")
    else:
        path.unlink()
    assert card(made.state, find(made.state, "latest"), anew) == path
    assert "Version 4 is the new champion" in path.read_text()


def test_the_card_of_a_failure_is_made_again_as_a_failure(make_record) -> None:
    """Its record has no decision."""
    made = make_record(until="prepare")
    made.fail("train", "The loss became NaN.", "Lower it.")
    path = Path(report.report(made.state, made.tick, "FAILED").card or "")
    path.unlink()
    assert "The loss became NaN." in card(made.state, find(made.state, made.run_key)).read_text()


def test_a_run_that_has_not_ended_has_no_card(make_record) -> None:
    """Its record is half written: a card would call it a failure."""
    made = make_record(until="prepare")
    with pytest.raises(StateError, match="under way"):
        card(made.state, find(made.state, made.tick))
