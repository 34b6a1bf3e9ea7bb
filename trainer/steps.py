"""What every pipeline step has around its verb: the state folder, progress, and failures that say what to do."""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from trainer import record, sharing
from trainer.errors import InceptionError, StoreError, without_secrets
from trainer.events import DEBUG_VARIABLE, emit
from trainer.interruption import GO_ON, INTERRUPTED, Interrupted, interrupt
from trainer.legible import legible
from trainer.state import STORAGE_REFUSALS, State, storage_error
from trainer.storage.google import hastily

READS_DOCUMENTS = ("register",)
"""Steps that read nothing but documents of the run's record."""


@contextmanager
def step(name: str, root: str, *, tick: str = "", run_key: str = "", fingerprint: str = "") -> Iterator[State]:
    """Run one step.

    A failure becomes a `Failure` document, one clear message on the log and a non-zero exit; the traceback goes into
    the document. What was done stays done: the next run goes on from it.

    A step that is tried again fails at once where an earlier try of the same run found that to be hopeless, and takes
    the earlier try's failure back where it comes through.

    Where a store holds what runs share (`trainer.sharing`), the folder of its identity is fetched first, and what the
    step changed is sent last.

    A step is given no more than the orchestrator's cache may know of it, so the identity it has says where its failure
    is recorded: a run key, a data fingerprint, or else the tick.

    Args:
        name: the step's name in the pipeline.
        root: the state folder.
        tick: id of the pipeline run.
        run_key: identity of the work.
        fingerprint: identity of the data.
    """
    started = time.monotonic()
    emit("step", f"{name} …", step=name, status="started", run_key=run_key, tick=tick)
    state: State | None = None
    where: Path | None = None
    signal.signal(signal.SIGTERM, interrupt)
    try:
        state = State.open(root)
        where = state.run(run_key) if run_key else state.failed_data(fingerprint) if fingerprint else state.tick(tick)
        sharing.fetch(state, where, sharing.documents if name in READS_DOCUMENTS else sharing.everything)
        _expect_hope(where, name)
        yield state
        _take_back(where, name)
        sharing.push(state)
    except KeyboardInterrupt as ended:
        status, words = (ended.status, ended.message) if isinstance(ended, Interrupted) else (INTERRUPTED, "")
        _fail(state, where, name, InceptionError(words or f"{name} was interrupted.", GO_ON), ended)
        raise SystemExit(status) from None
    except OSError as error:
        # A connection that was refused is an OSError too, and none of the state folder's.
        refused = error.errno in STORAGE_REFUSALS
        _fail(state, where, name, storage_error(error, root) if refused else error, error)
        raise SystemExit(1) from None
    except Exception as error:
        _fail(state, where, name, error)
        raise SystemExit(1) from None
    seconds = time.monotonic() - started
    emit("step", f"{name} done in {seconds:.1f} s", step=name, status="done", seconds=seconds)


def _expect_hope(where: Path, name: str) -> None:
    """`check` begins every run without failures: one that is there was left by an earlier try of this step."""
    earlier = record.find(where, record.Failure)
    if earlier is not None and earlier.step == name and earlier.hopeless:
        _say(earlier)
        raise SystemExit(1)


def _take_back(where: Path, name: str) -> None:
    earlier = record.find(where, record.Failure)
    if earlier is not None and earlier.step == name:
        record.remove(where, record.Failure)


def _fail(
    state: State | None, where: Path | None, name: str, error: Exception, cause: BaseException | None = None
) -> None:
    if cause is not None and cause is not error:
        error.__cause__ = cause
    known = error if isinstance(error, InceptionError) else None
    unexpected = legible(without_secrets(f"{name} met an unexpected {type(error).__name__}: {error}"))
    message = known.message if known else unexpected
    remedy = (
        known.remedy if known else "Run again with --debug for the traceback; if it comes back, report it with that."
    )
    failure = record.Failure(
        step=name,
        message=message,
        remedy=remedy,
        traceback=legible(without_secrets("".join(traceback.format_exception(error)))),
        at=record.now(),
        hopeless=known is not None and known.hopeless,
    )
    _say(failure)
    if state is None or where is None:
        return
    try:
        record.write(where, failure)
        # A store that has refused something may be another than the one that is told.
        with hastily() if isinstance(cause or error, KeyboardInterrupt | StoreError) else nullcontext():
            sharing.push(state)
    except InceptionError as error_while_recording:
        emit("note", f"the failure could not be recorded: {error_while_recording}")


def _say(failure: record.Failure) -> None:
    line = f"{failure.step} failed: {failure.message}\n{failure.remedy}"
    if os.environ.get(DEBUG_VARIABLE):
        line += f"\n{failure.traceback}"
    emit("step", line, step=failure.step, status="failed", failure=record.as_json(failure))
