"""What a step in a container is given of this machine: folders at their own paths, variables, servers by the bridge."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

from trainer.config import Recipe
from trainer.errors import UsageError
from trainer.events import EVENTS_VARIABLE
from trainer.notifications import VARIABLE as NOTIFICATIONS
from trainer.registry.stores import VARIABLE as LEDGERS
from trainer.state import State
from trainer.storage import STORE

if TYPE_CHECKING:
    from docker import DockerClient

PASSED_ON = ("INCEPTION_", "MLFLOW_", "GOOGLE_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "TF_", "KERAS_BACKEND")
"""What variables begin with that the steps are given."""
TRACKING, CREDENTIALS = "MLFLOW_TRACKING_URI", "GOOGLE_APPLICATION_CREDENTIALS"
_PROBE_SECONDS = 10
_KEPT_BACK = ("INCEPTION_STATE", EVENTS_VARIABLE, "INCEPTION_GIT_COMMIT", "INCEPTION_IMAGE")


def environment(client: DockerClient, state: State) -> dict[str, str]:
    """Variables of every step. Errors: UsageError (a tracking server that containers do not reach)."""
    passed = {
        name: value
        for name, value in os.environ.items()
        if name.upper().startswith(PASSED_ON) and name not in _KEPT_BACK
    }
    # The caller is nobody's name inside, and has no home there.
    passed |= {"HOME": str(state.cache), "USER": "inception", "LOGNAME": "inception"}
    if TRACKING in passed:
        passed[TRACKING] = over_the_bridge(passed[TRACKING], gateway(client))
    return passed


def mounts(recipe: Recipe, state: State) -> list[Any]:
    """The state folder, to write; what the recipe and the variables name besides. All at their own paths.

    Errors: UsageError (a path below `~`, which is another place inside).
    """
    from docker.types import Mount

    given = {str(state.root): False} | dict(_named(recipe))
    tracking = os.environ.get(TRACKING, "")
    if tracking.startswith("sqlite:"):
        given[str(Path(tracking.partition("///")[2]).parent)] = False
    if os.environ.get(CREDENTIALS):
        given[str(Path(os.environ[CREDENTIALS]).absolute())] = True
    return [Mount(path, path, "bind", read_only=read_only) for path, read_only in sorted(given.items())]


def _named(recipe: Recipe) -> Iterator[tuple[str, bool]]:
    """Paths of this machine that a recipe or a variable names, and whether they are only read."""
    kind, _, folder = recipe.data.source.partition(":")
    initial = (recipe.model.init or "").partition(":")[2]
    named = {
        "data.source": (folder if kind == "folder" else None, True),
        "data.data_dir": (recipe.data.data_dir, True),
        "model.init": (initial, True),
        "resources.checkpoints": (recipe.resources.checkpoints, False),
        STORE: (os.environ.get(STORE), False),
        LEDGERS: (os.environ.get(LEDGERS), False),
        NOTIFICATIONS: (os.environ.get(NOTIFICATIONS), True),
    }
    for key, (path, read_only) in named.items():
        if not path or "://" in path:
            continue
        if path.startswith("~"):
            raise UsageError(f"{key} names {path!r}, and in a container `~` is another folder.", "Write it in full.")
        absolute = Path(path).absolute()
        if not read_only:
            absolute.mkdir(parents=True, exist_ok=True)
        if absolute.exists():  # else it is a name, or the step says what is missing
            yield str(absolute), read_only


def gateway(client: DockerClient) -> str:
    """This machine's address as containers see it."""
    config = client.networks.get("bridge").attrs["IPAM"]["Config"][0]
    return str(config.get("Gateway") or next(ipaddress.ip_network(config["Subnet"]).hosts()))


def over_the_bridge(address: str, gateway: str) -> str:
    """The address of a tracking server as containers reach it: for one of this machine, by the bridge.

    Errors: UsageError (it does not listen there, or does not know itself by that name).
    """
    parts = urlsplit(address)
    if not parts.scheme.startswith("http") or not _is_here(parts.hostname or ""):
        return address
    reached = urlunsplit(parts._replace(netloc=_with_host(parts, gateway)))
    _probe(address, reached, f"{gateway}:{parts.port}" if parts.port else gateway)
    return reached


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _with_host(parts: SplitResult, host: str) -> str:
    signed_in = parts.netloc.rpartition("@")[0]
    return (f"{signed_in}@" if signed_in else "") + host + (f":{parts.port}" if parts.port else "")


def _probe(address: str, reached: str, host: str) -> None:
    import requests

    try:
        # Nothing that needs signing in; who is not called by an allowed name is refused here too.
        answer = requests.get(f"{reached.rstrip('/')}/ajax-api/2.0/mlflow/experiments/get", timeout=_PROBE_SECONDS)
    except requests.RequestException as error:
        raise UsageError(
            f"The MLflow server {address} does not listen at {host}, where containers reach this machine: "
            f"{type(error).__name__}.",
            "Start it with --host 0.0.0.0.",
        ) from None
    if answer.status_code == requests.codes.forbidden and "host" in answer.text.lower():
        raise UsageError(
            f"The MLflow server {address} does not answer those who call it {host}, as containers must.",
            f"Start it with MLFLOW_SERVER_ALLOWED_HOSTS=localhost:*,{host}.",
        )
