"""What `inception schedule apply` would do to a pipeline server, and doing it.

The server has recurring runs, and no call that changes one: what differs is made anew, and then the old one is deleted,
so that a definition the server refuses leaves the old schedule as it was. A recurring run is ours if its description
bears our mark and its name is the one in the mark; all others are let be, whatever they are called.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import kfp_server_api as api

from pipelines import compiling, submission
from pipelines.client import NotFound, Server
from pipelines.cron import six_fields
from pipelines.schedules import Schedule
from trainer import config
from trainer.config import sha256_text
from trainer.errors import RecipeError, UsageError

_MARK = re.compile(r"^inception-schedule: (\{.*\})$", re.MULTILINE)
SHORT = 12

Definition = dict[str, Any]


class Wanted(NamedTuple):
    """A schedule of the file, as the server is to have it."""

    name: str
    model: str
    pipeline: str
    """Name of the pipeline."""
    text: str
    """The compiled pipeline."""
    latest: bool
    parameters: dict[str, Any]
    definition: Definition


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


class Change(NamedTuple):
    """One schedule's way from the server's state to the file's."""

    kind: Literal["add", "change", "remove", "keep"]
    name: str
    differences: list[str]
    """`cron: 0 0 3 * * 1 → 0 0 4 * * 1`."""
    wanted: Wanted | None
    owned: list[Owned]
    """What is there now; those that `kept` is not among are deleted."""
    kept: Owned | None


class Plan(NamedTuple):
    environment: str
    changes: list[Change]
    uploads: list[Wanted]
    """Of which the pipeline has no version yet, or for `latest` a newer one that is another."""

    @property
    def empty(self) -> bool:
        return not self.uploads and all(one.kind == "keep" for one in self.changes)


def wanted(schedule: Schedule, folder: Path, server: Server, allow_tags: bool = False) -> Wanted:
    """A schedule of a file in `folder`, as the server is to have it.

    Errors: RecipeError (its recipe, its environment, its cron).
    """
    recipe = config.load(folder / schedule.recipe)
    environment = server.environment
    cron = six_fields(schedule, environment.server.time_zone)
    text = compiling.compiled_text(recipe, environment, allow_tags)
    form = schedule.parameters.model_dump(exclude_none=True, exclude_defaults=True)
    parameters = {"recipe": compiling.asked(recipe, environment), **form}
    latest = schedule.version == "latest"
    definition = {
        "cron": cron,
        "enabled": schedule.enabled,
        "version": "latest" if latest else f"pinned {compiling.digest(text)[:SHORT]}",
        "recipe": sha256_text(parameters["recipe"])[:SHORT],
        **form,
        "service_account": environment.run.service_account,
        "pipeline_root": environment.store.pipeline_root,
    }
    return Wanted(
        schedule.name,
        recipe.registry.name,
        submission.pipeline_name(Path(schedule.recipe), server),
        text,
        latest,
        parameters,
        {key: value for key, value in definition.items() if value is not None},
    )


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


def plan(schedules: Iterable[Wanted], server: Server) -> Plan:
    """The difference between what is wanted and what the server has. Changes nothing. Errors: ServerError."""
    there: dict[str, list[Owned]] = {}
    for one in owned(server):
        there.setdefault(one.name, []).append(one)
    changes: list[Change] = []
    uploads: dict[tuple[str, str], Wanted] = {}
    for want in _without_rivals(schedules):
        change = _change(want, there.pop(want.name, []))
        changes.append(change)
        needs_version = want.latest or change.kind in ("add", "change")
        if needs_version and submission.find_version(server, want.pipeline, want.text, newest=want.latest) is None:
            uploads[want.pipeline, want.text] = want
    changes += [Change("remove", name, [], None, gone, None) for name, gone in there.items()]
    return Plan(server.environment.name, changes, list(uploads.values()))


def apply(plan: Plan, server: Server) -> Iterator[str]:
    """Make it so, and say of each deed that it is done. Errors: ServerError; what was done until then stays done."""
    for want in plan.uploads:
        version = submission.upload(server, want.pipeline, want.text, newest=want.latest)
        if version.new:
            yield f"uploaded {want.pipeline} {version.name}"
    for change in plan.changes:
        if change.wanted is not None and change.kind in ("add", "change") and change.kept is None:
            _make(server, change.wanted, running=not any(one.paused for one in change.owned))
        for one in change.owned:
            if one is not change.kept:
                _delete(server, one)
        if change.kind != "keep":
            yield f"{_DONE[change.kind]} {change.name}"


def set_running(server: Server, one: Owned, running: bool) -> None:
    """Let a schedule tick, or rest. Errors: ServerError."""
    calls = server.recurring_runs
    deed = (
        calls.recurring_run_service_enable_recurring_run
        if running
        else calls.recurring_run_service_disable_recurring_run
    )
    server.send(deed, one.id)


_DONE = {"add": "added", "change": "changed", "remove": "removed"}


def _without_rivals(schedules: Iterable[Wanted]) -> list[Wanted]:
    """Errors: RecipeError (two recipes of one file name would take turns at being the pipeline's newest version)."""
    found, newest = list(schedules), dict[str, Wanted]()
    for want in found:
        if want.latest and newest.setdefault(want.pipeline, want).text != want.text:
            raise RecipeError(
                f"The schedules {newest[want.pipeline].name!r} and {want.name!r} run the newest version of the "
                f"pipeline {want.pipeline!r}, with different recipes of the same file name.",
                'Rename one recipe, or set version = "pinned".',
            )
    return found


def _change(want: Wanted, there: list[Owned]) -> Change:
    same = [one for one in there if one.definition == want.definition]
    if same:
        # A second one of the name is left by an `apply` that was interrupted.
        kind: Literal["keep", "change"] = "keep" if len(there) == 1 else "change"
        extra = ["there twice: the other one goes"] if len(there) > 1 else []
        return Change(kind, want.name, extra, want, there, same[0])
    if not there:
        return Change("add", want.name, [], want, [], None)
    return Change("change", want.name, _differences(there[-1].definition, want.definition), want, there, None)


def _differences(before: Definition, after: Definition) -> list[str]:
    return [
        f"{key}: {_word(before.get(key))} → {_word(after.get(key))}"
        for key in dict.fromkeys([*after, *before])
        if before.get(key) != after.get(key)
    ]


def _word(value: Any) -> str:
    return "—" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _make(server: Server, want: Wanted, running: bool) -> None:
    version = submission.upload(server, want.pipeline, want.text, newest=want.latest)
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
    server.send(server.recurring_runs.recurring_run_service_create_recurring_run, job)


def _delete(server: Server, one: Owned) -> None:
    try:
        server.send(server.recurring_runs.recurring_run_service_delete_recurring_run, one.id)
    except NotFound:
        return


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
