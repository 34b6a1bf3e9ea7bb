"""What is wrong between here and a pipeline server, in words that say what to do."""

from __future__ import annotations

import json
from typing import Any

import kfp_server_api as api
import urllib3

from pipelines.environments import Environment
from trainer.errors import ServerError

_BUSY = (429, 502, 503, 504)
_BY_A_PROXY = (502, 504)
_AGAIN = "Try again in a while, or"


class NotFound(ServerError):
    """The server has nothing there."""


class Conflict(ServerError):
    """The server has that already."""


class Passing(ServerError):
    """May be over the next time, if its status says so."""

    def __init__(self, message: str, remedy: str, status: int) -> None:
        super().__init__(message, remedy)
        self.status = status

    @property
    def may_pass(self) -> bool:
        return self.status in _BUSY


class Refused(Passing):
    """The server does not like what it was sent."""


class Unanswered(Passing):
    """The request was sent and the answer never came: nobody here knows whether it was carried out."""


def refused(environment: Environment, error: api.ApiException) -> ServerError:
    """The server's own answer, for what it is."""
    status, said = int(error.status or 0), _words(error.body)
    at = environment.server
    where, ours = f"The pipeline server at {at.address}", f"[server] in the environment {environment.name!r}"
    if status == 401:
        return ServerError(
            f"{where} does not know who is asking (401). {said}", f"Look at {ours}: authentication, or a new token."
        )
    if status == 403:
        return ServerError(
            f"{where} refuses this to whoever is asking (403). {said}",
            f"Ask for the rights on the namespace {at.namespace!r}, or look at {ours}: namespace, authentication.",
        )
    if status == 404:
        return NotFound(
            f"{where} has nothing there (404). {said}", f"Look at {ours}, if nothing is found at all: endpoint."
        )
    if status == 409 or "already exist" in said:
        return Conflict(f"{where} has that already ({status}). {said}", "Use another name, or what is there.")
    if 300 <= status < 400:
        return ServerError(
            f"{where} sends us to another page ({status}), as for a login.", f"Look at {ours}: authentication."
        )
    if status >= 500:
        kind = Unanswered if status in _BY_A_PROXY else Passing
        return kind(f"{where} failed ({status}). {said}", f"{_AGAIN} see the server's own log.", status)
    if status == 0:
        reason = str(error.reason).strip().splitlines()[-1]
        return ServerError(
            f"{where} cannot be spoken to over TLS: {reason}",
            f"Look at {ours}: certificate, or http:// in the endpoint.",
        )
    return Refused(f"{where} does not accept the request ({status}). {said}", "See what it says.", status)


def unreachable(environment: Environment, error: urllib3.exceptions.HTTPError) -> ServerError:
    """No answer at all."""
    at = environment.server
    if isinstance(error, urllib3.exceptions.ReadTimeoutError):
        words = f"The pipeline server at {at.address} does not answer within {at.timeout:g} seconds."
        return Unanswered(words, f"{_AGAIN} raise its timeout.", 0)
    # Of a connection that broke, urllib3 gives its own word and then the system's.
    cause = error.args[-1] if error.args and isinstance(error.args[-1], Exception) else error
    kind = Unanswered if isinstance(error, urllib3.exceptions.ProtocolError) else Passing
    return kind(
        f"The pipeline server at {at.address} cannot be reached: {str(cause).rsplit(': ', 1)[-1].rstrip('.')}.",
        f"See that it runs and that the endpoint is right: [server] in the environment {environment.name!r}. "
        "A forwarded port ends with the command that forwards it.",
        503,
    )


def strange(environment: Environment, words: str) -> ServerError:
    """An answer that no pipeline server gives."""
    return ServerError(
        f"What answers at {environment.server.address} is no pipeline server of this API ({words}).",
        f"See the endpoint: [server] in the environment {environment.name!r}.",
    )


def _words(body: Any) -> str:
    """What the server says of an error, without the Go types around it."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body or "")
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        return ""
    said = found.get("message") or found.get("error_message") or "" if isinstance(found, dict) else ""
    return f"It says: {str(said).strip().rstrip('.')}." if said else ""
