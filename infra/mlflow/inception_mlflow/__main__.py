"""The command line: `inception-mlflow COMMAND`, or `python -m inception_mlflow COMMAND`."""

from __future__ import annotations

import os
import sys

import click

from inception_mlflow import settings
from inception_mlflow.users import RIGHTS


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """The MLflow server of a team: start, migrate, users, backup, restore."""


@main.command()
def serve() -> None:
    """Start the server, with sign-in on. What it needs is in the environment."""
    from inception_mlflow import serving

    serving.serve()


@main.command()
def migrate() -> None:
    """Make the database's tables, or bring them up to this MLflow. Make a backup first."""
    from inception_mlflow import schema

    schema.migrate(settings.store())
    click.echo("The database is up to date.")


@main.command()
def ready() -> None:
    """Whether the server of this container answers and reaches its database: status 0, or 1 and why not."""
    from inception_mlflow import readiness

    if why := readiness.trouble(settings.port()):
        click.echo(why, err=True)
        sys.exit(1)


@main.command()
def client() -> None:
    """Make the user that pipeline steps sign in with, or bring it up to date; waits for the server.

    Its name and password are in INCEPTION_CLIENT_USERNAME and INCEPTION_CLIENT_PASSWORD.
    """
    from inception_mlflow.users import CLIENT_NAME, CLIENT_PASSWORD, Server

    remedy = "Give the user of pipeline steps, from a secret."
    name, password = settings.required(CLIENT_NAME, remedy), settings.required(CLIENT_PASSWORD, remedy)
    server = Server()
    server.wait()
    server.ensure(name, password, "train")
    click.echo(f"{name} may train every model.")


@main.command()
@click.argument("place")
@click.option(
    "--list-artifacts", is_flag=True, help="List artifacts without copying them: the store keeps old versions."
)
def backup(place: str, list_artifacts: bool) -> None:
    """Write a backup into a folder of its own in PLACE, a folder or gs://BUCKET/PREFIX. The server may work on."""
    from inception_mlflow.backup import back_up

    made, manifest = back_up(
        settings.store(), settings.artifacts(), os.environ.get(settings.LEDGERS), place, not list_artifacts
    )
    click.echo(f"{made.address}\n  {manifest.summary}")
    if not manifest.ledgers:
        where = os.environ.get(settings.LEDGERS)
        click.echo(
            f"There are no ledgers in {where}." if where else "INCEPTION_LEDGERS is not set: no ledgers are in it."
        )
    if manifest.lost:
        raise settings.Trouble(
            f"The backup is whole, but the store has no files of {', '.join(manifest.lost)}.",
            "They were deleted by hand, or while the backup was made (then make another one).",
        )


@main.command()
@click.argument("backup")
def verify(backup: str) -> None:
    """Read all of a backup and compare it with what was written."""
    from inception_mlflow.backup import verify as verified

    click.echo(f"{backup} is whole.\n  {verified(backup).summary}")


@main.command()
@click.argument("backup")
@click.option("--overwrite", is_flag=True, help="Replace what is there.")
@click.option("--database-only", is_flag=True, help="Leave artifacts and ledgers as they are.")
def restore(backup: str, overwrite: bool, database_only: bool) -> None:
    """Put a backup back, all of it or (database) nothing. Stop the server first."""
    from inception_mlflow.restoration import restore as put_back

    ledgers = os.environ.get(settings.LEDGERS)
    manifest, told = put_back(backup, settings.store(), settings.artifacts(), ledgers, overwrite, database_only)
    click.echo(f"Restored {backup}\n  {manifest.summary}")
    for line in told:
        click.echo(line)
    click.echo("Next: start the server, and for every model: inception models audit MODEL")


@main.group()
def users() -> None:
    """Users, and what each may do. Asks as the administrator."""


@users.command(name="list")
def list_users() -> None:
    """List users and their rights."""
    from inception_mlflow.users import Server

    server = Server()
    for name, administrator in server.names():
        click.echo(f"{name}{' (administrator)' if administrator else ''}")
        for kind, which, permission in server.rights(name):
            click.echo(f"  {permission:8}{kind} {which}")


def _password(file: str | None) -> str:
    """From a file (`-`: standard input), else asked for twice; never from the command line, which others can read."""
    if file is None:
        return str(click.prompt("Password (12 characters or more)", hide_input=True, confirmation_prompt=True))
    with click.open_file(file) as text:
        return str(text.read()).rstrip("\r\n")


_from_file = click.option("--password-file", metavar="FILE", help="Read the password from a file; - is standard input.")
_model = click.argument("model")


@users.command()
@click.argument("name")
@click.option("--administrator", is_flag=True, help="May do everything, users included.")
@_from_file
def add(name: str, administrator: bool, password_file: str | None) -> None:
    """Add a user. Nothing is open to them until they are granted a right on a model."""
    from inception_mlflow.users import Server

    Server().add(name, _password(password_file), administrator)
    click.echo(f"Added {name}. Next: inception-mlflow users grant {name} MODEL train")


@users.command()
@click.argument("name")
@_from_file
def password(name: str, password_file: str | None) -> None:
    """Set a user's password."""
    from inception_mlflow.users import Server

    Server().set_password(name, _password(password_file))
    click.echo(f"{name} has a new password; the old one ends within half a minute.")


@users.command()
@click.argument("name")
def remove(name: str) -> None:
    """Remove a user. What they made stays."""
    from inception_mlflow.users import Server

    Server().remove(name)
    click.echo(f"Removed {name}.")


@users.command()
@click.argument("name")
@_model
@click.argument("right", type=click.Choice(list(RIGHTS)))
def grant(name: str, model: str, right: str) -> None:
    """Let a user read, train or manage a model ('*': all of them) and its experiment."""
    from inception_mlflow.users import Server

    Server().grant(name, model, right)
    click.echo(f"{name} may {right} {model}.")


@users.command()
@click.argument("name")
@_model
def revoke(name: str, model: str) -> None:
    """Take a user's right on a model back."""
    from inception_mlflow.users import Server

    Server().revoke(name, model)
    click.echo(f"{name} has no right on {model}.")


if __name__ == "__main__":
    main(prog_name="inception-mlflow")
