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
import re
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from trainer.channels import ENV, Email, NotificationError, Passing, Webhook, send
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


class Notifications(Section):
    webhook: Annotated[tuple[Webhook, ...], Field(strict=False)] = ()
    email: Annotated[tuple[Email, ...], Field(strict=False)] = ()

    @field_validator("webhook", "email", mode="before")
    @classmethod
    def _tables(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, (list, tuple)):
            return value
        raise ValueError(f"begins with [[{info.field_name}]], in two brackets: there may be several.")

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
        # Counted from one, as everywhere else they are spoken of.
        message = re.sub(r"\b(webhook|email)\.(\d+)", lambda found: f"{found[1]} {int(found[2]) + 1}", message)
        raise RecipeError(message, "Mend the file.") from None


def problems(state: State) -> list[str]:
    """What keeps people from being told, as far as can be said before there is anything to tell."""
    try:
        wanted = load(state)
    except InceptionError as error:
        return [f"Nobody will be told of the ticks: {error}"]
    values = [(one.url,) for one in wanted.webhook] + [(one.user, one.password) for one in wanted.email]
    names = {text.removeprefix(ENV) for each in values for text in each if text is not None and text.startswith(ENV)}
    return [f"{FILE} names env:{name}, which the environment does not have." for name in sorted(names - {*os.environ})]


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
            _patiently(partial(send, channel, outcome))
            told.append(name)
        except (Passing, NotificationError) as error:
            note(f"The notification by {name} of {FILE} was not sent: {error}")
    return told


def _patiently(deed: Callable[[], None]) -> None:
    Retrying(
        retry=retry_if_exception_type(Passing),
        stop=stop_after_attempt(TRIES),
        wait=wait_exponential(multiplier=PAUSE_SECONDS, max=5.0),
        reraise=True,
    )(deed)
