"""How an MLflow store is asked: for how long, and what is said then."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST, INVALID_PARAMETER_VALUE, TEMPORARILY_UNAVAILABLE

from trainer import patience
from trainer.errors import UsageError
from trainer.patience import OutOfReach, patiently

RETRIES, TIMEOUT = "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"
ADDRESS = "sqlite:///mlflow.db"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.001)


@pytest.mark.parametrize(("text", "seconds"), [("", 120.0), ("0", 0.0), ("2.5", 2.5), ("600", 600.0)])
def test_the_environment_says_for_how_long(text: str, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two minutes unless told otherwise: a server that is replaced is back by then."""
    monkeypatch.setenv("INCEPTION_PATIENCE", text)
    assert patience.patience() == seconds


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "inf"])
def test_what_is_no_time_is_wrong_use(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is named, with what it said."""
    monkeypatch.setenv("INCEPTION_PATIENCE", text)
    with pytest.raises(UsageError, match=f"INCEPTION_PATIENCE is '{text}'"):
        patiently(ADDRESS, lambda: None)


def test_passing_trouble_is_tried_again_and_final_trouble_is_not() -> None:
    """A locked database passes; a request that makes no sense makes none the second time."""
    tries = []

    def deed(error: MlflowException, times: int) -> int:
        tries.append(error)
        if len(tries) <= times:
            raise error
        return len(tries)

    assert patiently(ADDRESS, lambda: deed(MlflowException("locked", TEMPORARILY_UNAVAILABLE), 3)) == 4
    tries.clear()
    with pytest.raises(MlflowException, match="senseless"):
        patiently(ADDRESS, lambda: deed(MlflowException("senseless", INVALID_PARAMETER_VALUE), 1))
    assert len(tries) == 1


@pytest.mark.parametrize(
    ("words", "passing"),
    [
        ("(sqlite3.IntegrityError) UNIQUE constraint failed: model_version_tags.key", True),
        ('(psycopg2.errors.UniqueViolation) duplicate key value violates unique constraint "tag_pk"', True),
        ("(sqlite3.OperationalError) no such table", False),
    ],
)
def test_what_two_made_at_once_passes(words: str, passing: bool) -> None:
    """Whoever was later finds it made when he tries again."""
    assert patience.passes(ADDRESS, MlflowException(words, BAD_REQUEST)) is passing


def test_without_patience_there_is_one_try() -> None:
    """Zero seconds."""
    tries: list[int] = []

    def deed() -> None:
        tries.append(1)
        raise MlflowException("locked", TEMPORARILY_UNAVAILABLE)

    with pytest.raises(OutOfReach, match=r"at sqlite:///mlflow.db is out of reach: .*locked \(asked") as caught:
        patiently(ADDRESS, deed, 0.0)
    assert len(tries) == 1
    assert "INCEPTION_PATIENCE" in caught.value.remedy


def test_who_waits_is_told_once_and_not_on_standard_output(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line names address, reason and patience; a command's JSON is left alone."""
    monkeypatch.setattr(patience, "_SILENT_SECONDS", 0.0)

    def deed() -> None:
        raise MlflowException("locked", TEMPORARILY_UNAVAILABLE)

    with pytest.raises(OutOfReach):
        patiently(ADDRESS, deed, 0.3)
    told = capsys.readouterr()
    assert told.out == ""
    [line] = told.err.splitlines()
    assert line.startswith(f"MLflow at {ADDRESS} does not answer (")


def test_the_reason_is_one_line_of_the_innermost_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the four exceptions that libraries have wrapped around it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    client = MlflowClient(tracking_uri=address)
    with pytest.raises(OutOfReach) as refused:
        patiently(address, lambda: client.get_run("r"), 0.0)
    assert refused.value.message.endswith("Connection refused (asked for 0 s).")
    assert len(refused.value.message) < 160
    monkeypatch.setenv(TIMEOUT, "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        client = MlflowClient(tracking_uri=address)
        with pytest.raises(OutOfReach, match=r"out of reach: no answer within 1 s \(asked for 0 s\)"):
            patiently(address, lambda: client.get_run("r"), 0.0)


@pytest.mark.parametrize("user", [{}, {RETRIES: "5", TIMEOUT: "7"}])
def test_mlflows_own_retries_are_off_within_and_as_they_were_after(
    user: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user's timeout holds, the user's retries come back; also where something fails."""
    for key, value in user.items():
        monkeypatch.setenv(key, value)

    def read() -> Any:
        return os.environ.get(RETRIES), os.environ.get(TIMEOUT)

    assert patiently(ADDRESS, read) == ("0", user.get(TIMEOUT, "60"))
    with pytest.raises(ZeroDivisionError):
        patiently(ADDRESS, lambda: 1 / 0)
    assert read() == (user.get(RETRIES), user.get(TIMEOUT))


def test_threads_that_come_and_go_leave_the_environment_as_it_was() -> None:
    """The first sets, the last puts back, however their visits overlap."""
    inside: list[str | None] = []
    barrier = threading.Barrier(8)

    def visit() -> None:
        barrier.wait()
        for _ in range(200):
            with patience.alone():
                inside.append(os.environ.get(RETRIES))

    threads = [threading.Thread(target=visit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(inside) == {"0"}
    assert RETRIES not in os.environ
    assert TIMEOUT not in os.environ
