"""`inception runs`: what runs, and ran, on a cluster."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from pipelines.commands import options, targets

if TYPE_CHECKING:
    from pipelines.client import Server

STYLES = {"SUCCEEDED": "green", "FAILED": "red", "CANCELED": "yellow", "CANCELING": "yellow", "RUNNING": "cyan"}


@click.group(invoke_without_command=True)
@targets.environment(required=False)
@click.option("--model", metavar="NAME", help="Runs of this model only.")
@click.option("--last", default=20, show_default=True, type=click.IntRange(min=1), help="How many runs to show.")
@options.as_json
@options.debug
@click.pass_context
def runs(ctx: click.Context, environment: str | None, model: str | None, last: int, as_json: bool) -> None:
    """List the runs of a cluster, newest first; or show one, read its log, stop it.

    \b
    Example:
      inception runs --environment prod
      inception runs logs 5d08dd3d-58d9-4d02-9ff2-f2cee8dbfda8 train --environment prod
    """
    if ctx.invoked_subcommand is not None:
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from pipelines.remote_runs import in_words

    if environment is None:
        raise click.MissingParameter(ctx=ctx, param_hint="--environment", param_type="option")
    rows = [in_words(run) for run in islice(_listed(environment, model), last)]
    if as_json:
        options.say_json({"runs": rows})
        return
    if not rows:
        click.echo(f"Nothing has run yet. Start something: inception submit RECIPE --environment {environment}")
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column, width in (("id", 36), ("state", 9), ("began (UTC)", 16)):
        table.add_column(column, no_wrap=True, min_width=width)
    table.add_column("name", no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(row["id"], _state(row["state"]), _minute(row["created"]), Text(row["name"]))
    Console().print(table)


@runs.command()
@click.argument("run")
@targets.environment()
@options.as_json
@options.debug
def show(run: str, environment: str, as_json: bool) -> None:
    """Show how a run gets on, or how it ended: its steps, its times, its parameters, and where to see more.

    \b
    Example:
      inception runs show 5d08dd3d-58d9-4d02-9ff2-f2cee8dbfda8 --environment prod
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from pipelines.remote_runs import in_words, steps

    server = targets.server(environment)
    found = _run(server, run, environment)
    row, link = in_words(found), server.link(f"runs/details/{run}")
    passed = (found.runtime_config.parameters if found.runtime_config else None) or {}
    if as_json:
        done = [
            {"name": s.name, "state": s.state, "seconds": s.seconds, "error": s.error or None} for s in steps(found)
        ]
        options.say_json({**row, "steps": done, "parameters": passed, "link": link})
        return
    console = Console(highlight=False)
    console.print(Text.assemble((row["name"], "bold"), "  ", _state(row["state"])))
    table = Table.grid(padding=(0, 2))
    for step in steps(found):
        table.add_row(" ", step.name, _state(step.state), f"{step.seconds:.0f} s" if step.seconds else "", step.error)
    console.print(table)
    began, ended = (f"{_minute(row[key])} UTC" if row[key] else "" for key in ("created", "finished"))
    lines = {"began": began, "ended": ended, "error": row["error"] or ""}
    lines |= {key: str(value) for key, value in passed.items() if key != "recipe"}
    for label, text in {**lines, "see": link}.items():
        if text:
            console.print(Text.assemble(f"  {label:<10}", text), soft_wrap=True)


@runs.command()
@click.argument("run")
@click.argument("step", required=False)
@targets.environment()
@options.debug
@click.pass_context
def logs(ctx: click.Context, run: str, step: str | None, environment: str) -> None:
    """Print what a step of a run printed, or what all of them did.

    A log is there as long as the step's pod is, and longer where the server keeps logs.

    \b
    Example:
      inception runs logs 5d08dd3d-58d9-4d02-9ff2-f2cee8dbfda8 train --environment prod
    """
    from pipelines.remote_runs import steps
    from trainer.errors import ServerError, UsageError, nearest

    server = targets.server(environment)
    found = steps(_run(server, run, environment))
    chosen = [one for one in found if step in (None, one.name)]
    if step is not None and not chosen:
        raise UsageError(f"The run has no step {step!r} yet. {nearest(step, [one.name for one in found])}")
    missing: dict[str, str] = {}
    for one in chosen:
        for pod in one.pods:
            try:
                text = server.log(run, pod)
            except ServerError as error:
                missing[pod] = error.message
                continue
            click.echo(click.style(f"--- {one.name} ({pod})", dim=True), err=True)
            click.echo(text, nl=not text.endswith("\n"))
    if missing or not any(one.pods for one in chosen):
        namespace = server.environment.server.namespace
        if not missing:
            click.echo("The server has no log yet.", err=True)
        for pod, why in missing.items():
            click.echo(f"There is no log of {pod}. {why}", err=True)
            click.echo(f"  kubectl logs --namespace {namespace} {pod} --container main", err=True)
        ctx.exit(1)


@runs.command()
@click.argument("run")
@targets.environment()
@options.debug
def cancel(run: str, environment: str) -> None:
    """Stop a run. What its steps have done stays done: the next run goes on from it.

    A run that is stopped may end without its report: without a card and without a notification.

    \b
    Example:
      inception runs cancel 5d08dd3d-58d9-4d02-9ff2-f2cee8dbfda8 --environment prod
    """
    from pipelines.remote_runs import ENDED

    server = targets.server(environment)
    state = _run(server, run, environment).state
    if state in ENDED:
        click.echo(f"The run has ended already: {state}.")
        return
    server.send(server.runs.run_service_terminate_run, run)
    click.echo(f"The run is asked to stop. See it end: inception runs show {run} --environment {environment}")


def _run(server: Server, run: str, environment: str) -> Any:
    """A run by its id. Errors: NotFound (with where to look for it), ServerError."""
    from pipelines.server_errors import NotFound

    try:
        return server.read(server.runs.run_service_get_run, run)
    except NotFound as error:
        remedy = f"See what there is: inception runs --environment {environment}"
        raise NotFound(error.message, remedy) from error


def _listed(environment: str, model: str | None) -> Any:
    from pipelines.submission import find_experiment

    server = targets.server(environment)
    if model is None:
        where = server.here
    else:
        found = find_experiment(server, model)
        if found is None:
            return iter(())
        where = {"experiment_id": found}
    return server.all(server.runs.run_service_list_runs, "runs", sort_by="created_at desc", **where)


def _state(state: str) -> Any:
    from rich.text import Text

    return Text(state.lower(), STYLES.get(state, "dim"))


def _minute(moment: str | None) -> str:
    return moment[:16].replace("T", " ") if moment else ""
