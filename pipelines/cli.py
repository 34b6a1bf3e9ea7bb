"""The `inception` command.

Loads no TensorFlow, no MLflow and no kfp until a command needs them: its help must come at once.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from importlib.metadata import version
from typing import Any

import click

from trainer.errors import InceptionError, without_secrets
from trainer.events import DEBUG_VARIABLE
from trainer.legible import legible

INTERRUPTED = 130

COMMANDS = {
    "run": "pipelines.commands.run:run",
    "tune": "pipelines.commands.tune:tune",
    "schedule": "pipelines.commands.schedule:schedule",
    "notify": "pipelines.commands.notify:notify",
    "models": "pipelines.commands.models:models",
    "lookup": "pipelines.commands.lookup:lookup",
    "data": "pipelines.commands.data:data",
    "evaluate": "pipelines.commands.evaluate:evaluate",
    "compare": "pipelines.commands.compare:compare",
    "gate": "pipelines.commands.gate:gate",
    "predict": "pipelines.commands.predict:predict",
    "export": "pipelines.commands.export:export",
    "variants": "pipelines.commands.variants:variants",
    "report": "pipelines.commands.report:report",
    "compile": "pipelines.commands.compile:compile_",
    "submit": "pipelines.commands.submit:submit",
    "runs": "pipelines.commands.runs:runs",
    "images": "pipelines.commands.images:images",
    "ui": "pipelines.commands.ui:ui",
}


class Commands(click.Group):
    """Imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            from trainer.errors import nearest

            ctx.fail(f"There is no command {args[0]!r}. {nearest(args[0], COMMANDS)}")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("inception-retrain"), prog_name="inception")
def cli() -> None:
    """Retrain Inception image classifiers, and keep the best one behind models:/NAME@champion.

    \b
    Example:
      inception run configs/digits.toml
      inception lookup digits@champion
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong use, 130 interrupted."""
    sys.exit(_status(sys.argv[1:] if arguments is None else arguments))


def _status(arguments: list[str]) -> int:
    debug = "--debug" in arguments or bool(os.environ.get(DEBUG_VARIABLE))
    if debug:
        os.environ[DEBUG_VARIABLE] = "1"  # the steps of a run are processes of their own
    as_json = "--json" in arguments
    try:
        # What `ctx.exit` was called with comes back as the value; a command that ends by itself gives None.
        status = cli.main(args=arguments, prog_name="inception", standalone_mode=False)
    except click.ClickException as error:
        error.show(sys.stderr)
        _say_json(as_json, error.format_message(), "Run the command with --help.")
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        _say("Interrupted.", "Run the same command again: it goes on where it stopped.", as_json)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away (`| head`); what is still buffered has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except InceptionError as error:
        if debug:
            _say_traceback()
        _say(error.message, error.remedy, as_json)
        return error.exit_status
    except Exception as error:
        if debug:
            _say_traceback()
        _say(
            f"Unexpected {type(error).__name__}: {error}",
            "Run again with --debug for the traceback; if it comes back, report it with that.",
            as_json,
        )
        return 1
    return status if isinstance(status, int) else 0


def _say_traceback() -> None:
    click.echo(legible(without_secrets(traceback.format_exc())), err=True, nl=False)


def _say(message: str, remedy: str, as_json: bool) -> None:
    message = legible(without_secrets(message))
    click.secho("error: ", fg="red", bold=True, nl=False, err=True)
    click.echo(message, err=True)
    if remedy:
        click.echo(f"  {remedy}", err=True)
    _say_json(as_json, message, remedy)


def _say_json(as_json: bool, message: str, remedy: str) -> None:
    if as_json:
        answer: dict[str, Any] = {"error": message, "remedy": remedy}
        click.echo(json.dumps(answer))


if __name__ == "__main__":
    main()
