"""The door to Google Cloud Storage: objects by Google's own client, which checks every transfer's checksum.

Answers of the kind that pass (429, 5xx, a connection that is lost) are waited for with growing pauses, up to
`PATIENCE_SECONDS`. What remains becomes an error that says what to do.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from trainer.errors import InceptionError, StateError
from trainer.state import STORAGE_REFUSALS, reported, storage_error

SCHEME = "gs://"
PATIENCE_SECONDS = 300.0
_CHUNK_BYTES = 32 << 20
"""How much of a large upload is sent again after a fault."""


class Bucket:
    """The objects whose names begin with a prefix; an empty name is the object that is called as the prefix."""

    def __init__(self, address: str) -> None:
        """Errors: StateError where it is no address of a place in a bucket."""
        self._bucket, self._prefix = parts(address.rstrip("/"))

    @property
    def address(self) -> str:
        return f"{SCHEME}{self._bucket}/{self._prefix}"

    def names(self) -> Iterator[str]:
        with answering(self.address):
            yield from (
                blob.name.removeprefix(f"{self._prefix}/")
                for blob in self._client.list_blobs(self._bucket, prefix=f"{self._prefix}/", retry=patient())
            )

    def read(self, name: str) -> bytes:
        with self._found(name):
            content: bytes = self._blob(name).download_as_bytes(retry=patient())
            return content

    def write(self, name: str, content: bytes) -> None:
        with answering(self._address(name)):
            self._blob(name).upload_from_string(content, "application/octet-stream", retry=patient())

    @contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        with _local_copy() as path:
            with self._found(name):
                self._blob(name).download_to_filename(str(path), retry=patient())
            yield path

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        with _local_copy() as path:
            with reported(path):
                yield path
            with answering(self._address(name)):
                blob = self._blob(name)
                blob.chunk_size = _CHUNK_BYTES  # for this alone: what is downloaded in chunks is not checked
                blob.upload_from_filename(str(path), "application/octet-stream", retry=patient())

    def remove(self, name: str) -> None:
        with answering(self._address(name)):
            self._client.bucket(self._bucket).delete_blobs([self._blob(name)], on_error=lambda _: None, retry=patient())

    @contextmanager
    def _found(self, name: str) -> Iterator[None]:
        from google.api_core.exceptions import NotFound

        address = self._address(name)
        with answering(address):
            try:
                yield
            except NotFound as error:
                if "bucket does not exist" in error.message:
                    raise
                raise FileNotFoundError(f"there is no {address}") from None

    def _blob(self, name: str) -> Any:
        return self._client.bucket(self._bucket).blob(f"{self._prefix}/{name}" if name else self._prefix)

    def _address(self, name: str) -> str:
        return f"{self.address}/{name}" if name else self.address

    @cached_property
    def _client(self) -> Any:
        return client()


@contextmanager
def _local_copy() -> Iterator[Path]:
    """A path for an object on its way, in the folder for temporary files."""
    with reported(Path(tempfile.gettempdir())):
        folder = tempfile.mkdtemp(prefix="inception-")
    try:
        yield Path(folder, "object")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def parts(address: str, kind: type[InceptionError] = StateError) -> tuple[str, str]:
    """Bucket and name of an address. Errors: one of `kind` where it lacks one of them."""
    bucket, _, name = address.removeprefix(SCHEME).partition("/")
    if not may_be_bucket(bucket) or not name or name.endswith("/"):
        raise kind(f"Received the address {address!r}.", f"Write it as {SCHEME}bucket/path.")
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

    return DEFAULT_RETRY.with_timeout(PATIENCE_SECONDS)


@contextmanager
def answering(address: str, kind: type[InceptionError] = StateError) -> Iterator[None]:
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
        return str(last).strip().splitlines()[0]
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
