"""The machine's figures beside a training's."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Any

import psutil
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from trainer import system_metrics, tracking
from trainer.state import State


def figures(run_id: str) -> set[str]:
    return {key for key in MlflowClient().get_run(run_id).data.metrics if key.startswith("system/")}


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if "metrics" in thread.name.lower()}


def samples(run_id: str) -> list[int]:
    """Steps of one of the figures."""
    return [one.step for one in MlflowClient().get_metric_history(run_id, "system/cpu_utilization_percentage")]


def wait_for_samples(run_id: str, count: int = 1) -> None:
    deadline = time.monotonic() + 20
    while len(samples(run_id)) < count:
        assert time.monotonic() < deadline, "no figures came"
        time.sleep(0.05)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")


@pytest.mark.parametrize("joined", [False, True])
def test_processor_memory_disk_and_network_are_logged(
    joined: bool, tracked_state: State, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """In a run of its own as in one that was handed over; nothing is printed, and no thread is left."""
    tracking.connect(tracked_state)
    if joined:
        monkeypatch.setenv("MLFLOW_RUN_ID", MlflowClient().create_run("0").info.run_id)
    capfd.readouterr()
    with tracking.open_run(tracked_state, "e", "k", "n", system_metrics=True) as run:
        wait_for_samples(run.run_id)
    assert figures(run.run_id) >= {
        "system/cpu_utilization_percentage",
        "system/system_memory_usage_megabytes",
        "system/disk_available_megabytes",
        "system/network_receive_megabytes",
    }
    assert threads() == set()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("asked", [False, True])
def test_the_recipe_says_whether_they_are_logged(
    asked: bool, tracked_state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not MLflow's own switch, which would log them a second time."""
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true")
    with tracking.open_run(tracked_state, "e", "k", "n", system_metrics=asked):
        assert len(threads()) == asked


def test_a_second_sitting_counts_on(tracked_state: State) -> None:
    """The steps of a figure are those of one training."""

    def sitting(count: int) -> str:
        with suppress(KeyboardInterrupt), tracking.open_run(tracked_state, "e", "k", "n", system_metrics=True) as run:
            wait_for_samples(run.run_id, count)
            raise KeyboardInterrupt
        return run.run_id

    before = len(samples(sitting(1)))
    after = samples(sitting(before + 1))
    assert after == list(range(len(after)))
    assert len(after) > before > 0


def test_a_store_that_hangs_does_not_keep_the_training_from_its_end(
    tracked_state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last request may take minutes where a server is gone."""
    monkeypatch.setattr(system_metrics, "FAREWELL_SECONDS", 0.2)
    stuck, reached = threading.Event(), threading.Event()

    def hang(*arguments: Any) -> None:
        reached.set()
        stuck.wait(20)
        raise MlflowException("the server is gone")

    with tracking.open_run(tracked_state, "e", "k", "n", system_metrics=True):
        monkeypatch.setattr(MlflowClient, "get_run", hang)
        assert reached.wait(10)
        began = time.monotonic()
    assert time.monotonic() - began < 2
    stuck.set()


def test_a_machine_that_does_not_tell_is_no_error(tracked_state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """The training goes on without the figures."""

    def nothing(*arguments: Any, **named: Any) -> None:
        raise OSError("/proc is not mounted")

    monkeypatch.setattr(psutil, "net_io_counters", nothing)
    with tracking.open_run(tracked_state, "e", "k", "n", system_metrics=True) as run:
        assert threads() == set()
    assert figures(run.run_id) == set()
