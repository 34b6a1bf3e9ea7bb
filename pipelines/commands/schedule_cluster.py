"""`inception schedule plan` and `apply`, and what the other schedule commands do for a schedule on a cluster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.commands import options, targets

if TYPE_CHECKING:
    from pipelines.client import Server
    from pipelines.plans import Plan
    from pipelines.schedules import Schedule

_SIGNS = {"add": ("+", "green"), "change": ("~", "yellow"), "remove": ("-", "red"), "keep": (" ", "")}


@click.command()
@targets.schedule_file
@targets.environment(required=False)
@targets.allow_tags
@options.as_json
@options.debug
def plan(file: Path, environment: str | None, allow_tags: bool, as_json: bool) -> None:
    """Show what `apply` would change on the pipeline servers: added, changed, removed, unchanged. Changes nothing.

    Without --environment: on all servers that the file names. A server whose last schedule was taken out of the file
    must be named.

    \b
    Example:
      inception schedule plan --environment prod
    """
    plans = [found for found, _ in _plans(file, environment, allow_tags)]
    if as_json:
        options.say_json({"plans": [_document(one) for one in plans]})
        return
    for one in plans:
        _draw(one)


@click.command()
@targets.schedule_file
@targets.environment(required=False)
@targets.allow_tags
@options.yes
@options.as_json
@options.debug
def apply(file: Path, environment: str | None, allow_tags: bool, yes: bool, as_json: bool) -> None:
    """Make the pipeline servers' schedules those of the file. What is the same is not touched.

    Schedules that `apply` did not make itself are let be, whatever they are called. One that somebody paused stays
    paused.

    \b
    Example:
      inception schedule apply --environment prod
    """
    from pipelines import plans

    done = []
    # All plans are made before anything is changed: what is wrong in one of them leaves all servers as they are.
    for found, server in list(_plans(file, environment, allow_tags)):
        if not as_json:
            _draw(found)
        if found.empty:
            done.append({**_document(found), "done": []})
            continue
        if any(change.kind in ("change", "remove") for change in found.changes):
            options.confirmed(f"Change the schedules on {server.environment.server.address} like this?", yes)
        deeds = []
        for deed in plans.apply(found, server):
            click.echo(deed, err=as_json)
            deeds.append(deed)
        done.append({**_document(found), "done": deeds})
    if as_json:
        options.say_json({"applied": done})


def row(schedule: Schedule, servers: dict[str, Server]) -> dict[str, Any]:
    """A schedule on a cluster, as `inception schedule list` shows it, also where its server is out of reach."""
    from trainer.errors import RecipeError, ServerError, UsageError

    words = {ServerError: "out of reach", UsageError: "no token", RecipeError: "no usable environment"}
    try:
        status, last = _now(schedule, _server(schedule, servers))
    except tuple(words) as error:
        click.echo(f"{schedule.name}: {error.message}", err=True)
        status, last = next(word for kind, word in words.items() if isinstance(error, kind)), None
    due = schedule.after(datetime.now(UTC)) if status == "enabled" else None
    return {
        "name": schedule.name,
        "recipe": schedule.recipe,
        "environment": schedule.environment,
        "cron": schedule.cron,
        "time_zone": schedule.time_zone,
        "when": schedule.in_words(),
        "status": status,
        "next": due.isoformat() if due else None,
        "last": last,
    }


def set_running(schedule: Schedule, running: bool) -> None:
    """Pause or resume a schedule on its server."""
    from pipelines import recurring

    server = _server(schedule, {})
    recurring.set_running(server, recurring.named(server, schedule.name), running)


def run_now(ctx: click.Context, schedule: Schedule, as_json: bool) -> None:
    """Start a run as the schedule's next tick would, and follow it."""
    from pipelines import recurring, submission
    from pipelines.commands.submit import followed
    from pipelines.remote_runs import in_words
    from trainer import config

    server = _server(schedule, {})
    job = recurring.named(server, schedule.name).job
    reference, asked = job.pipeline_version_reference, job.runtime_config.parameters
    model = config.parse(asked["recipe"]).registry.name
    run = submission.start_with(
        server, model, reference.pipeline_id, reference.pipeline_version_id or None, asked, f"{schedule.name} by hand"
    )
    link = server.link(f"runs/details/{run.run_id}")
    click.echo(f"started {run.run_id}\n  {link}", err=True)
    ended = followed(ctx, server, run.run_id, str(schedule.environment), as_json)
    if as_json:
        options.say_json({**in_words(ended), "link": link})
    if ended.state != "SUCCEEDED":
        ctx.exit(1)


def history(schedule: Schedule, last: int) -> list[dict[str, Any]]:
    """The ticks of a schedule on a cluster, newest first: its recurring run's runs, with the ledger's verdicts."""
    from pipelines import recurring
    from pipelines.verdicts import WORDS, verdicts
    from trainer import config

    server = _server(schedule, {})
    found = recurring.named(server, schedule.name)
    ticks = list(islice(_ticks(server, found.id, schedule.name), last))
    model = config.parse(found.job.runtime_config.parameters["recipe"]).registry.name
    decided = verdicts(server.environment, model, partial(click.echo, err=True)) if ticks else {}
    for tick in ticks:
        entry = decided.get(tick["tick"])
        if entry is not None:
            tick |= {"result": WORDS[entry.event], "reason": entry.reason, "version": entry.challenger or entry.version}
    return ticks


def _now(schedule: Schedule, server: Server) -> tuple[str, dict[str, Any] | None]:
    """Its status on the server, and its last tick."""
    from pipelines import recurring

    found = next((one for one in recurring.owned(server) if one.name == schedule.name), None)
    if found is None:
        return "not applied" if schedule.enabled else "disabled", None
    status = "enabled" if found.running else "paused" if schedule.enabled else "disabled"
    return status, next(_ticks(server, found.id, schedule.name), None)


def _ticks(server: Server, recurring_run: str, name: str) -> Iterator[dict[str, Any]]:
    from pipelines.remote_runs import in_words, result

    runs = server.all(server.runs.run_service_list_runs, "runs", sort_by="created_at desc", **server.here)
    for run in runs:
        if run.recurring_run_id == recurring_run:
            words = in_words(run)
            yield {
                "schedule": name,
                "started": words["created"],
                "ended": words["finished"] or words["created"],
                "result": result(run),
                "reason": words["error"] or "",
                "tick": run.run_id,
            }


def _plans(file: Path, environment: str | None, allow_tags: bool) -> Iterator[tuple[Plan, Server]]:
    """One for every environment that is meant."""
    from pipelines import environments, plans
    from pipelines.schedules import load
    from trainer.errors import UsageError

    schedules = [one for one in load(file) if one.environment is not None]
    names = list(dict.fromkeys(str(one.environment) for one in schedules))
    if environment is not None:
        names = [environment]
    if not names:
        raise UsageError(
            f"No schedule of {file} is for a cluster.",
            "Give one an environment, or name the server with --environment. Those of this machine: "
            "inception schedule serve",
        )
    for name in names:
        server = targets.server(name)
        stem = environments.load(name).name
        here = [one for one in schedules if one.environment in (name, stem)]
        yield plans.plan([plans.wanted(one, file.parent, server, allow_tags) for one in here], server), server


def _server(schedule: Schedule, servers: dict[str, Server]) -> Server:
    """The server of a schedule, opened once."""
    name = str(schedule.environment)
    if name not in servers:
        servers[name] = targets.server(name)
    return servers[name]


def _draw(found: Plan) -> None:
    click.secho(f"{found.environment}:", bold=True)
    for want in found.uploads:
        click.secho(f"  + version of {want.pipeline}", fg="green")
    for change in found.changes:
        sign, color = _SIGNS[change.kind]
        paused = "  (paused)" if any(one.paused for one in change.owned) else ""
        click.secho(f"  {sign} {change.name}{paused}", fg=color or None)
        for line in change.differences:
            click.echo(f"      {line}")
    counted = Counter[str](change.kind for change in found.changes)
    words = {"add": "to add", "change": "to change", "remove": "to remove", "keep": "unchanged"}
    click.echo("  " + ", ".join(f"{counted[kind]} {word}" for kind, word in words.items()))


def _document(found: Plan) -> dict[str, Any]:
    return {
        "environment": found.environment,
        "uploads": [want.pipeline for want in found.uploads],
        "changes": [
            {"schedule": one.name, "change": one.kind, "differences": one.differences} for one in found.changes
        ],
    }
