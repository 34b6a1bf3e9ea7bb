"""Options that several commands share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from trainer.state import DEFAULT_ROOT

F = TypeVar("F", bound=Callable[..., Any])


def state(command: F) -> F:
    """`--state DIR`: where everything of this installation lies."""
    return click.option(
        "--state",
        "root",
        type=click.Path(path_type=Path),
        default=DEFAULT_ROOT,
        envvar="INCEPTION_STATE",
        show_default=True,
        show_envvar=True,
        help="Folder that holds everything: registry, models, data, checkpoints, run cards.",
    )(command)


def as_json(command: F) -> F:
    """`--json`: one object on standard output, everything else on standard error."""
    return click.option("--json", "as_json", is_flag=True, help="Put exactly one JSON object on standard output.")(
        command
    )


def debug(command: F) -> F:
    """`--debug`: show the traceback of an error. Read by `pipelines.cli` from the arguments themselves."""
    return click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")(command)


def say_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
