from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import cli
from trainer import record
from trainer.report import report
from trainer.state import State

TICK, KEY = "digits-1", "00ab00cd00ef0011"


@pytest.fixture
def store(state: State) -> State:
    """One run that failed at its training, reported."""
    checked = record.Checked(
        decision="work", reason="", run_key=KEY, fingerprint="f", config_digest="c", code_digest="d",
        recipe='{"registry": {"name": "digits"}}', source={}, at=record.now(),
    )  # fmt: skip
    failure = record.Failure(
        step="train", message="The loss became NaN.", remedy="Lower the rate.", traceback="", at=record.now()
    )
    for folder in (state.tick(TICK), state.run(KEY)):
        record.write(folder, checked)
    record.write(state.run(KEY), failure)
    report(state, TICK, "FAILED")
    return state


def inception(state: State, *words: str) -> int:
    try:
        cli.main(["report", *words, "--state", str(state.root)])
    except SystemExit as ended:
        return int(ended.code or 0)
    raise AssertionError("main always exits")


def test_the_index_is_written_and_named(store: State, capsys: pytest.CaptureFixture[str]) -> None:
    """With the newest runs in short."""
    capsys.readouterr()
    store.index.unlink()
    assert inception(store) == 0
    said = capsys.readouterr().out
    assert str(store.index) in said
    assert "failed" in said
    assert "The loss became NaN." in store.index.read_text()


def test_the_index_as_json_lists_the_runs(store: State, capsys: pytest.CaptureFixture[str]) -> None:
    """One object."""
    capsys.readouterr()
    assert inception(store, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["index"], said["opened"], said["skipped"]) == (str(store.index), False, 0)
    (run,) = said["runs"]
    assert (run["tick"], run["result"], run["model"], run["card"]) == (
        TICK,
        "failed",
        "digits",
        f"runs/{KEY}/card.html",
    )


@pytest.mark.parametrize("name", [TICK, KEY, KEY[:6], "latest"])
def test_a_card_is_named(store: State, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """By tick, run key or `latest`; made again where it is gone."""
    card = store.run(KEY) / "card.html"
    card.unlink()
    capsys.readouterr()
    assert inception(store, name, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["card"], said["run_key"]) == (str(card), KEY)
    assert "The loss became NaN." in card.read_text()


def test_a_run_that_is_not_there_is_wrong_use(store: State, capsys: pytest.CaptureFixture[str]) -> None:
    """The message names what there is."""
    assert inception(store, "nothing") == 2
    said = capsys.readouterr().err
    assert "There is no run 'nothing'" in said
    assert KEY in said


@pytest.mark.parametrize("server", [None, "http://127.0.0.1:9"])
def test_a_state_folder_that_is_not_there_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: str | None
) -> None:
    """None is made by looking, whether or not an MLflow server is in use."""
    if server is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    assert inception(State(tmp_path / "nowhere")) == 1
    assert not (tmp_path / "nowhere").exists()


def command(store: State, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from pipelines.cli import main; main()", "report", *words, "--state", str(store.root)],
        env=os.environ | environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(("words", "page"), [((), "index.html"), (("latest",), "card.html")])
def test_open_hands_the_page_to_the_browser(store: State, tmp_path: Path, words: tuple[str, ...], page: str) -> None:
    """To the one that BROWSER names, as a file address."""
    browser, seen = tmp_path / "browser", tmp_path / "seen"
    browser.write_text(f'#!/bin/sh\necho "$1" > {seen}\n')
    browser.chmod(browser.stat().st_mode | stat.S_IXUSR)
    finished = command(store, *words, "--open", BROWSER=str(browser))
    assert finished.returncode == 0
    address = seen.read_text().strip()
    assert address.startswith("file:///")
    assert address.endswith(page)


def test_without_a_browser_the_path_is_said(store: State, tmp_path: Path) -> None:
    """Nothing fails: the page can be opened elsewhere."""
    finished = command(store, "--open", PATH=str(tmp_path), BROWSER="", DISPLAY="", WAYLAND_DISPLAY="")
    assert finished.returncode == 0
    assert "There is no browser here" in finished.stderr
    assert str(store.index) in finished.stdout
