"""The recurring runs of a pipeline server that are ours: finding them, making them, letting them rest.

One is ours if its description bears our mark and its name is the one in the mark; all others are let be, whatever they
are called.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import kfp_server_api as api

from pipelines import submission, versions
from pipelines.client import Server
from pipelines.server_errors import NotFound, Passing, Unanswered
from trainer.errors import ServerError, UsageError

if TYPE_CHECKING:
    from pipelines.plans import Wanted

Definition = dict[str, Any]

_MARK = re.compile(r"^inception-schedule: (\{.*\})$", re.MULTILINE)


class Owned(NamedTuple):
    """A recurring run that is ours."""

    id: str
    name: str
    definition: Definition
    running: bool
    job: Any

    @property
    def paused(self) -> bool:
        """By somebody, on the server: it was made to tick."""
        return bool(self.definition.get("enabled")) and not self.running


def owned(server: Server) -> list[Owned]:
    """What is ours on the server, oldest first. Errors: ServerError."""
    found = server.all(
        server.recurring_runs.recurring_run_service_list_recurring_runs,
        "recurring_runs",
        sort_by="created_at asc",
        **server.here,
    )
    return [one for one in (_ours(server, job) for job in found) if one is not None]


def named(server: Server, name: str) -> Owned:
    """Errors: UsageError (it was never applied), ServerError."""
    for one in owned(server):
        if one.name == name:
            return one
    raise UsageError(
        f"The schedule {name!r} is not on the server of {server.environment.name!r} yet.",
        f"Bring it there: inception schedule apply --environment {server.environment.name}",
    )


def make(server: Server, want: Wanted, running: bool) -> None:
    """Make a schedule, ticking or not; its pipeline's version too, if need be. Errors: ServerError."""
    version = versions.upload(server, want.pipeline, want.text, newest=want.latest)
    mark = {
        "owner": server.environment.server.owner,
        "environment": server.environment.name,
        "schedule": want.name,
        "definition": want.definition,
    }
    mode = api.RecurringRunMode.ENABLE if running and want.definition["enabled"] else api.RecurringRunMode.DISABLE
    job = api.V2beta1RecurringRun(
        experiment_id=submission.experiment(server, want.model),
        display_name=want.name,
        description=f"Kept by `inception schedule apply`.\ninception-schedule: {json.dumps(mark, sort_keys=True)}",
        pipeline_version_reference=api.V2beta1PipelineVersionReference(
            pipeline_id=version.pipeline, pipeline_version_id=None if want.latest else version.id
        ),
        runtime_config=api.V2beta1RuntimeConfig(
            parameters=want.parameters, pipeline_root=server.environment.store.pipeline_root
        ),
        trigger=api.V2beta1Trigger(cron_schedule=api.V2beta1CronSchedule(cron=want.definition["cron"])),
        mode=mode,
        max_concurrency="1",
        no_catchup=True,
        service_account=server.environment.run.service_account,
    )
    try:
        server.send(server.recurring_runs.recurring_run_service_create_recurring_run, job)
    except Unanswered as error:
        raise ServerError(
            error.message, f"{want.name!r} may be there all the same. Apply again: that puts it in order."
        ) from error
    except Passing as error:
        raise versions.explained(error, server) from error


def delete(server: Server, one: Owned) -> None:
    """Whether it is still there or not. Errors: ServerError."""
    try:
        server.send(server.recurring_runs.recurring_run_service_delete_recurring_run, one.id)
    except NotFound:
        return


def set_running(server: Server, one: Owned, running: bool) -> None:
    """Let a schedule tick, or rest. Errors: ServerError."""
    calls = server.recurring_runs
    deed = (
        calls.recurring_run_service_enable_recurring_run
        if running
        else calls.recurring_run_service_disable_recurring_run
    )
    server.send(deed, one.id)


def _ours(server: Server, job: Any) -> Owned | None:
    found = _MARK.search(job.description or "")
    if found is None:
        return None
    try:
        mark = json.loads(found[1])
        definition, schedule = dict(mark["definition"]), str(mark["schedule"])
        owner = (mark["owner"], mark["environment"])
    except (json.JSONDecodeError, KeyError, TypeError, ValueError):
        return None
    # A copy made by hand in the UI has the mark too, and another name.
    if owner != (server.environment.server.owner, server.environment.name) or job.display_name != schedule:
        return None
    return Owned(job.recurring_run_id, schedule, definition, job.status == "ENABLED", job)
