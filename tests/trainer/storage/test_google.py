"""The door to Google Cloud Storage: Google's own client against a server that errs on order."""

from __future__ import annotations

import errno
import threading
from pathlib import Path
from typing import Any

import pytest

from trainer.errors import StateError
from trainer.storage import Bucket, place
from trainer.storage import google as door

SMALL = b"of a checkpoint" * 100
LARGE = bytes(range(256)) * (40 << 10)
"""10 MiB: the client sends what is over 8 MiB by a resumable upload."""


@pytest.fixture
def there(storage: Any) -> Bucket:
    found = place("gs://b/some/folder/")
    assert isinstance(found, Bucket)
    return found


def upload(there: Bucket, name: str, content: bytes) -> None:
    with there.writing(name) as path:
        path.write_bytes(content)


def download(there: Bucket, name: str) -> bytes:
    with there.reading(name) as path:
        return path.read_bytes()


def test_what_is_written_is_read(there: Bucket, storage: Any) -> None:
    """Small values and large files, below the prefix and nowhere else."""
    storage.put("some/folder-2/x", b"another's")
    there.write("a.json", SMALL)
    upload(there, "member-1/large", LARGE)
    assert there.address == "gs://b/some/folder"
    assert sorted(there.names()) == ["a.json", "member-1/large"]
    assert there.read("a.json") == SMALL
    assert download(there, "member-1/large") == LARGE
    assert storage.objects["b", "some/folder/member-1/large"].content == LARGE
    there.remove("a.json")
    there.remove("a.json")
    assert storage.names() == ["some/folder-2/x", "some/folder/member-1/large"]


def test_a_list_of_many_pages_is_whole(there: Bucket, storage: Any) -> None:
    """The service gives at most a thousand names at once."""
    storage.page = 2
    for number in range(5):
        storage.put(f"some/folder/{number}", b"")
    assert list(there.names()) == list("01234")
    assert storage.count("list") == 3


def test_a_missing_object_is_told_from_a_missing_bucket(there: Bucket, storage: Any) -> None:
    """One may be missing; without the other nothing can go on."""
    for read in (there.read, lambda name: download(there, name)):
        with pytest.raises(FileNotFoundError, match="there is no gs://b/some/folder/none"):
            read("none")
    assert list(there.names()) == []
    elsewhere = Bucket("gs://other/x")
    for work in (lambda: elsewhere.read("a"), lambda: elsewhere.write("a", b""), lambda: list(elsewhere.names())):
        with pytest.raises(StateError, match=r"gs://other/x.* cannot be used: .*bucket does not exist") as caught:
            work()
        assert "See that the bucket 'other' exists" in caught.value.remedy


@pytest.mark.parametrize(
    ("content", "operation", "action"),
    [
        (SMALL, "upload", 503),
        (SMALL, "upload", "drop"),
        (SMALL, "upload", "lose"),
        (SMALL, "download", 503),
        (SMALL, "download", "drop"),
        (SMALL, "download", "truncate"),
        (SMALL, "list", 503),
        (SMALL, "list", "drop"),
        (SMALL, "list", "truncate"),
        (SMALL, "delete", 503),
        (SMALL, "delete", "drop"),
        (SMALL, "delete", "lose"),
        (LARGE, "start", 502),
        (LARGE, "start", "drop"),
        (LARGE, "start", "lose"),
        (LARGE, "upload", 429),
        (LARGE, "upload", 500),
        (LARGE, "upload", "drop"),
        (LARGE, "download", 504),
        (LARGE, "download", "truncate"),
    ],
)
def test_a_fault_that_passes_is_waited_for(
    content: bytes, operation: str, action: int | str, there: Bucket, storage: Any
) -> None:
    """Twice in a row; what arrives is whole. Lost answers too: what was done may be done again."""
    storage.fault(operation, action, times=2)
    upload(there, "x", content)
    assert list(there.names()) == ["x"]
    assert download(there, "x") == content
    there.remove("x")
    assert storage.names() == []
    assert storage.count(operation) >= 3


def test_a_large_upload_goes_on_where_it_broke(there: Bucket, storage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the part that was under way is sent again."""
    monkeypatch.setattr(door, "_CHUNK_BYTES", 4 << 20)
    storage.fault("upload", "drop")
    upload(there, "x", LARGE)
    assert download(there, "x") == LARGE
    assert (storage.count("start"), storage.count("upload")) == (1, 3 + 1)


def test_what_arrives_damaged_is_refused(there: Bucket, storage: Any) -> None:
    """The client compares checksums."""
    there.write("x", SMALL)
    storage.fault("download", "corrupt", times=9)
    with pytest.raises(StateError, match="gs://b/some/folder/x cannot be used: Checksum mismatch"):
        there.read("x")


@pytest.mark.parametrize(
    ("status", "says", "remedy"),
    [
        (401, "Anonymous credentials cannot be refreshed", "gcloud auth application-default login"),
        (403, "403 ", "the role Storage Object User on the bucket 'b'"),
    ],
)
def test_a_refusal_is_final(status: int, says: str, remedy: str, there: Bucket, storage: Any) -> None:
    """Asked once; the remedy says what the account lacks."""
    for operation, work in (
        ("upload", lambda: there.write("x", SMALL)),
        ("start", lambda: upload(there, "x", LARGE)),
        ("download", lambda: there.read("x")),
        ("download", lambda: download(there, "x")),
        ("list", lambda: list(there.names())),
        ("delete", lambda: there.remove("x")),
    ):
        before = storage.count(operation)
        storage.fault(operation, status)
        with pytest.raises(StateError, match=rf"gs://b/some/folder.* cannot be used: {says}") as caught:
            work()
        assert remedy in caught.value.remedy
        assert storage.count(operation) == before + 1


def test_patience_ends(there: Bucket, storage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that stays away, or that nobody runs, is an error that says so."""
    monkeypatch.setattr(door, "PATIENCE_SECONDS", 0.2)
    storage.fault(None, 503, times=1000)
    with pytest.raises(StateError, match="cannot be used: 503 ") as caught:
        there.write("x", SMALL)
    assert caught.value.remedy == "Run again when the service answers."
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    with pytest.raises(StateError, match=r"gs://b/x cannot be used: .*127\.0\.0\.1"):
        list(Bucket("gs://b/x").names())


def test_a_full_disk_is_the_disks_error(there: Bucket, storage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the service's, and its remedy is another."""
    there.write("x", SMALL)
    with monkeypatch.context() as patch:
        patch.setattr("trainer.storage.google.tempfile.tempdir", "/proc")
        for pass_through in (there.reading, there.writing):
            with pytest.raises(StateError, match=r"^/proc/.* cannot be used"), pass_through("x"):
                pytest.fail("there is nowhere to put it")
    with pytest.raises(StateError, match="No space is left to write"), there.writing("x"):
        raise OSError(errno.ENOSPC, "full")
    assert storage.names() == ["some/folder/x"]


@pytest.mark.parametrize("address", ["gs://", "gs://b", "gs://b/", "gs:///x", "gs://b-/x", "s3://b/x"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    """At once, with the form it should have."""
    with pytest.raises(StateError, match="Received the ") as caught:
        place(address)
    assert "gs://bucket/p" in caught.value.remedy


def test_the_server_of_these_tests_holds_writers_to_their_generation(storage: Any) -> None:
    """Of many that expect the same generation one wins, in resumable uploads too; the others get 412."""
    from google.api_core.exceptions import PreconditionFailed

    won: list[int] = []

    def write(number: int, content: bytes, generation: int) -> None:
        blob = door.client().bucket("b").blob("ledger", chunk_size=1 << 20)
        try:
            blob.upload_from_string(content, if_generation_match=generation)
            won.append(number)
        except PreconditionFailed:
            pass

    generation = 0
    for content, many in ((SMALL, 8), (LARGE, 3)):
        won.clear()
        writers = [threading.Thread(target=write, args=(n, content, generation)) for n in range(many)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert len(won) == 1
        [held] = storage.objects.values()
        assert held.content == content
        generation = held.generation
    stale = door.client().bucket("b").blob("ledger")
    for work in (
        lambda: stale.delete(if_generation_match=generation - 1),
        lambda: stale.download_as_bytes(if_generation_match=generation - 1),
        lambda: stale.reload(if_generation_match=generation - 1),
    ):
        with pytest.raises(PreconditionFailed):
            work()
    assert stale.download_as_bytes(start=2, end=5, if_generation_match=generation) == LARGE[2:6]
    stale.delete(if_generation_match=generation)
    assert storage.names() == []


def test_a_local_copy_does_not_outlive_its_block(
    there: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large objects pass through the folder for temporary files."""
    monkeypatch.setattr("trainer.storage.google.tempfile.tempdir", str(tmp_path))
    upload(there, "x", SMALL)
    with there.reading("x"):
        assert len(list(tmp_path.rglob("object"))) == 1
    assert list(tmp_path.iterdir()) == []
