"""The pipeline on this machine: `kfp.local` runs every step as a process, no cluster and no container engine.

The orchestrator's own cache stays off here: the steps know by themselves what is done, and the state folder is the only
place that remembers anything.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from types import FrameType
from typing import Any

from pipelines.events import Follower
from trainer.config import Recipe
from trainer.errors import StepFailed
from trainer.events import EVENTS_VARIABLE
from trainer.record import Outcome
from trainer.state import State, reported

GRACE_SECONDS = 15.0


def run(recipe: Recipe, state: State, show: Callable[[dict[str, Any]], None], force: bool = False) -> Outcome:
    """Run the pipeline once, its steps as processes.

    Args:
        recipe: what to train.
        state: the state folder.
        show: called with every event of every step, from another thread.
        force: train again although nothing changed.

    Returns how it ended, failures included.
    Errors: StepFailed where the run ended without leaving an outcome; KeyboardInterrupt after its steps have stopped.
    """

    def steps(workspace: Path) -> None:
        from kfp import local

        from pipelines.retrain import tried_once

        start(workspace, local.SubprocessRunner(use_venv=False))
        with stopping(_stop_children):
            tried_once()(recipe=recipe.canonical(), root=str(state.root), force=force)

    return followed(state, show, steps)


def followed(state: State, show: Callable[[dict[str, Any]], None], steps: Callable[[Path], None]) -> Outcome:
    """Run steps that write their events into `events.jsonl` of the folder that they are called with.

    Args:
        state: the state folder; what the steps print goes to a log there.
        show: called with every event.
        steps: runs the pipeline; the folder is gone afterwards.

    Returns how the run ended. Errors: StepFailed (no step left an outcome).
    """
    last: dict[str, dict[str, Any]] = {}

    def keep(event: dict[str, Any]) -> None:
        last[event["kind"]] = event
        show(event)

    log = state.logs / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    with _workspace(state) as workspace, _quiet(log), Follower(workspace / "events.jsonl", keep):
        os.environ[EVENTS_VARIABLE] = str(workspace / "events.jsonl")
        try:
            steps(workspace)
        finally:
            del os.environ[EVENTS_VARIABLE]
    if "outcome" not in last:
        failed = last.get("step", {}).get("failure", {})
        raise StepFailed(
            failed.get("message") or "The run ended without a report.",
            failed.get("remedy") or f"What the steps printed is in {log}.",
        )
    return Outcome.model_validate({k: v for k, v in last["outcome"].items() if k in Outcome.model_fields})


def start(workspace: Path, runner: Any) -> None:
    """Make kfp run tasks on this machine, by a runner of its own, with its files in `workspace`."""
    from kfp import local

    # kfp deletes the workspace it is given, so it is given one of its own.
    local.init(
        runner=runner,
        pipeline_root=str(workspace / "outputs"),
        workspace_root=str(workspace / "workspace"),
        raise_on_error=False,
    )


@contextmanager
def _workspace(state: State) -> Iterator[Path]:
    """A folder for the orchestrator's own files; everything worth keeping is in the run record."""
    with reported(state.pipeline_root):
        state.pipeline_root.mkdir(parents=True, exist_ok=True)
        state.logs.mkdir(parents=True, exist_ok=True)
        workspace = Path(tempfile.mkdtemp(dir=state.pipeline_root))
    try:
        yield workspace
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


@contextmanager
def _quiet(log: Path) -> Iterator[None]:
    """Send what kfp and the steps print to the log file."""
    with reported(log), open(log, "a", encoding="utf-8", buffering=1) as file, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You may be attemping to run a task")
        with redirect_stdout(file), redirect_stderr(file):
            yield


@contextmanager
def stopping(stop: Callable[[], None]) -> Iterator[None]:
    """On an interrupt or a SIGTERM, stop the running step by `stop`, which waits for it to put its work in order."""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except BaseException:
        stop()
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
        sys.stdout.flush()


def _stop_children() -> None:
    import psutil

    children = psutil.Process().children(recursive=True)
    for child in children:
        child.terminate()
    _, alive = psutil.wait_procs(children, timeout=GRACE_SECONDS)
    for child in alive:
        child.kill()
