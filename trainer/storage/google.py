"""The door to Google Cloud Storage: Google's own client, its patience, and its errors in words.

Answers of the kind that pass (429, 5xx, a connection that is lost) are waited for with growing pauses, up to
`PATIENCE_SECONDS`. What remains becomes an error that says what to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from trainer.errors import InceptionError, StateError, StoreError
from trainer.state import STORAGE_REFUSALS, storage_error

SCHEME = "gs://"
PATIENCE_SECONDS = 300.0
HASTY_SECONDS = 5.0
"""The patience of who can do without the answer."""
ANSWER_SECONDS = 60.0
"""For which a connection may be silent; then it counts as lost."""


_hasty: ContextVar[bool] = ContextVar("hasty", default=False)


def parts(address: str) -> tuple[str, str]:
    """Bucket and name of an address; the name of a whole bucket is empty. Errors: StateError."""
    bucket, _, name = address.removeprefix(SCHEME).partition("/")
    if not may_be_bucket(bucket) or name.endswith("/"):
        raise StateError(f"Received the address {address!r}.", f"Write it as {SCHEME}bucket/path.")
    return bucket, name


def may_be_bucket(name: str) -> bool:
    """The client raises a bare ValueError over others."""
    return name[:1].isalnum() and name[-1:].isalnum()


def client() -> Any:
    """With the credentials that the machine, or the account of the pod, gives; else without any."""
    from google.auth.exceptions import DefaultCredentialsError
    from google.cloud import storage

    try:
        return storage.Client()
    except DefaultCredentialsError:
        return storage.Client.create_anonymous_client()  # public buckets need none


def patient() -> Any:
    """When and how long to try again."""
    from google.cloud.storage.retry import DEFAULT_RETRY

    return DEFAULT_RETRY.with_timeout(HASTY_SECONDS if _hasty.get() else PATIENCE_SECONDS)


@contextmanager
def hastily() -> Iterator[None]:
    """Ask within the block for no longer than somebody waits who can do without the answer."""
    before = _hasty.set(True)
    try:
        yield
    finally:
        _hasty.reset(before)


def patience() -> dict[str, Any]:
    """The client's arguments for all that may be asked again."""
    return {"retry": patient(), "timeout": ANSWER_SECONDS}


@contextmanager
def answering(address: str, kind: type[InceptionError] = StoreError) -> Iterator[None]:
    """Turn what the service and the network refuse about `address` into an error of `kind` that says what to do.

    What the local disk refuses is a StateError always, and a FileNotFoundError stays what it is.
    """
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse

    try:
        yield
    except FileNotFoundError:
        raise
    except (GoogleAPIError, GoogleAuthError, DataCorruption, InvalidResponse, OSError) as error:
        # What the network refuses is an OSError too, with other numbers than the disk's.
        if isinstance(error, OSError) and error.errno in STORAGE_REFUSALS:
            raise storage_error(error, address) from error
        raise kind(f"{address} cannot be used: {_cause(error)}", _remedy(error, address)) from error


def _cause(error: Exception) -> str:
    """In one line: what the service says, or what happened on the way; of several tries the last."""
    from google.api_core.exceptions import RetryError
    from google.cloud.storage.exceptions import DataCorruption

    last = error.cause if isinstance(error, RetryError) else error
    response = None if isinstance(last, DataCorruption) else getattr(last, "response", None)
    if response is None:
        return next(iter(str(last or error).strip().splitlines()), type(last or error).__name__)
    try:
        said = response.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        said = response.reason
    return f"{response.status_code} {said}"


def _remedy(error: Exception, address: str) -> str:
    from google.api_core.exceptions import Forbidden, NotFound, Unauthorized
    from google.auth.exceptions import GoogleAuthError

    bucket = address.removeprefix(SCHEME).partition("/")[0]
    if isinstance(error, NotFound):
        return f"See that the bucket {bucket!r} exists and that its name is right."
    if isinstance(error, Unauthorized | GoogleAuthError):
        return (
            "Log in with `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to the key "
            "file of an account; a pod gets its account from its service account."
        )
    if isinstance(error, Forbidden):
        return f"Give the account this runs as the role Storage Object User on the bucket {bucket!r}."
    return "Run again when the service answers."
