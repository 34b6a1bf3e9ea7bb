"""The ways to tell people how a run ended: a POST to a webhook, and a letter to a mail server.

What is said of a failure names no address, user or password: webhooks' addresses are secrets too.
"""

from __future__ import annotations

import os
import smtplib
import ssl
from email.message import EmailMessage
from email.utils import localtime, make_msgid, parseaddr
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, PositiveFloat, field_validator, model_validator

from trainer import record
from trainer.errors import InceptionError
from trainer.events import note
from trainer.record import Outcome, Result
from trainer.sections.base import Section

ENV = "env:"
"""Begins a value that is read from the environment."""
WORTH_TELLING: tuple[Result, ...] = ("promoted", "kept", "undecided", "failed")

On = Annotated[tuple[Result, ...], Field(strict=False)]


class NotificationError(InceptionError):
    """A notification that could not be sent, or that lacks what it is to be sent with."""


class Passing(Exception):
    """A refusal that another try may not meet."""


class Webhook(Section):
    """Where to POST a JSON object."""

    url: str
    """An http(s) address, or `env:NAME`."""
    format: Literal["slack", "json"] = "json"
    """`slack`: a message as Slack, Mattermost and others take it; `json`: the run's outcome, every field of it."""
    on: On = WORTH_TELLING
    """Results that are told."""
    timeout: PositiveFloat = 10.0
    """Seconds to wait for an answer."""

    @field_validator("on", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        return _listed(value)


class Email(Section):
    """Whom to write to."""

    server: str
    """host:port of the mail server."""
    security: Literal["starttls", "tls", "none"] = "starttls"
    from_: Annotated[str, Field(alias="from")]
    to: Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
    user: str | None = None
    password: str | None = None
    """`env:NAME`."""
    on: On = WORTH_TELLING
    timeout: PositiveFloat = 20.0

    @field_validator("on", "to", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        return _listed(value)

    @field_validator("server")
    @classmethod
    def _is_a_place(cls, server: str) -> str:
        try:
            place = urlsplit(f"//{server}")
            if place.hostname and place.netloc == server and "@" not in server and place.port != 0:
                return server
        except ValueError:
            pass
        raise ValueError("write it as host:port, like 'smtp.example.org:587', and nothing else.")

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password belong together: one of them is missing.")
        return self


def _listed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    raise ValueError(f"received {value!r}. Write a list: [{value!r}].")


def send(channel: Webhook | Email, outcome: Outcome) -> None:
    if isinstance(channel, Webhook):
        _post(channel, outcome)
    else:
        _mail(channel, outcome)


def subject(outcome: Outcome) -> str:
    """The run in one line."""
    what = f"{outcome.model or 'run'}" + (f" version {outcome.version}" if outcome.version else "")
    accuracy = f", accuracy {outcome.accuracy:.4f}" if outcome.accuracy is not None else ""
    result = "not promoted" if outcome.result == "kept" else outcome.result
    return f"{what}: {result}{accuracy}"


def body(outcome: Outcome) -> str:
    """What follows it: the reason, what to do, where to read on."""
    lines = [outcome.reason, outcome.remedy]
    if outcome.champion:
        lines.append(f"Champion: version {outcome.champion}.")
    if outcome.card:
        lines.append(f"Run card: {outcome.card}")
    return "\n".join(line for line in lines if line)


def _post(webhook: Webhook, outcome: Outcome) -> None:
    import requests

    if webhook.format == "slack":
        # Slack's three characters with a meaning; class names and messages are the users' own.
        text = f"*{subject(outcome)}*\n{body(outcome)}"
        said: dict[str, Any] = {"text": text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")}
    else:
        said = record.as_json(outcome)
    try:
        # The answer's body is not read: a server that never ends it would hold up the run.
        with requests.post(
            _value(webhook.url), json=said, timeout=webhook.timeout, allow_redirects=False, stream=True
        ) as answer:
            status = answer.status_code
    except (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema, requests.exceptions.InvalidSchema):
        raise NotificationError("its url is no http(s) address.") from None
    except requests.exceptions.SSLError:
        raise NotificationError(
            "the server's certificate is not trusted; REQUESTS_CA_BUNDLE may name a file with an authority of your own."
        ) from None
    except requests.exceptions.RequestException as error:
        # The error's own words hold the address, which is a secret.
        raise Passing(f"{type(error).__name__}.") from None
    if status == 429 or status >= 500:
        raise Passing(f"the server answered {status}.")
    if status >= 300:
        raise NotificationError(f"the server answered {status}.")


def _mail(email: Email, outcome: Outcome) -> None:
    place = urlsplit(f"//{email.server}")
    host = str(place.hostname)
    login = None if email.user is None else (_value(email.user), _value(email.password or ""))
    taken = False
    try:
        message = EmailMessage()
        message["Subject"] = f"[inception] {subject(outcome)}"
        message["From"], message["To"] = email.from_, ", ".join(email.to)
        message["Date"] = localtime()
        message["Message-ID"] = make_msgid(domain=parseaddr(email.from_)[1].rpartition("@")[2] or None)
        message.set_content(body(outcome) + "\n")
        secure = ssl.create_default_context()
        if email.security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(host, place.port or 465, timeout=email.timeout, context=secure)
        else:
            server = smtplib.SMTP(host, place.port or 587, timeout=email.timeout)
        with server:
            if email.security == "starttls":
                server.starttls(context=secure)
            if login is not None:
                server.login(*login)
            refused, taken = server.send_message(message), True
            if refused:
                note(f"{email.server} took the letter, but not for {', '.join(sorted(refused))}.")
    except smtplib.SMTPAuthenticationError:
        raise NotificationError(f"{email.server} took neither user nor password.") from None
    except (smtplib.SMTPNotSupportedError, ssl.SSLError) as error:
        raise NotificationError(f"{email.server}: {error}. See `security`.") from None
    except (smtplib.SMTPRecipientsRefused, smtplib.SMTPSenderRefused):
        raise NotificationError(f"{email.server} refused the sender or every recipient.") from None
    except ValueError:
        # Its words may hold what could not be sent: a password that is not ASCII, say.
        raise NotificationError(f"{email.server}: an address, user or password cannot be used.") from None
    except (OSError, smtplib.SMTPException) as error:
        if not taken:
            raise Passing(f"{email.server}: {type(error).__name__}.") from None


def _value(text: str) -> str:
    if not text.startswith(ENV):
        return text
    name = text.removeprefix(ENV)
    if name not in os.environ:
        raise NotificationError(f"the environment has no {name}.")
    return os.environ[name]
