"""What a step does around its verb where a store holds what runs share; ledgers and checkpoints in it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trainer import record
from trainer.errors import DataError, StateError, StoreError
from trainer.registry import ledger_of
from trainer.state import State, write_atomically
from trainer.steps import step
from trainer.training import checkpoints


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    """A step takes SIGTERM over, which would outlive the test."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def roots(tmp_path: Path) -> Any:
    """Names a folder that is not there, with every call another."""
    return (str(tmp_path / f"pod-{number}") for number in range(9)).__next__


def work(root: str, error: BaseException | None, run_key: str = "k") -> None:
    """A step that leaves a file, and then an error."""
    with step("train", root, run_key=run_key) as state:
        write_atomically(state.run(run_key) / "half.png", "h")
        if error is not None:
            raise error


def ended(root: str, error: BaseException | None, run_key: str = "k") -> int:
    with pytest.raises(SystemExit) as caught:
        work(root, error, run_key)
    return int(str(caught.value.code))


def test_a_step_finds_what_the_one_before_left(store: str, roots: Any) -> None:
    """In an empty folder of its own."""
    with step("train", roots(), run_key="k") as state:
        write_atomically(state.run("k") / "train.json", "{}")
        write_atomically(state.run("k") / "curves.png", "c")
    with step("evaluate", roots(), run_key="k") as state:
        assert sorted(path.name for path in state.run("k").iterdir()) == ["curves.png", "train.json"]
    with step("register", roots(), run_key="k") as state:
        assert [path.name for path in state.run("k").iterdir()] == ["train.json"]


def test_a_failure_is_told_to_the_others(store: str, roots: Any) -> None:
    """Hopeless ones end the next try at once; who comes through takes it back, there too."""
    assert ended(roots(), DataError("No images.", "Add some.")) == 1
    root = roots()
    with step("report", root, run_key="k") as state:
        assert record.read(state.run("k"), record.Failure).message == "No images."
    with step("train", roots(), run_key="k"):
        pass
    with step("report", roots(), run_key="k") as state:
        assert record.find(state.run("k"), record.Failure) is None


def test_a_store_that_is_away_is_not_waited_for_twice(bucket: Any, roots: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The failure stays in the state folder."""
    monkeypatch.setattr("trainer.storage.google.PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr("trainer.storage.google.HASTY_SECONDS", 0.0)
    root = roots()
    bucket.fault("list", 503, times=100)
    bucket.fault("upload", 503, times=100)
    assert ended(root, None) == 1
    assert bucket.count("upload") == 1
    assert record.find(State.open(root).run("k"), record.Failure) is not None


def test_what_another_store_refuses_is_told(bucket: Any, roots: Any) -> None:
    """The bucket of the ledgers, say, which has accounts of its own: the report knows why the run ended."""
    assert ended(roots(), StoreError("gs://ledgers/digits.json cannot be used: 403", "Give the role.")) == 1
    assert bucket.names() == ["team/runs/k/failure.json", "team/runs/k/half.png"]


def test_a_step_that_cannot_send_has_failed(bucket: Any, roots: Any) -> None:
    """Its work is not known to anybody else."""
    bucket.fault("upload", 403, times=9)
    assert ended(roots(), None) == 1
    assert bucket.names() == []


def test_an_interrupted_step_is_in_a_hurry(bucket: Any, roots: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster gives it half a minute; what it can tell it tells."""
    monkeypatch.setattr("trainer.storage.google.HASTY_SECONDS", 0.2)
    assert ended(roots(), KeyboardInterrupt()) == 130
    assert bucket.names() == ["team/runs/k/failure.json", "team/runs/k/half.png"]
    bucket.fault("upload", 503, times=1000)
    assert ended(roots(), KeyboardInterrupt(), "other") == 130
    assert bucket.count("upload") < 100


@pytest.mark.parametrize(
    ("shared", "own", "where"),
    [
        ("gs://b/team", None, "gs://b/team/ledger/digits.json"),
        ("gs://b/team/", "gs://other/ledgers", "gs://other/ledgers/digits.json"),
        ("{}/team", None, "{}/team/ledger/digits.json"),
        ("s3://b/team", "{}/volume", "{}/volume/digits.json"),
        (None, None, "{}/state/ledger/digits.json"),
    ],
)
def test_a_ledger_is_in_the_store_unless_it_has_a_place_of_its_own(
    shared: str | None, own: str | None, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state folder that is a cache is no place for it."""
    for variable, value in (("INCEPTION_STORE", shared), ("INCEPTION_LEDGERS", own)):
        if value is not None:
            monkeypatch.setenv(variable, value.format(tmp_path))
    assert ledger_of(State.open(tmp_path / "state"), "digits").address == where.format(tmp_path)


@pytest.mark.parametrize("variable", ["INCEPTION_STORE", "INCEPTION_LEDGERS"])
def test_a_ledger_without_conditional_writes_is_refused(
    variable: str, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the reason, the variable it came from, and what to do."""
    monkeypatch.setenv(variable, "s3://b/team")
    with pytest.raises(StateError, match=rf"Received the place 's3://b/team.*' for ledgers, from {variable}") as caught:
        ledger_of(state, "digits")
    assert "on the condition that nobody wrote since" in caught.value.remedy
    assert "INCEPTION_LEDGERS name a folder that all runs share, or gs://bucket/prefix" in caught.value.remedy


def test_checkpoints_are_in_the_store_unless_the_recipe_says_otherwise(
    bucket: Any, state: State, digits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run key below it."""

    def where(*overrides: str) -> str:
        return checkpoints.opened(digits.recipe(*overrides), "f", "k", state).place.address

    assert where() == "gs://b/team/checkpoints/k"
    assert where(f"resources.checkpoints={tmp_path}/there") == f"{tmp_path}/there/k"
    monkeypatch.delenv("INCEPTION_STORE")
    assert where() == str(state.checkpoints("k"))


@pytest.mark.parametrize("address", ["gs://", "s3://"])
def test_a_store_whose_name_is_missing_is_no_folder(
    address: str, roots: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a variable within the address was empty: the step fails, and nothing is kept beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INCEPTION_STORE", address)
    assert ended(roots(), None) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["pod-0"]
