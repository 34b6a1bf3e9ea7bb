"""`inception submit`: the pipeline, once, on a cluster."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from pipelines.commands import options, targets

if TYPE_CHECKING:
    from pipelines.client import Server
    from trainer.config import Recipe

INTERRUPTED = 130


class Begun(NamedTuple):
    """A run that was started."""

    server: Server
    recipe: Recipe
    version: str
    """Name of the pipeline's version."""
    run: Any
    """As the server gives it."""


@click.command()
@click.argument("recipe")
@targets.environment()
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value: train.epochs=3.")
@click.option("--force", is_flag=True, help="Train again although nothing changed.")
@click.option("--wait", is_flag=True, help="Follow the run, and end as it ends.")
@targets.allow_tags
@options.as_json
@options.debug
@click.pass_context
def submit(
    ctx: click.Context,
    recipe: str,
    environment: str,
    overrides: tuple[str, ...],
    force: bool,
    wait: bool,
    allow_tags: bool,
    as_json: bool,
) -> None:
    """Upload the pipeline, and start a run of it on a cluster.

    The pipeline's version is named by commit and content; one that is there already is used again. The run goes into
    the experiment of the model's name.

    \b
    Example:
      inception submit configs/digits.toml --environment dev --wait
    """
    from pipelines.remote_runs import in_words

    server, _, version, run = begin(recipe, environment, overrides, force, allow_tags)
    if wait:
        run = followed(ctx, server, run.run_id, environment, as_json)
        if not as_json:
            said = f"  {run.error.message}" if run.error and run.error.message else ""
            click.echo(f"{run.state}{said}")
    if as_json:
        link = server.link(f"runs/details/{run.run_id}")
        options.say_json({**in_words(run), "link": link, "pipeline_version": version})
    elif not wait:
        click.echo(f"inception runs show {run.run_id} --environment {environment}")
    if wait and run.state != "SUCCEEDED":
        ctx.exit(1)


def begin(recipe: str, environment: str, overrides: tuple[str, ...], force: bool, allow_tags: bool) -> Begun:
    """Upload the pipeline of a recipe's file, if need be, and start a run of it; say so with the run's page."""
    from pipelines import submission, versions
    from pipelines.compiling import compiled_text
    from trainer import config

    parsed = config.load(recipe, overrides)
    server = targets.server(environment)
    text = compiled_text(config.load(recipe), server.environment, allow_tags)
    version = versions.upload(server, versions.pipeline_name(Path(recipe), server), text)
    click.echo(f"{'uploaded' if version.new else 'using'} version {version.name}", err=True)
    run = submission.start(server, parsed, version, force)
    click.echo(f"started {run.display_name}: {run.run_id}\n  {server.link(f'runs/details/{run.run_id}')}", err=True)
    return Begun(server, parsed, version.name, run)


def followed(ctx: click.Context, server: Server, run: str, environment: str, as_json: bool) -> Any:
    """Show a run's progress until it ends. Ctrl-C ends the watching, not the run; so does a server that is lost."""
    from rich.console import Console

    from pipelines import submission
    from pipelines.progress import Progress
    from pipelines.server_errors import NotFound
    from trainer.errors import InceptionError, ServerError

    goes_on = f"The run goes on. Watch it:  inception runs show {run} --environment {environment}"
    console = Console(file=sys.stderr if as_json else sys.stdout, highlight=False)
    try:
        with Progress(console) as progress:
            ended = submission.follow(server, run, progress.show)
    except KeyboardInterrupt:
        click.echo(f"{goes_on}\nStop it:  inception runs cancel {run} --environment {environment}", err=True)
        ctx.exit(INTERRUPTED)
    except NotFound:
        raise
    except InceptionError as error:
        raise ServerError(error.message, f"{error.remedy}\n  {goes_on}") from error
    return ended
