"""`[server]`: where the pipeline server is, and how it is spoken to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import available_timezones

from pydantic import Field, PositiveFloat, field_validator, model_validator

from trainer.errors import UsageError, nearest
from trainer.sections.base import Section

SERVICE_ACCOUNT_TOKEN = "/var/run/secrets/kubeflow/pipelines/token"
"""Where Kubeflow mounts a service account's token for the pipeline server."""


class Open(Section):
    """Nothing is shown to the server: a port that was forwarded, or a proxy that knows the caller by itself."""

    name: Literal["none"]


class Token(Section):
    """A bearer token from a variable or a file of the caller's machine. The file is read at every request."""

    name: Literal["token"]
    variable: str | None = None
    """Environment variable that holds it."""
    file: str | None = None
    """File that holds it."""

    @model_validator(mode="after")
    def _is_somewhere(self) -> Self:
        if (self.variable is None) == (self.file is None):
            raise ValueError("a token needs either variable or file.")
        return self


class ServiceAccount(Section):
    """The token that Kubeflow mounts into a pod; it is read at every request, because it changes every hour."""

    name: Literal["service_account"]
    path: str = SERVICE_ACCOUNT_TOKEN
    """Where it is mounted."""


class Cookie(Section):
    """The session cookie of a login page (Dex, OAuth2 proxy): `authservice_session=…`."""

    name: Literal["cookie"]
    variable: str
    """Environment variable that holds it."""


Authentication = Annotated[Open | Token | ServiceAccount | Cookie, Field(discriminator="name")]


class Server(Section):
    """The pipeline server."""

    endpoint: Annotated[str, Field(pattern=r"^https?://[^\s/]+")]
    """Address of its API: `http://localhost:8888`, or `https://kubeflow.example.com/pipeline`."""
    ui: str | None = None
    """Address that links for people begin with; left out: the endpoint."""
    namespace: str = "kubeflow"
    """Kubernetes namespace in which the steps run."""
    authentication: Authentication = Open(name="none")
    """`none`, `token`, `service_account` or `cookie`."""
    certificate: str | None = None
    """File of the certificate authority that the server's certificate is checked against; left out: the public ones."""
    timeout: PositiveFloat = 30.0
    """Seconds to wait for an answer."""
    time_zone: str = "UTC"
    """The time zone in which the server reads cron expressions (CRON_SCHEDULE_TIMEZONE of its schedule controller)."""
    choices: bool = True
    """Offer the form's variant as a list to choose from. Servers older than 2.17 do not know such lists: set false."""
    owner: str = "inception"
    """Mark of the schedules that `inception schedule apply` may change and delete here. Give two projects that share
    a namespace two marks."""

    @field_validator("time_zone")
    @classmethod
    def _known(cls, zone: str) -> str:
        if zone not in available_timezones():
            raise ValueError(f"received {zone!r}. {nearest(zone, available_timezones())}")
        return zone

    @property
    def address(self) -> str:
        return self.endpoint.rstrip("/")

    @property
    def ui_address(self) -> str:
        return (self.ui or self.endpoint).rstrip("/")


def token(authentication: Token | ServiceAccount) -> str:
    """The bearer token of this moment. Errors: UsageError (it is not where it was said to be)."""
    if isinstance(authentication, Token) and authentication.variable is not None:
        return variable(authentication.variable)
    path = authentication.path if isinstance(authentication, ServiceAccount) else str(authentication.file)
    try:
        found = Path(path).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"The token for the pipeline server cannot be read from {path}: {type(error).__name__}.",
            "See [server] authentication in the environment's file.",
        ) from None
    if not found:
        raise UsageError(f"The token file {path} is empty.", "Put the token into it.")
    return found


def variable(name: str) -> str:
    """What an environment variable of the caller holds. Errors: UsageError."""
    found = os.environ.get(name, "").strip()
    if not found:
        raise UsageError(
            f"The environment variable {name} is not set; the pipeline server is to be shown what it holds.",
            f"Set {name}, or see [server] authentication in the environment's file.",
        )
    return found
