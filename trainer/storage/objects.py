"""Single objects of Google Cloud Storage by their whole addresses, for what users name: one, a prefix, a bucket."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

from trainer.errors import DataError
from trainer.storage.google import SCHEME, answering, client, may_be_bucket, patient


class Objects:
    """Errors of all methods: DataError (no such bucket, no access, no answer). May be used by several threads."""

    def are_under(self, beginning: str) -> Iterator[str]:
        """Addresses of all objects whose address begins so; it names at least the bucket, `gs://bucket/`.

        What stands for a folder in the console (a name that ends with a slash) is none.
        """
        bucket, prefix = _parts(beginning)
        with answering(beginning, DataError):
            for held in self._client.list_blobs(bucket, prefix=prefix, retry=patient()):
                if not held.name.endswith("/"):
                    yield f"{SCHEME}{bucket}/{held.name}"

    def is_there(self, address: str) -> bool:
        bucket, name = _parts(address)
        with answering(address, DataError):
            return self._client.bucket(bucket).get_blob(name, retry=patient()) is not None

    def read(self, address: str) -> bytes:
        """Errors: FileNotFoundError."""
        from google.api_core.exceptions import NotFound

        bucket, name = _parts(address)
        with answering(address, DataError):
            try:
                content: bytes = self._client.bucket(bucket).blob(name).download_as_bytes(retry=patient())
            except NotFound as error:
                if "bucket does not exist" in error.message:
                    raise
                raise FileNotFoundError(f"there is no {address}") from None
        return content

    @cached_property
    def _client(self) -> Any:
        return client()


def _parts(address: str) -> tuple[str, str]:
    bucket, _, name = address.removeprefix(SCHEME).partition("/")
    if not may_be_bucket(bucket):
        raise DataError(f"Received the address {address!r}.", f"Write it as {SCHEME}bucket/path.")
    return bucket, name
