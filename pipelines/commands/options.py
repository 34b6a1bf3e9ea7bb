"""Options that several commands share."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from trainer.errors import InceptionError, UsageError
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


def yes(command: F) -> F:
    """`--yes`: do not ask."""
    return click.option("--yes", "-y", is_flag=True, help="Do it without asking.")(command)


def confirmed(question: str, yes: bool) -> None:
    """Ask before a change of consequence. Errors: UsageError (nobody is there to ask), InceptionError (a no)."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"{question} There is no terminal to ask on.", "Add --yes if that is what you want.")
    if not click.confirm(question, err=True):
        raise InceptionError("That was not confirmed, so nothing was changed.")


def say_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def command_line(words: Sequence[str], root: Path) -> str:
    """`inception` with these words, as it can be typed here for the same state folder."""
    meant = Path(os.environ.get("INCEPTION_STATE") or DEFAULT_ROOT)
    named = [] if root.absolute() == meant.absolute() else ["--state", str(root)]
    return shlex.join([_command(), *words, *named])


def relative(path: str | None) -> str:
    """A path as it is best read here; empty for none."""
    if path is None:
        return ""
    return str(Path(path).relative_to(Path.cwd())) if Path(path).is_relative_to(Path.cwd()) else path


def _command() -> str:
    """`inception` where the shell finds it, else the path under which it was called."""
    found = shutil.which("inception")
    return "inception" if found and Path(found).samefile(sys.argv[0]) else relative(str(Path(sys.argv[0]).absolute()))
