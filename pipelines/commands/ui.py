"""`inception ui`: the MLflow UI on the store in use."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import click

from pipelines.commands import options


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=5000, show_default=True, type=click.IntRange(1, 65535), help="Port to listen on.")
@options.state
@options.debug
def ui(host: str, port: int, root: Path) -> None:
    """Open MLflow's own pages on the runs, models and run cards of this installation.

    \b
    Example:
      inception ui --port 5001
    """
    from trainer.errors import UsageError
    from trainer.state import State
    from trainer.tracking import connect, tracking_uri

    if os.environ.get("MLFLOW_TRACKING_URI"):
        raise UsageError(
            f"MLFLOW_TRACKING_URI names the server {os.environ['MLFLOW_TRACKING_URI']}.",
            "Open that address in a browser; `inception ui` is for the embedded store.",
        )
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UsageError(f"{host}:{port} cannot be listened on: {error.strerror}.", "Try another --port.") from None
    state = State.existing(root)
    connect(state)
    click.echo(f"MLflow on http://{host}:{port} (Ctrl-C ends it)", err=True)
    arguments = ["-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"]
    store = ["--backend-store-uri", tracking_uri(state), "--default-artifact-root", state.artifacts.as_uri()]
    os.execv(sys.executable, [sys.executable, *arguments, *store])
