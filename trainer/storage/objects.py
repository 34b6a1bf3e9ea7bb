"""Single objects of any store by their whole addresses, for what users name: one, a prefix, a bucket."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from trainer.errors import DataError, StateError
from trainer.storage import Place, place
from trainer.storage.stored import TooLarge


class Objects:
    """Errors of all methods: DataError (no such store, bucket or access, no answer). May be used by several threads."""

    def __init__(self) -> None:
        self._buckets: dict[str, Place] = {}
        self._opening = threading.Lock()

    def expect(self, address: str) -> None:
        """Errors: DataError where there can be no such store. Nothing is asked."""
        with _as_data_error():
            self._divided(address)

    def are_under(self, beginning: str) -> Iterator[str]:
        """Addresses of all objects whose address begins so; it names at least the bucket, `gs://bucket/`.

        What stands for a folder in the console (a name that ends with a slash) is none.
        """
        with _as_data_error():
            bucket, prefix = self._divided(beginning)
            for held in bucket.stored(prefix):
                if not held.name.endswith("/"):
                    yield f"{bucket.address}/{held.name}"

    def is_there(self, address: str) -> bool:
        # Lists are sorted: what has this very name comes before all whose names are longer.
        return next(self.are_under(address), None) == address

    def read(self, address: str, most: int) -> bytes | None:
        """The content; None where it is larger than so many bytes. Errors: FileNotFoundError."""
        with _as_data_error():
            bucket, name = self._divided(address)
            try:
                return bucket.read(name, most)
            except TooLarge:
                return None

    def _divided(self, address: str) -> tuple[Place, str]:
        """The bucket and the name in it. Errors: StateError."""
        scheme, _, rest = address.partition("://")
        name, _, inside = rest.partition("/")
        bucket = f"{scheme}://{name}"
        with self._opening:
            if bucket not in self._buckets:
                self._buckets[bucket] = place(bucket)
            return self._buckets[bucket], inside


@contextmanager
def _as_data_error() -> Iterator[None]:
    try:
        yield
    except StateError as error:
        raise DataError(error.message, error.remedy) from error
