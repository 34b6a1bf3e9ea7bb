"""`[server]`: where the pipeline server is, and how it is spoken to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import available_timezones

from pydantic import Field, PositiveFloat, field_validator, model_validator

from pipelines.environments.names import Label, Variable, Web
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
    variable: Variable | None = None
    """Environment variable that holds it."""
    file: Annotated[str, Field(min_length=1)] | None = None
    """File that holds it."""

    @model_validator(mode="after")
    def _is_somewhere(self) -> Self:
        if (self.variable is None) == (self.file is None):
            raise ValueError("a token needs either variable or file.")
        return self


class ServiceAccount(Section):
    """The token that Kubeflow mounts into a pod; it is read at every request, because it changes every hour."""

    name: Literal["service_account"]
    path: Annotated[str, Field(min_length=1)] = SERVICE_ACCOUNT_TOKEN
    """Where it is mounted."""


class Cookie(Section):
    """The session cookie of a login page (Dex, OAuth2 proxy): `authservice_session=…`."""

    name: Literal["cookie"]
    variable: Variable
    """Environment variable that holds it."""


Authentication = Annotated[Open | Token | ServiceAccount | Cookie, Field(discriminator="name")]


class Server(Section):
    """The pipeline server."""

    endpoint: Web
    """Address of its API: `http://localhost:8888`, or `https://kubeflow.example.com/pipeline`."""
    inside: Web | None = None
    """Address of its API for whoever is in the cluster, known by the token that Kubeflow mounts into a pod; that token
    is shown there: `http://ml-pipeline.kubeflow.svc:8888`."""
    ui: Web | None = None
    """Address that links for people begin with; left out: the endpoint."""
    namespace: Label = "kubeflow"
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
        """For whoever asks now, from where that is."""
        return (self.inside if self.inside is not None and _in_the_cluster() else self.endpoint).rstrip("/")

    @property
    def shown(self) -> Open | Token | ServiceAccount | Cookie:
        """What whoever asks now shows there."""
        if self.inside is not None and _in_the_cluster():
            return ServiceAccount(name="service_account", path=SERVICE_ACCOUNT_TOKEN)
        return self.authentication

    @property
    def ui_address(self) -> str:
        return (self.ui or self.endpoint).rstrip("/")


def _in_the_cluster() -> bool:
    return Path(SERVICE_ACCOUNT_TOKEN).exists()


def token(authentication: Token | ServiceAccount) -> str:
    """The bearer token of this moment. Errors: UsageError (it is not where it was said to be, or is no token)."""
    if isinstance(authentication, Token) and authentication.variable is not None:
        return variable(authentication.variable)
    path = authentication.path if isinstance(authentication, ServiceAccount) else str(authentication.file)
    try:
        found = Path(path).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        words = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UsageError(
            f"The token for the pipeline server cannot be read from {path}: {words}.",
            "See [server] authentication in the environment's file.",
        ) from None
    if not found:
        raise UsageError(f"The token file {path} is empty.", "Put the token into it.")
    return _in_a_header(found, f"The token file {path}")


def variable(name: str) -> str:
    """What an environment variable of the caller holds. Errors: UsageError (nothing, or what no header can hold)."""
    found = os.environ.get(name, "").strip()
    if not found:
        raise UsageError(
            f"The environment variable {name} is not set; the pipeline server is to be shown what it holds.",
            f"Set {name}, or see [server] authentication in the environment's file.",
        )
    return _in_a_header(found, f"The environment variable {name}")


def _in_a_header(secret: str, holder: str) -> str:
    """The secret, if it can be sent. HTTP's own words for one that cannot would show it."""
    if not (secret.isascii() and secret.isprintable()):
        raise UsageError(
            f"{holder} holds more than one line, or characters that no token or cookie has.",
            "Put nothing but the token or the cookie there.",
        )
    return secret
