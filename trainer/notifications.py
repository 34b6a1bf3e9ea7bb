"""Tells people how a run ended: to a webhook, or by e-mail.

`notifications.toml` in the state folder (or where INCEPTION_NOTIFICATIONS says) names whom to tell of what:

    [[webhook]]
    url = "env:SLACK_WEBHOOK"
    format = "slack"
    on = ["promoted", "failed"]

    [[email]]
    server = "smtp.example.org:587"
    from = "inception@example.org"
    to = ["ml-team@example.org"]
    user = "inception"
    password = "env:SMTP_PASSWORD"

A value `env:NAME` is read from the environment, so that no secret has to lie in the file; no secret is ever printed.
"""

from __future__ import annotations

import os
import smtplib
import ssl
import tomllib
from collections.abc import Callable
from email.message import EmailMessage
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, ValidationError
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from trainer import record
from trainer.config_errors import explain
from trainer.errors import InceptionError, RecipeError
from trainer.events import note
from trainer.record import Outcome, Result
from trainer.sections.base import Section
from trainer.state import State, reported

FILE = "notifications.toml"
VARIABLE = "INCEPTION_NOTIFICATIONS"
TRIES = 3
PAUSE_SECONDS = 0.5
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


class Notifications(Section):
    webhook: Annotated[tuple[Webhook, ...], Field(strict=False)] = ()
    email: Annotated[tuple[Email, ...], Field(strict=False)] = ()

    def wanting(self, result: Result) -> list[tuple[str, Webhook | Email]]:
        """Who wants to know of such a result, with what messages call them."""
        kinds: dict[str, tuple[Webhook | Email, ...]] = {"webhook": self.webhook, "e-mail": self.email}
        return [
            (f"{kind} {number}", channel)
            for kind, channels in kinds.items()
            for number, channel in enumerate(channels, start=1)
            if result in channel.on
        ]


def load(state: State) -> Notifications:
    """What is configured; nothing where there is no file. Errors: RecipeError (it makes no sense), StateError."""
    path = Path(os.environ.get(VARIABLE) or state.root / FILE)
    with reported(path):
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise RecipeError(f"{path} is not UTF-8: {error.reason} at byte {error.start}.", "Mend the file.") from None
        except FileNotFoundError:
            if VARIABLE in os.environ:
                message = f"{VARIABLE} names {str(path)!r}, which is not there."
                raise RecipeError(message, "Mend it, or unset it.") from None
            return Notifications()
    try:
        return Notifications.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path} is not valid TOML: {error}.", "Mend the line.") from None
    except ValidationError as error:
        message, _ = explain(error, Notifications, str(path), shown=False)
        raise RecipeError(message, "Mend the file.") from None


def tell(state: State, outcome: Outcome) -> list[str]:
    """Tell everybody who wants to know of this outcome. Returns whom, in words.

    What cannot be sent is noted, and does not count: a run is what it is, whoever hears of it.
    """
    try:
        wanted = load(state)
    except InceptionError as error:
        note(f"Nobody was told of the run: {error}")
        return []
    told = []
    for name, channel in wanted.wanting(outcome.result):
        try:
            _patiently(partial(_send, channel, outcome))
            told.append(name)
        except (Passing, NotificationError) as error:
            note(f"The notification by {name} of {FILE} was not sent: {error}")
    return told


def _send(channel: Webhook | Email, outcome: Outcome) -> None:
    if isinstance(channel, Webhook):
        _post(channel, outcome)
    else:
        _mail(channel, outcome)


def _patiently(deed: Callable[[], None]) -> None:
    Retrying(
        retry=retry_if_exception_type(Passing),
        stop=stop_after_attempt(TRIES),
        wait=wait_exponential(multiplier=PAUSE_SECONDS, max=5.0),
        reraise=True,
    )(deed)


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
        answer = requests.post(_value(webhook.url), json=said, timeout=webhook.timeout, allow_redirects=False)
    except (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema, requests.exceptions.InvalidSchema):
        raise NotificationError("its url is no http(s) address.") from None
    except requests.exceptions.RequestException as error:
        # The error's own words hold the address, which is a secret.
        raise Passing(f"{type(error).__name__}.") from None
    if answer.status_code == 429 or answer.status_code >= 500:
        raise Passing(f"the server answered {answer.status_code}.")
    if answer.status_code >= 300:
        raise NotificationError(f"the server answered {answer.status_code}.")


def _mail(email: Email, outcome: Outcome) -> None:
    host, _, port = email.server.partition(":")
    try:
        message = EmailMessage()
        message["Subject"] = f"[inception] {subject(outcome)}"
        message["From"], message["To"] = email.from_, ", ".join(email.to)
        message.set_content(body(outcome) + "\n")
        secure = ssl.create_default_context()
        if email.security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(host, int(port or 465), timeout=email.timeout, context=secure)
        else:
            server = smtplib.SMTP(host, int(port or 587), timeout=email.timeout)
        with server:
            if email.security == "starttls":
                server.starttls(context=secure)
            if email.user is not None:
                server.login(_value(email.user), _value(email.password or ""))
            server.send_message(message)
    except smtplib.SMTPAuthenticationError:
        raise NotificationError(f"{email.server} took neither user nor password.") from None
    except (smtplib.SMTPNotSupportedError, ssl.SSLError) as error:
        raise NotificationError(f"{email.server}: {error}. See `security`.") from None
    except (smtplib.SMTPRecipientsRefused, smtplib.SMTPSenderRefused):
        raise NotificationError(f"{email.server} refused the sender or every recipient.") from None
    except ValueError:
        # Its words may hold what could not be sent: a password that is not ASCII, say.
        raise NotificationError(f"{email.server}: its port, an address, user or password cannot be used.") from None
    except (OSError, smtplib.SMTPException) as error:
        raise Passing(f"{email.server}: {type(error).__name__}.") from None


def _value(text: str) -> str:
    if not text.startswith("env:"):
        return text
    name = text.removeprefix("env:")
    if name not in os.environ:
        raise NotificationError(f"the environment has no {name}.")
    return os.environ[name]
