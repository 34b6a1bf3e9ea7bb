"""How an MLflow store is asked: again and again for a while where it is down, slow or answers 500.

MLflow's own client repeats every request that failed, those too that make something, and knows nothing of a first try
that had worked while only its answer was lost. So its retries are off while the project asks, and whole deeds are
repeated instead, each written so that it finds what an earlier try has done.
"""

from __future__ import annotations

import math
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_exponential, wait_random

from trainer.errors import RegistryError, UsageError, without_secrets
from trainer.events import EVENTS_VARIABLE, note
from trainer.refusals import refusal

T = TypeVar("T")

VARIABLE = "INCEPTION_PATIENCE"
SECONDS = 120.0
"""For how long a store is asked again, unless the variable says otherwise."""
REQUEST_SECONDS = 60
"""For how long one request waits for an answer, unless MLFLOW_HTTP_REQUEST_TIMEOUT says otherwise. A server that hands
a large model on to its object store answers only when that is done."""
HASTY_SECONDS = 5.0
"""The patience of those who are about to end anyway."""
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 8.0
_SILENT_SECONDS = 3.0
_RETRIES, _TIMEOUT = "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"
_PASSING_CODES = ("TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED")
_MADE_AT_ONCE = ("IntegrityError", "UniqueViolation")
"""Two processes set one tag or alias for the first time at once: the later one finds it made when it tries again."""
_PASSING_STATUSES = (408, 429, 500, 502, 503, 504)


class OutOfReach(RegistryError):
    """The store gave no good answer for as long as it was asked."""


def patience() -> float:
    """Seconds, from the environment. Errors: UsageError."""
    text = os.environ.get(VARIABLE)
    if not text:
        return SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise UsageError(
            f"{VARIABLE} is {text!r}.", f"Give the seconds for which MLflow is asked again, such as {SECONDS:.0f}."
        )
    return seconds


def patiently(address: str, deed: Callable[[], T], seconds: float | None = None) -> T:
    """Do something at an MLflow store, and again where that fails for a passing reason.

    Args:
        address: of the store.
        deed: repeated whole, so it must not mind that an earlier try has done all of it or a part.
        seconds: the patience; the environment's where None. With 0 there is one try.

    Errors: OutOfReach; NotAllowed where a server does not let this user do it. What else the store refuses for good is
    raised as it came.
    """
    limit = patience() if seconds is None else seconds
    started = time.monotonic()
    told = False

    def tell(call: RetryCallState) -> None:
        nonlocal told
        if not told and time.monotonic() - started >= _SILENT_SECONDS and call.outcome is not None:
            told = True
            _say(f"MLflow at {address} does not answer ({reason(call.outcome.exception())}); asking for {limit:.0f} s.")

    retrying = Retrying(
        retry=retry_if_exception(lambda error: passes(address, error)),
        wait=wait_exponential(multiplier=FIRST_PAUSE, max=LONGEST_PAUSE) + wait_random(0.0, FIRST_PAUSE),
        stop=stop_after_delay(limit),
        before_sleep=tell,
        reraise=True,
    )
    try:
        with alone():
            return retrying(deed)
    except Exception as error:
        if refused := refusal(address, error):
            raise refused from error
        if not passes(address, error):
            raise
        raise OutOfReach(
            f"The MLflow store at {address} is out of reach: {reason(error)} (asked for {limit:.0f} s).",
            "See that it runs and answers, and that MLFLOW_TRACKING_URI names it; then run again: what was done stays "
            f"done. {VARIABLE} says for how many seconds it is asked.",
        ) from error


def _say(line: str) -> None:
    """To the screen that draws a run; else not on standard output, which a command's one JSON object may own."""
    line = without_secrets(line)
    if os.environ.get(EVENTS_VARIABLE):
        note(line)
    else:
        print(line, file=sys.stderr, flush=True)


def passes(address: str, error: BaseException | None) -> bool:
    """Whether a trouble may be gone with the next try."""
    from requests import HTTPError, RequestException

    if isinstance(error, HTTPError) and error.response is not None:
        return error.response.status_code in _PASSING_STATUSES
    if isinstance(error, RequestException):
        return True
    code = getattr(error, "error_code", None)
    if code == "BAD_REQUEST" and any(words in str(error) for words in _MADE_AT_ONCE):
        return True
    # A server's 500s and refused connections all come as INTERNAL_ERROR; SQLite says so for final troubles.
    return code in _PASSING_CODES or (code == "INTERNAL_ERROR" and address.startswith("http"))


def reason(error: BaseException | None) -> str:
    """The one line that says why, out of what several libraries have wrapped around it."""
    from requests import RequestException, Timeout
    from urllib3.exceptions import NewConnectionError
    from urllib3.exceptions import TimeoutError as NoAnswer

    origin = error
    while origin is not None and not isinstance(origin, RequestException):
        origin = origin.__cause__ or origin.__context__
    first = origin.args[0] if origin is not None and origin.args else None
    inner = getattr(first, "reason", None) or first
    if isinstance(origin, Timeout) or (isinstance(inner, NoAnswer) and not isinstance(inner, NewConnectionError)):
        return f"no answer within {os.environ.get(_TIMEOUT, REQUEST_SECONDS)} s"
    if inner is not None:
        return re.sub(r"^\w+\(.*?\): ", "", str(inner)).partition("\n")[0]
    return str(error).strip().partition("\n")[0]


class _Held:
    """What the environment said before anybody set MLflow's retries and timeouts, and how many rely on them now."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inside = 0
        self.before: dict[str, str | None] = {}


_held = _Held()


@contextmanager
def alone() -> Iterator[None]:
    """Within the block MLflow repeats no request by itself, and waits for none for ever.

    MLflow reads both from the environment of the process, at every request. So the first who enters sets them and the
    last who leaves puts back what was there: threads may be in it together, and one that uses MLflow outside of it has
    no retries of MLflow's meanwhile. Where native threads are at work (a training) it is entered once around all of
    it, because they may read the environment at any moment.
    """
    with _held.lock:
        if not _held.inside:
            _held.before = {name: os.environ.get(name) for name in (_RETRIES, _TIMEOUT)}
            os.environ[_RETRIES] = "0"
            os.environ.setdefault(_TIMEOUT, str(REQUEST_SECONDS))
        _held.inside += 1
    try:
        yield
    finally:
        with _held.lock:
            _held.inside -= 1
            if not _held.inside:
                for name, value in _held.before.items():
                    if value is None:
                        os.environ.pop(name, None)
                    else:
                        os.environ[name] = value
