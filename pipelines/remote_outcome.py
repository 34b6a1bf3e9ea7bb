"""How a run on a cluster ended, as far as it is known here.

A pipeline server knows states and no verdicts. So the outcome is read where the run's report step left it, the first of
these that is within reach: beside the run card in MLflow, the last lines of the step's log, the promotion ledger. The
card itself is fetched from MLflow, or from the bucket of the pipeline's root, where Kubeflow puts what its UI draws.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from pipelines.client import Server
from pipelines.remote_runs import result, steps
from pipelines.verdicts import WORDS, verdicts
from trainer.errors import InceptionError, ServerError
from trainer.record import Document, Outcome, Result
from trainer.state import State, write_atomically
from trainer.storage import SCHEME, Bucket
from trainer.storage.google import hastily

Say = Callable[[str], None]

CARD = "card.html"
_SAID = re.compile(rf"^[ \t]*({'|'.join(get_args(Result))}): (.+)$", re.MULTILINE)
"""What the report step prints of an outcome."""


class RemoteOutcome(Document):
    """`trainer.record.Outcome` of a run on a cluster; None is what is not known here."""

    tick: str
    """Id of the run."""
    result: Result | None
    reason: str
    model: str
    version: str | None = None
    accuracy: float | None = None
    champion: str | None = None
    run_key: str | None = None
    fingerprint: str | None = None
    mlflow_run_id: str | None = None
    card: str | None = None
    """Path of the run card (HTML) here."""
    failed_step: str | None = None
    remedy: str = ""
    seconds: float | None = None
    state: str
    """In the server's words."""
    link: str
    """The run's page."""


def of(server: Server, run: Any, model: str, state: State, say: Say) -> RemoteOutcome:
    """The outcome of a run that has ended, with its card in the state folder.

    Args:
        server: where it ran.
        run: as the server gives it.
        model: registered model.
        state: gets the card, into the tick's folder.
        say: is told what is out of reach, and why.
    """
    published = _published(server, run, state, say)
    known = _seen(server, run, model, say)
    if published is not None:
        known |= {k: v for k, v in published.model_dump().items() if k in RemoteOutcome.model_fields and v is not None}
    if published is None or published.card is None:
        known["card"] = _drawn(server, run, state, say)
    return RemoteOutcome.model_validate(known)


def _seen(server: Server, run: Any, model: str, say: Say) -> dict[str, Any]:
    """What the pipeline server, the report step's log and the ledger say."""
    done = steps(run)
    failed = next((step for step in done if step.state == "FAILED"), None)
    said, reason = _said(server, run.run_id, [pod for step in done if step.name == "report" for pod in step.pods])
    entry = verdicts(server.environment, model, say).get(run.run_id) if said is None else None
    if entry is not None:
        said, reason = WORDS[entry.event], entry.reason
    if run.state != "SUCCEEDED":
        said = "failed"
        error = run.error.message if run.error else ""
        reason = reason or (failed.error if failed else "") or error or f"The run is {str(run.state).lower()}."
    elif said is None and result(run) == "skipped":
        said, reason = "skipped", "Nothing changed since the work was done before."
    over = run.finished_at and run.created_at and run.finished_at >= run.created_at
    return {
        "tick": run.run_id,
        "result": said,
        "reason": reason or "The run completed; its verdict is not known here.",
        "model": model,
        "version": entry.challenger if entry else None,
        "champion": entry.version if entry else None,
        "failed_step": failed.name if failed else None,
        "seconds": (run.finished_at - run.created_at).total_seconds() if over else None,
        "state": str(run.state),
        "link": server.link(f"runs/details/{run.run_id}"),
    }


def _said(server: Server, run: str, pods: list[str]) -> tuple[str | None, str]:
    """Result and reason in the log of the report step, which may be gone with its pod."""
    for pod in reversed(pods):
        try:
            found = _SAID.findall(server.log(run, pod))
        except ServerError:
            continue
        if found:
            return str(found[-1][0]), str(found[-1][1])
    return None, ""


def _published(server: Server, run: Any, state: State, say: Say) -> Outcome | None:
    """What the report step put into MLflow: the environment's, or the one that is named to this process."""
    address = os.environ.get("MLFLOW_TRACKING_URI") or server.environment.store.mlflow
    if address is None:
        return None
    from trainer.tracking import fetch_outcome

    try:
        return fetch_outcome(address, run.run_id, state.tick(run.run_id))
    except InceptionError as error:
        say(f"MLflow's word on the run is not known here: {error.message}")
        return None


def _drawn(server: Server, run: Any, state: State, say: Say) -> str | None:
    """The card as the report step handed it to Kubeflow: `ROOT/PIPELINE/RUN/TASK/…/card` in the bucket."""
    root = (run.runtime_config and run.runtime_config.pipeline_root) or server.environment.store.pipeline_root or ""
    if not root.startswith(SCHEME):
        return None
    from pipelines.retrain import retrain

    try:
        with hastily():
            place = Bucket(f"{root.rstrip('/')}/{retrain.pipeline_spec.pipeline_info.name}/{run.run_id}")
            names = [name for name in place.names() if name.endswith("/card")]
            if not names:
                return None
            path: Path = state.tick(run.run_id) / CARD
            write_atomically(path, place.read(names[-1]))
    except (InceptionError, FileNotFoundError) as error:
        say(f"The card could not be fetched from {root}: {error}")
        return None
    return str(path)
