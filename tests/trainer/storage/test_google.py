"""The door to Google Cloud Storage: Google's own client against a server that errs on order."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainer.errors import StateError, StoreError
from trainer.storage import Bucket, bucket, place
from trainer.storage import google as door
from trainer.storage.stored import crc32c, crc32c_of

Bring = Callable[[Bucket, str], bytes]

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


def test_a_place_may_be_a_whole_bucket(storage: Any) -> None:
    """Which is no object itself."""
    whole = Bucket("gs://b/")
    assert whole.address == "gs://b"
    whole.write("some/x", SMALL)
    assert [held.name for held in whole.stored("so")] == ["some/x"]
    assert whole.read("some/x") == SMALL
    with pytest.raises(StateError, match="Received the address 'gs://b'"), whole.writing("") as path:
        path.touch()


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
    monkeypatch.setattr(bucket, "_CHUNK_BYTES", 4 << 20)
    storage.fault("upload", "drop")
    upload(there, "x", LARGE)
    assert download(there, "x") == LARGE
    assert (storage.count("start"), storage.count("upload")) == (1, 3 + 1)


def fetch(there: Bucket, name: str, folder: Path) -> bytes:
    [held] = [one for one in there.stored() if one.name == name]
    there.get(held, folder / name)
    return (folder / name).read_bytes()


@pytest.fixture(params=["read", "reading", "get", "sliced"])
def bring(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bring:
    """Every way in which an object comes here; slices are of 4 MiB."""
    monkeypatch.setattr(bucket, "_CHUNK_BYTES", 4 << 20)
    if request.param == "sliced":
        monkeypatch.setattr(bucket, "SLICED_BYTES", 1)
    ways: dict[str, Bring] = {
        "read": lambda there, name: there.read(name),
        "reading": download,
        "get": lambda there, name: fetch(there, name, tmp_path),
    }
    return ways[request.param.replace("sliced", "get")]


def test_what_arrives_damaged_is_asked_for_again(bring: Bring, there: Bucket, storage: Any) -> None:
    """Twice: the way is at fault more often than the object. What stays damaged is refused."""
    there.write("x", LARGE)
    storage.fault("download", "corrupt", times=2)
    assert bring(there, "x") == LARGE
    storage.fault("download", "corrupt", times=99)
    with pytest.raises(StoreError, match="gs://b/some/folder/x cannot be used: Checksum mismatch"):
        bring(there, "x")


@pytest.mark.slow
@pytest.mark.parametrize("action", [429, "drop", "truncate", "stall"])
def test_a_download_outlives_what_breaks_off(
    action: int | str, bring: Bring, there: Bucket, storage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came after a break is compared as well: the client compares no checksum of a part."""
    there.write("x", LARGE)
    if action == "stall":
        monkeypatch.setattr(door, "ANSWER_SECONDS", 0.5)
        storage.silence = 0.8
    storage.fault("download", action, times=2)
    assert bring(there, "x") == LARGE
    storage.fault("download", "truncate")
    storage.fault("download", "corrupt")
    assert bring(there, "x") == LARGE


def test_a_large_object_comes_in_slices(there: Bucket, storage: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """Several at once; a fault costs a slice, and a file is whole before it has its name."""
    monkeypatch.setattr(bucket, "_CHUNK_BYTES", 1 << 20)
    monkeypatch.setattr(bucket, "SLICED_BYTES", 8 << 20)
    there.write("x", LARGE)
    there.write("small", SMALL)
    storage.fault("download", "truncate")
    assert fetch(there, "x", tmp_path) == LARGE
    assert storage.count("download") == 10 + 1
    assert fetch(there, "small", tmp_path) == SMALL
    assert storage.count("download") == 10 + 1 + 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small", "x"]


def test_what_is_fetched_is_what_was_listed(there: Bucket, storage: Any, tmp_path: Path) -> None:
    """An object that was written anew since, or removed, is as good as gone; the file that was here stays."""
    there.write("x", b"old")
    [held] = there.stored()
    there.get(held, tmp_path / "x")
    there.write("x", b"new")
    with pytest.raises(FileNotFoundError, match="gs://b/some/folder/x has been written anew"):
        there.get(held, tmp_path / "x")
    there.remove("x")
    with pytest.raises(FileNotFoundError, match="there is no gs://b/some/folder/x"):
        there.get(held, tmp_path / "x")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("x", b"old")]


def test_an_upload_says_what_is_there_now(there: Bucket, storage: Any, tmp_path: Path) -> None:
    """The same as a list says later, and what the file's own checksum is."""
    for name, content in (("small", SMALL), ("large", LARGE), ("empty", b"")):
        (tmp_path / name).write_bytes(content)
        put = there.put(name, tmp_path / name)
        [listed] = [one for one in there.stored() if one.name == name]
        assert (put.mark, put.generation, put.size) == (listed.mark, listed.generation, len(content))
        assert put.crc32c == crc32c(tmp_path / name) == crc32c_of(content)


def test_a_browser_shows_what_it_can(there: Bucket, storage: Any) -> None:
    """A card that is opened in the console is a page, not a download."""
    there.write("card.html", b"")
    there.write("challenger.npz", b"")
    kinds = {blob.name.rpartition("/")[2]: blob.content_type for blob in door.client().list_blobs("b")}
    assert kinds == {"card.html": "text/html", "challenger.npz": "application/octet-stream"}


@pytest.mark.parametrize("fault", [None, 503, "drop", "lose"])
def test_a_write_on_a_condition_happens_once(fault: Any, there: Bucket, storage: Any) -> None:
    """Where nobody wrote since; an answer that was lost is no refusal, and what another wrote is one."""

    def write(content: bytes, generation: int) -> int | None:
        if fault:
            storage.fault("upload", fault)
        return there.write_if("x", content, generation)

    first = write(b"one", 0)
    assert first is not None
    assert write(b"two", 0) is None
    second = write(b"two", first)
    assert second is not None
    assert there.read_versioned("x") == (b"two", second)
    assert write(b"three", first) is None
    there.remove_if("x", first)
    assert there.read("x") == b"two"
    there.remove_if("x", second)
    there.remove_if("x", second)
    assert list(there.names()) == []


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


@pytest.mark.parametrize(
    ("error", "says"), [(TimeoutError(), "TimeoutError"), (ConnectionError("first\nsecond"), "first")]
)
def test_an_error_without_words_is_named_by_its_kind(error: Exception, says: str) -> None:
    """What the network raises need not say anything."""
    with pytest.raises(StoreError, match=rf"^gs://b/x cannot be used: {says}\n"), door.answering("gs://b/x"):
        raise error


def test_a_full_disk_is_the_disks_error(there: Bucket, storage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the service's, and its remedy is another."""
    there.write("x", SMALL)
    with monkeypatch.context() as patch:
        patch.setattr("trainer.storage.local.tempfile.tempdir", "/proc")
        for pass_through in (there.reading, there.writing):
            with pytest.raises(StateError, match=r"^/proc/.* cannot be used"), pass_through("x"):
                pytest.fail("there is nowhere to put it")
    with pytest.raises(StateError, match="No space is left to write"), there.writing("x"):
        raise OSError(errno.ENOSPC, "full")
    assert storage.names() == ["some/folder/x"]


@pytest.mark.parametrize("address", ["gs://", "gs:///x", "gs://b-/x", "gcs://b/x", "memory://", "nowhere://b/x"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    """At once, with the form it should have."""
    with pytest.raises(StateError, match="Received the ") as caught:
        place(address)
    assert "://b" in caught.value.remedy


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
    monkeypatch.setattr("trainer.storage.local.tempfile.tempdir", str(tmp_path))
    upload(there, "x", SMALL)
    with there.reading("x"):
        assert len(list(tmp_path.rglob("object"))) == 1
    assert list(tmp_path.iterdir()) == []
