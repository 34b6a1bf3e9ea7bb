"""Figures on their way to MLflow: in the background, in batches, and past a store that does not answer."""

from __future__ import annotations

import http.server
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from mlflow import MlflowClient

from trainer import metric_stream, tracking
from trainer.metric_stream import MetricStream
from trainer.state import State


@dataclass
class Store:
    """A tracking server as far as figures go: what it was sent, how it answers, how long that takes."""

    address: str = ""
    status: int = 200
    seconds: float = 0.0
    batches: list[list[tuple[str, float, int]]] = field(default_factory=list)

    @property
    def taken(self) -> list[tuple[str, float, int]]:
        return [figure for batch in self.batches for figure in batch]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """An HTTP server."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(metric_stream, "GATHER_SECONDS", 0.02)
    made = Store()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            time.sleep(made.seconds)
            if made.status == 200:
                made.batches.append([(one["key"], one["value"], one["step"]) for one in body["metrics"]])
            self.send_response(made.status)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *arguments: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    yield made
    server.shutdown()
    server.server_close()


def stream_to(address: str, **named: Any) -> MetricStream:
    return MetricStream(MlflowClient(address), "0" * 32, **named)


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come to pass"
        time.sleep(0.01)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "metrics"]


def test_figures_arrive_while_the_training_goes_on(store: Store) -> None:
    """In their order, and without anybody asking for them."""
    with stream_to(store.address) as stream:
        stream.log({"loss": 2.0, "accuracy": 0.1}, step=1)
        until(lambda: store.taken)
        stream.log({"loss": 1.0}, step=2)
        until(lambda: len(store.taken) == 3)
    assert store.taken == [("loss", 2.0, 1), ("accuracy", 0.1, 1), ("loss", 1.0, 2)]


def test_a_slow_store_holds_up_no_step(store: Store) -> None:
    """A hundred steps log in less time than the store takes for one answer; what gathers meanwhile goes together."""
    store.seconds = 0.3
    with stream_to(store.address) as stream:
        began = time.monotonic()
        for step in range(100):
            stream.log({"loss": 1.0}, step)
        assert time.monotonic() - began < store.seconds
    assert [step for _, _, step in store.taken] == list(range(100))
    assert len(store.batches) <= 2


def test_many_figures_go_in_batches_that_mlflow_takes(store: Store) -> None:
    """A thousand at a time."""
    with stream_to(store.address) as stream:
        for step in range(2500):
            stream.log({"loss": 1.0}, step)
    assert max(map(len, store.batches)) <= 1000
    assert [step for _, _, step in store.taken] == list(range(2500))


def test_a_store_that_is_away_for_a_while_loses_nothing(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """Going away and coming back are said once each; then everything is there, once and in order."""
    with stream_to(store.address) as stream:
        stream.log({"loss": 3.0}, step=1)
        until(lambda: store.taken)
        store.status = 503
        stream.log({"loss": 2.0}, step=2)
        until(lambda: stream._silent)
        stream.log({"loss": 1.0}, step=3)
        time.sleep(0.1)
        store.status = 200
        until(lambda: len(store.taken) == 3)
    assert store.taken == [("loss", 3.0, 1), ("loss", 2.0, 2), ("loss", 1.0, 3)]
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2
    assert said[0].startswith("MLflow takes no figures at the moment: ")
    assert said[1] == "MLflow takes figures again."


def test_a_store_that_stays_away_ends_no_training(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """How much was lost is said at the end, which waits for it as long as it must and no longer."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(metric_stream, "FAREWELL_SECONDS", 0.5)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    with stream_to(address) as stream:
        stream.log({"loss": 1.0, "accuracy": 0.5}, step=1)
    assert capsys.readouterr().out.splitlines()[-1] == "2 figures of the training never reached MLflow."
    assert threads() == []


@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_a_store_that_hangs_does_not_keep_the_training_from_its_end(
    error: type[BaseException] | None,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Least of all one that was stopped: a pod that must go has seconds."""
    name = "FAREWELL_SECONDS" if error is None else "HASTY_FAREWELL_SECONDS"
    monkeypatch.setattr(metric_stream, name, 0.2)
    store.seconds = 2.0
    began = time.monotonic()
    with suppress(KeyboardInterrupt), stream_to(store.address) as stream:
        stream.log({"loss": 1.0}, step=1)
        if error is not None:
            raise error
    assert time.monotonic() - began < 1.5
    assert "1 figure of the training never reached MLflow." in capsys.readouterr().out


def test_the_newest_figures_are_kept_for_a_store_that_is_away_long(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Memory is bounded."""
    monkeypatch.setattr(metric_stream, "KEPT", 3)
    store.status = 503
    with stream_to(store.address) as stream:
        for step in range(10):
            stream.log({"loss": 1.0}, step)
        store.status = 200
    assert [step for _, _, step in store.taken] == [7, 8, 9]
    assert "7 figures of the training never reached MLflow." in capsys.readouterr().out


def test_steps_that_the_store_has_are_not_logged_twice(store: Store) -> None:
    """Every figure for itself."""
    with stream_to(store.address, seen={"step/loss": 20, "loss": 2}) as stream:
        for step in (10, 20, 30):
            stream.log({"step/loss": 1.0}, step)
        for epoch in (1, 2, 3):
            stream.log({"loss": 1.0, "accuracy": 0.5}, epoch)
    assert [(key, step) for key, _, step in store.taken] == [
        ("step/loss", 30),
        ("accuracy", 1),
        ("accuracy", 2),
        ("loss", 3),
        ("accuracy", 3),
    ]


def history(run_id: str, key: str) -> list[tuple[int, float]]:
    return [(one.step, one.value) for one in MlflowClient().get_metric_history(run_id, key)]


@pytest.mark.parametrize("joined", [False, True])
def test_a_training_taken_up_again_goes_on_where_its_figures_end(
    joined: bool, tracked_state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the real store; a run that was handed over too. Another training's figures in such a run are not its own."""
    tracking.connect(tracked_state)
    handed_over = MlflowClient().create_run("0").info.run_id

    def sitting(run_key: str, steps: range, value: float) -> str:
        if joined:
            monkeypatch.setenv("MLFLOW_RUN_ID", handed_over)  # MLflow forgets it once it was used
        with suppress(KeyboardInterrupt), tracking.open_run(tracked_state, "e", run_key, "n") as run:
            with run.stream() as stream:
                for step in steps:
                    stream.log({"loss": value}, step)
            raise KeyboardInterrupt
        return run.run_id

    first, again = sitting("k", range(1, 4), 1.0), sitting("k", range(2, 6), 2.0)
    assert first == again
    assert history(first, "loss") == [(1, 1.0), (2, 1.0), (3, 1.0), (4, 2.0), (5, 2.0)]
    other = sitting("another", range(1, 2), 9.0)
    assert (other == first) == joined
    assert (1, 9.0) in history(other, "loss")
