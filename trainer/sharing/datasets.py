"""Prepared datasets in the store: sent once, never changed, fetched whole and compared.

    data/<fingerprint>/<id>/…          the files of one sending: manifest.json and every split's
    data/<fingerprint>/dataset.json    names the id, and each file's size and checksum

The document comes last and is written on the condition that there is none. So of two machines that prepare the same
images the first to finish wins, and the other removes what it has sent; and nobody meets a dataset that is half there.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trainer.errors import StoreError
from trainer.events import note
from trainer.state import State, reported
from trainer.storage import Bucket, Place, transfers
from trainer.storage.stored import MOST_DOCUMENT_BYTES, crc32c

if TYPE_CHECKING:
    from trainer.data.prepared import Manifest

DOCUMENT = "dataset.json"
_FORMAT = 1
_MANIFEST = "manifest.json"


class File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^(\w+/)?\w+\.\w+$")]
    """In the dataset's folder."""
    size: int
    crc32c: str


class Sent(BaseModel):
    """What `dataset.json` holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    fingerprint: str
    id: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    files: list[File]


def find(place: Place, fingerprint: str) -> Sent | None:
    """The dataset in the store, where every file of it is there as it was sent. Errors: StateError."""
    sent, _ = _read(place, fingerprint)
    return sent if sent is not None and _is_whole(place, sent) else None


def manifest(place: Place, fingerprint: str) -> Manifest | None:
    """What the dataset in the store holds. Errors: StateError."""
    from trainer.data.prepared import FORMAT, Manifest

    sent = find(place, fingerprint)
    if sent is None:
        return None
    try:
        found = Manifest.model_validate_json(place.read(f"{_folder(sent)}/{_MANIFEST}", MOST_DOCUMENT_BYTES))
    except (ValidationError, FileNotFoundError):  # of another format; removed meanwhile
        return None
    return found if found.format == FORMAT else None


def fetch(state: State, place: Place, fingerprint: str) -> bool:
    """Bring a dataset into the state folder, whole or not at all. False where the store has none.

    Errors: StateError (out of reach, no room, damaged).
    """
    from trainer.data.prepared import find_prepared

    sent = find(place, fingerprint)
    if sent is None:
        return False
    folder = state.data(fingerprint)
    with reported(folder):
        folder.mkdir(parents=True, exist_ok=True)
    started, size = time.monotonic(), sum(file.size for file in sent.files)
    with FileLock(folder.parent / f".{fingerprint}.lock"), reported(folder):
        if find_prepared(folder) is not None:
            return True  # another process has been at it
        for left in folder.parent.glob(f".{fingerprint}.*/"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{fingerprint}.", dir=folder.parent))
        try:
            held = [one for one in place.stored(f"{_folder(sent)}/") if _name(sent, one.name) in _names(sent)]
            transfers.fetch(place, held, beside)
            _expect_as_sent(place, sent, beside / _folder(sent))
            for file in sorted(sent.files, key=lambda file: file.name == _MANIFEST):  # which makes it a dataset
                (folder / file.name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(beside / _folder(sent) / file.name, folder / file.name)
        except FileNotFoundError as error:
            raise StoreError(f"The prepared dataset {fingerprint} is being removed: {error}.", "Run again.") from error
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    note(f"prepared data fetched from {place.address}: {size / 1e6:,.1f} MB in {time.monotonic() - started:.1f} s")
    return True


def send(state: State, place: Place, fingerprint: str) -> None:
    """Put a dataset of the state folder into the store, unless it is there. Errors: StateError."""
    _, generation = _read(place, fingerprint)
    if manifest(place, fingerprint) is not None:
        return
    folder = state.data(fingerprint)
    names = _files_of(folder)
    sent = Sent(format=_FORMAT, fingerprint=fingerprint, id=secrets.token_hex(8), files=[])
    with reported(folder):
        files = [File(name=name, size=(folder / name).stat().st_size, crc32c=crc32c(folder / name)) for name in names]
    sent = sent.model_copy(update={"files": files})
    started, size = time.monotonic(), sum(file.size for file in files)
    transfers.send(place, {f"{_folder(sent)}/{name}": folder / name for name in names})
    if not _publish(place, sent, generation):
        note("another machine has prepared the same images meanwhile: its dataset stands")
        _remove(place, sent)
        return
    note(f"prepared data sent to {place.address}: {size / 1e6:,.1f} MB in {time.monotonic() - started:.1f} s")


def _publish(place: Place, sent: Sent, generation: int) -> bool:
    name, content = f"data/{sent.fingerprint}/{DOCUMENT}", sent.model_dump_json(indent=1).encode()
    if isinstance(place, Bucket):
        return place.write_if(name, content, generation) is not None
    place.write(name, content)
    return True


def _read(place: Place, fingerprint: str) -> tuple[Sent | None, int]:
    """The document, and its generation where the store counts them; 0 where it is not there."""
    name = f"data/{fingerprint}/{DOCUMENT}"
    try:
        if isinstance(place, Bucket):
            content, generation = place.read_versioned(name)
        else:
            content, generation = place.read(name, MOST_DOCUMENT_BYTES), 0
    except FileNotFoundError:
        return None, 0
    try:
        sent = Sent.model_validate_json(content)
    except ValidationError:
        return None, generation
    return sent if (sent.format, sent.fingerprint) == (_FORMAT, fingerprint) else None, generation


def _is_whole(place: Place, sent: Sent) -> bool:
    """Whether all its files are there: a bucket may be told to remove what is old."""
    there = {_name(sent, held.name): held for held in place.stored(f"{_folder(sent)}/")}
    for file in sent.files:
        held = there.get(file.name)
        if held is None or held.size != file.size or held.crc32c not in (None, file.crc32c):
            return False
    return True


def _expect_as_sent(place: Place, sent: Sent, folder: Path) -> None:
    """The store's own checksum has been compared by its door, where it has one; this is the sender's."""
    if isinstance(place, Bucket):
        return
    for file in sent.files:
        if crc32c(folder / file.name) != file.crc32c:
            raise StoreError(
                f"{place.address}/{_folder(sent)}/{file.name} is damaged: it was sent with another checksum.",
                f"Remove {place.address}/data/{sent.fingerprint} and run again.",
            )


def _remove(place: Place, sent: Sent) -> None:
    transfers.together(lambda file: place.remove(f"{_folder(sent)}/{file.name}"), sent.files)


def _files_of(folder: Path) -> list[str]:
    from trainer.data.payloads import FILES
    from trainer.data.prepared import TABLE, open_prepared
    from trainer.data.splits import SPLITS

    encoding = open_prepared(folder).manifest.encoding
    return [_MANIFEST, *(f"{split}/{file}" for split in SPLITS for file in (TABLE, FILES[encoding]))]


def _folder(sent: Sent) -> str:
    return f"data/{sent.fingerprint}/{sent.id}"


def _name(sent: Sent, name: str) -> str:
    return name.removeprefix(f"{_folder(sent)}/")


def _names(sent: Sent) -> set[str]:
    return {file.name for file in sent.files}
