"""A run on a pipeline server, as its own words for it are best read here."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from pipelines.environments.steps import STEPS

ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
_IMPLEMENTATION = "-impl-"
"""Argo names the pods that run a step's own code, beside those that look up inputs and the cache, like this."""


class Step(NamedTuple):
    """One step of a run."""

    name: str
    state: str
    seconds: float
    """It has taken; 0 while that is unknown."""
    error: str
    pods: list[str]
    """That run, or ran, the step's code, one for each try."""


def steps(run: Any) -> list[Step]:
    """The pipeline's own steps in their order, those that the server knows of.

    The server lists them among the groups they are in, the pods that run them and the drivers that look things up.
    """
    details = (run.run_details.task_details if run.run_details else None) or []
    found: dict[str, Any] = {}
    for task in details:
        name = _name(task)
        # A try again leaves an older entry of the same name: what has started last holds.
        if name in STEPS and (name not in found or _moment(task) >= _moment(found[name])):
            found[name] = task
    return [
        Step(
            name, str(found[name].state or ""), _seconds(found[name]), _error(found[name]), _pods(found[name], details)
        )
        for name in STEPS
        if name in found
    ]


def in_words(run: Any) -> dict[str, Any]:
    """A run as JSON: what `inception runs --json` says of it."""
    reference = run.pipeline_version_reference
    return {
        "id": run.run_id,
        "name": run.display_name,
        "state": run.state or "PENDING",
        "created": _iso(run.created_at),
        "finished": _iso(run.finished_at) if run.state in ENDED else None,
        "schedule": run.recurring_run_id,
        "version": reference.pipeline_version_id if reference else None,
        "error": (run.error.message if run.error else None) or None,
    }


def _name(task: Any) -> str:
    """`Prepare data` and `prepare` are the same step."""
    words = str(task.display_name or "").lower().split()
    return words[0] if words else ""


def _pods(task: Any, details: list[Any]) -> list[str]:
    """Of everything below a task in the server's tree; where Argo's names tell, only those that ran the step."""
    by_id = {one.task_id: one for one in details}
    names: list[str] = []
    waiting, known = [task], set()
    while waiting:
        one = waiting.pop(0)
        if one.task_id in known:
            continue
        known.add(one.task_id)
        children = one.child_tasks or []
        names += [name for name in (one.pod_name, *(child.pod_name for child in children)) if name]
        waiting += [by_id[child.task_id] for child in children if child.task_id in by_id]
        waiting += [other for other in details if other.parent_task_id and other.parent_task_id == one.task_id]
    names = list(dict.fromkeys(names))
    return [name for name in names if _IMPLEMENTATION in name] or names


def _error(task: Any) -> str:
    return str(task.error.message or "").strip() if task.error else ""


def _moment(task: Any) -> float:
    return task.start_time.timestamp() if task.start_time else 0.0


def _seconds(task: Any) -> float:
    """The server gives years long gone for times that are still to come."""
    if not task.start_time or not task.end_time or task.end_time < task.start_time:
        return 0.0
    return float((task.end_time - task.start_time).total_seconds())


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def result(run: Any) -> str:
    """How a tick ended, in the words of a run here as far as the server knows them: it has no verdicts.

    A run whose `check` found nothing to do succeeds without a `prepare`: that one was skipped.
    """
    state = str(run.state or "PENDING")
    if state != "SUCCEEDED":
        return state.lower()
    known = {step.name: step.state for step in steps(run)}
    return "skipped" if known.get("check") == "SUCCEEDED" and known.get("prepare", "SKIPPED") == "SKIPPED" else "done"
