"""Options of the commands that speak to a pipeline server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from pipelines.client import Server

F = TypeVar("F", bound=Callable[..., Any])


def environment(required: bool = True) -> Callable[[F], F]:
    """`--environment NAME`: one of configs/environments, or the path of such a file.

    A command of a group takes the group's where it is given none itself.
    """

    def found(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
        if value is not None and not value.strip():
            # A script's variable that is empty must not ask for the pipeline of one machine.
            raise click.BadParameter("it is empty. Name a file of configs/environments.", ctx=ctx, param=parameter)
        given = value or (ctx.parent.params.get("environment") if ctx.parent else None)
        if given is None and required:
            raise click.MissingParameter(ctx=ctx, param=parameter)
        return given

    return click.option(
        "--environment",
        "environment",
        callback=found,
        envvar="INCEPTION_ENVIRONMENT",
        show_envvar=True,
        metavar="NAME",
        help=f"Where: a file of configs/environments by its name, or by its path.{' Must be given.' * required}",
    )


def allow_tags(command: F) -> F:
    """`--allow-tags`: images need no digest."""
    return click.option(
        "--allow-tags", is_flag=True, help="Take images by tag too: for trying things out, where tags are not moved."
    )(command)


def schedule_file(command: F) -> F:
    """`--file`: the schedule file."""
    from pipelines.schedules import DEFAULT_FILE

    return click.option(
        "--file", type=click.Path(path_type=Path, dir_okay=False), default=DEFAULT_FILE, show_default=True,
        help="The schedule file.",
    )(command)  # fmt: skip


def server(name: str) -> Server:
    """The pipeline server of an environment. Errors: RecipeError, UsageError."""
    from pipelines.client import Server
    from pipelines.environments import load

    return Server(load(name))
