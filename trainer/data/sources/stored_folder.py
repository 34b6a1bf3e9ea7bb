"""A folder of images in an object store, as `layout.py` has it: `folder:gs://bucket/path`, `folder:s3://…`.

Its identity comes from one list: names, sizes, and the checksum that the store has of each object. So `check` fetches
nothing. Images are fetched by several threads, a little ahead of whoever takes them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from trainer.config import Data
from trainer.data.sources.base import RawExample, SourceIdentity, identify
from trainer.data.sources.folder import CHANGED
from trainer.data.sources.layout import Candidate, Layout
from trainer.errors import DataError, StateError
from trainer.storage import Place, Stored, place

THREADS = 8
AHEAD = 4
"""Images in flight for every thread."""


class StoredFolderSource:
    """Errors of all methods: DataError, StateError (out of reach, no access)."""

    def __init__(self, data: Data, address: str) -> None:
        """Errors: DataError (an address that cannot be)."""
        try:
            self._place: Place = place(address)
        except StateError as error:
            raise DataError(error.message, error.remedy) from None
        self._data = data
        self._layout: Layout[Stored] | None = None

    def fingerprint(self) -> SourceIdentity:
        self._layout = None  # the store is asked anew
        files = self._listed().candidates()
        holds: list[tuple[str | int, ...]] = [("folder",), *(("class", name) for name in self.classes())]
        holds += [(file.name, file.fact.size, file.fact.mark) for file in files if file.fact]
        summary: dict[str, str | int] = {
            "address": f"folder:{self._place.address}",
            "files": len(files),
            "bytes": sum(file.fact.size for file in files if file.fact),
        }
        return identify(self._data, holds, summary)

    def classes(self) -> list[str]:
        return self._listed().classes()

    def total(self) -> int | None:
        return len(self._listed().candidates())

    def examples(self) -> Iterator[RawExample]:
        pool = ThreadPoolExecutor(THREADS, thread_name_prefix="source")
        ahead: deque[Future[RawExample]] = deque()
        try:
            for file in self._listed().candidates():
                ahead.append(pool.submit(self._read, file))
                if len(ahead) > THREADS * AHEAD:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _read(self, file: Candidate[Stored]) -> RawExample:
        from trainer.data.images import MAX_BYTES, TOO_LARGE  # which loads Pillow: nothing is decoded before

        assert file.fact is not None, "what is listed can be asked for"
        if file.fact.size > MAX_BYTES:
            return RawExample(file.name, file.label, file.split, b"", TOO_LARGE)
        try:
            payload = self._place.read(file.fact.name)
        except FileNotFoundError:
            raise DataError(
                f"The source changed while it was read: {file.name} in {self._place.address} has gone.", CHANGED
            ) from None
        return RawExample(file.name, file.label, file.split, payload)

    def _listed(self) -> Layout[Stored]:
        if self._layout is None:
            self._layout = Layout(Listed(self._place))
        return self._layout


class Listed:
    """A way of looking into a place by one list of it."""

    def __init__(self, at: Place) -> None:
        """Errors: StateError, DataError (there is nothing, or a name that no folder could have)."""
        self.root = at.address
        self._files: dict[str, Stored] = {}
        self._folders: dict[str, dict[str, str]] = {"": {}}
        for held in at.stored():
            *folders, name = held.name.split("/")
            if any(part.startswith(".") for part in (*folders, name)):
                continue
            if "" in folders:
                raise DataError(
                    f"The name {held.name!r} in {at.address} has two slashes where one folder ends.",
                    "Remove that object, or copy it to a name with one.",
                )
            self._note(folders)
            if name:  # without one it stands for the folder, in the console
                self._files[held.name] = held
        self._names = sorted(self._files)
        if not self._files:
            raise DataError(f"There is nothing at {at.address}.", "Mend the path: data.source in the recipe.")

    def folders(self, at: str) -> dict[str, str]:
        return self._folders.get(at, {})

    def files(self, at: str) -> Iterator[tuple[str, Stored | None]]:
        first, last = (bisect_left(self._names, f"{at}{after}") for after in ("/", "0"))  # 0 comes after the slash
        names = sorted(self._names[first:last], key=lambda name: name.split("/"))  # as a disk is read
        yield from ((name, self._files[name]) for name in names)

    def _note(self, folders: list[str]) -> None:
        path = ""
        for name in folders:
            beneath = f"{path}/{name}" if path else name
            self._folders.setdefault(path, {})[name] = beneath
            path = beneath
