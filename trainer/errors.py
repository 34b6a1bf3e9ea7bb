"""Every error a user can cause or meet, as one tree.

    InceptionError              what was wrong, what was received, what to do
    ├── RecipeError             a recipe that is missing, unreadable or says something impossible   (wrong use)
    ├── UsageError              a command called with something it cannot take                     (wrong use)
    ├── DataError               a source or an image that cannot be used
    ├── StateError              a state folder that cannot be read or written, a disk that is full
    │   └── StoreError          an object store that refuses, or is out of reach for longer than one waits
    ├── WeightsError            published weights that are missing, damaged or of another network
    ├── TrainingError           a training that diverged or cannot go on
    │   └── ForeignCheckpoint   a checkpoint of another training where this one's belong
    ├── EvaluationError         answers that are no probabilities, or scores on different examples
    ├── RegistryError           a model, version or alias that is not there, or a registry out of reach
    │   └── LedgerConflict      somebody else wrote the promotion ledger first
    ├── ServerError             a pipeline server that is out of reach, refuses, or does not know what is asked for
    └── StepFailed              a pipeline step ended without saying why

Each carries a `remedy`. The command line prints message and remedy, never a traceback, unless `--debug` is given.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable

from trainer.legible import legible

_IN_ADDRESS = re.compile(r"(?<=://)[^/\s]*@")
_SECRET_NAME = re.compile(
    r"(?!.*_(FILE|PATH|NAME)$).*(PASSWORD|PASSWD|TOKEN|SECRET|ACCESS_KEY|API_KEY|PRIVATE_KEY|WEBHOOK|COOKIE)"
)
_SHORTEST = 8
"""Characters: a shorter value would be found in words that have nothing to do with it."""


class InceptionError(Exception):
    """The root."""

    exit_status = 1
    """What the `inception` command ends with when nothing catches the error."""
    hopeless = False
    """Whether the same step, tried again with nothing changed, must fail again after whatever time that takes."""

    def __init__(self, message: str, remedy: str = "") -> None:
        self.message = legible(without_secrets(message))
        self.remedy = legible(without_secrets(remedy))
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message}\n{self.remedy}" if self.remedy else self.message


class RecipeError(InceptionError):
    exit_status = 2
    hopeless = True


class UsageError(InceptionError):
    exit_status = 2


class DataError(InceptionError):
    pass


class StateError(InceptionError):
    pass


class StoreError(StateError):
    pass


class WeightsError(InceptionError):
    pass


class TrainingError(InceptionError):
    hopeless = True


class ForeignCheckpoint(TrainingError):
    hopeless = False  # found at once, and gone once somebody removes it


class EvaluationError(InceptionError):
    pass


class RegistryError(InceptionError):
    pass


class LedgerConflict(RegistryError):
    pass


class ServerError(InceptionError):
    pass


class StepFailed(InceptionError):
    pass


def without_secrets(text: str) -> str:
    """Words that end up in logs, run cards and notifications, without what is nobody's business.

    `https://user:password@host` becomes `https://…@host`, and so does the value of every environment variable that is
    called like a secret, in whatever words a library has put it.
    """
    text = _IN_ADDRESS.sub("…@", text)
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST and value in text and is_secret(name):
            text = text.replace(value, "…")
    return text


def is_secret(name: str) -> bool:
    """Whether a variable is called as secrets are; one that names the file of a secret is not."""
    return _SECRET_NAME.match(name.upper()) is not None


def without_credentials(address: str) -> str:
    """`https://user:password@host` as `https://host`, which is still an address."""
    return _IN_ADDRESS.sub("", address)


def has_credentials(text: str) -> bool:
    """Whether an address with user or password stands in it."""
    return _IN_ADDRESS.search(text) is not None


def nearest(word: str, known: Iterable[str]) -> str:
    """A sentence that names the known word nearest to `word`, or all of them where none is near."""
    choices = sorted(known)
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Known: {', '.join(choices)}." if choices else "None are known."
