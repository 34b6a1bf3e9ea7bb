"""What every ledger does (on a file, in Google Cloud Storage, in memory), and what the one on a file survives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from trainer.errors import LedgerConflict, RegistryError, StateError
from trainer.registry.document import FORMAT
from trainer.registry.locks import held
from trainer.registry.protocol import Entry, Ledger, Trial, champion
from trainer.registry.stores import FileLedger, GoogleLedger, MemoryLedger, ledger_of
from trainer.state import State

ROOT = Path(__file__).resolve().parents[2]


def entry(number: int, version: str = "1", previous: str | None = None, key: str = "k") -> Entry:
    return Entry(
        number=number,
        event="promote",
        version=version,
        previous=previous,
        run_key=key,
        verdict_digest="d",
        reason="Better, é.",
        tick="t",
        at=datetime(2026, 11, 21, 8, 0, 0, 123456, tzinfo=UTC),
    )


@pytest.fixture(params=["memory", "file", "google"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Ledger:
    if request.param == "memory":
        return MemoryLedger()
    if request.param == "file":
        return FileLedger(tmp_path / "ledger" / "digits.json")
    request.getfixturevalue("storage")
    return GoogleLedger("gs://b/ledgers/digits.json")


def test_a_new_ledger_is_empty(ledger: Ledger) -> None:
    """Nothing has to be made before it is read, and nobody is champion."""
    assert ledger.read() == ((), 0)
    assert champion(ledger.read().entries) is None


def test_entries_come_back_in_their_order(ledger: Ledger) -> None:
    """To the microsecond, and the last one says who is champion."""
    appended = [entry(1, "4"), entry(2, "7", "4"), entry(3, "5", "7")]
    for one in appended:
        ledger.append(one, ledger.read().generation)
    assert list(ledger.read().entries) == appended
    assert champion(ledger.read().entries) == "5"


def test_every_field_of_an_entry_comes_back(ledger: Ledger) -> None:
    """What a hand did and what was spent of the error budget too; and nobody being champion."""
    trial = Trial(test_digest="ff", examples=10_000, level=0.1 + 0.2, p_value=None)
    retired = entry(1).model_copy(update={"version": None, "previous": "1", "event": "retire", "challenger": "1"})
    kept = entry(2).model_copy(update={"event": "keep", "challenger": "2", "actor": "ann@host", "trial": trial})
    ledger.append(retired, 0)
    ledger.append(kept, ledger.read().generation)
    assert ledger.read().entries == (retired, kept)


def test_an_append_on_an_older_state_is_refused(ledger: Ledger) -> None:
    """Of two who read the same state one wins; the other learns of it and nothing of his is written."""
    before = ledger.read().generation
    ledger.append(entry(1, "1"), before)
    with pytest.raises(LedgerConflict, match="decided on generation 0"):
        ledger.append(entry(1, "2"), before)
    with pytest.raises(LedgerConflict):
        ledger.append(entry(2, "2", "1"), before)
    assert [one.version for one in ledger.read().entries] == ["1"]


@pytest.mark.parametrize("number", [0, 1, 3])
def test_an_entry_must_be_the_next(ledger: Ledger, number: int) -> None:
    """A number that is taken, or one that leaves a gap, is refused."""
    ledger.append(entry(1), 0)
    with pytest.raises(LedgerConflict, match=f"entry {number} was"):
        ledger.append(entry(number), ledger.read().generation)
    assert len(ledger.read().entries) == 1


def test_threads_lose_no_entry(ledger: Ledger) -> None:
    """Four threads append as fast as they can: every entry is there once, numbered without a gap."""

    def work(who: int) -> None:
        for item in range(4):
            append_patiently(ledger, f"{who}-{item}")

    threads = [threading.Thread(target=work, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_every_entry_once(ledger, 4, 4)


def append_patiently(ledger: Ledger, key: str) -> None:
    while True:
        entries, generation = ledger.read()
        try:
            return ledger.append(entry(len(entries) + 1, str(len(entries) + 1), champion(entries), key), generation)
        except LedgerConflict:
            time.sleep(0.001)


def assert_every_entry_once(ledger: Ledger, workers: int, items: int) -> None:
    entries = ledger.read().entries
    assert [one.number for one in entries] == list(range(1, workers * items + 1))
    assert {one.run_key for one in entries} == {f"{who}-{item}" for who in range(workers) for item in range(items)}
    # Each was decided on the state that the one before it left.
    assert [one.previous for one in entries] == [None, *(one.version for one in entries[:-1])]


APPENDING = """
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from trainer.errors import LedgerConflict
from trainer.registry.stores import FileLedger
from trainer.registry.protocol import Entry, champion

ledger, who, items = FileLedger(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])
for item in range(items):
    while True:
        entries, generation = ledger.read()
        if any(one.run_key == f"{who}-{item}" for one in entries):
            break
        number = len(entries) + 1
        new = Entry(number=number, event="promote", version=str(number), previous=champion(entries),
                    run_key=f"{who}-{item}", verdict_digest=None, reason="r", tick=None, at=datetime.now(UTC))
        try:
            ledger.append(new, generation)
            break
        except LedgerConflict:
            time.sleep(0.001)
"""


def start(path: Path, who: int, items: int, preface: str = "") -> subprocess.Popen[bytes]:
    arguments = [sys.executable, "-c", preface + APPENDING, str(path), str(who), str(items)]
    return subprocess.Popen(arguments, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})


def test_processes_lose_no_entry(tmp_path: Path) -> None:
    """Eight processes append to one file at once: every entry is there once."""
    path = tmp_path / "digits.json"
    processes = [start(path, who, 6) for who in range(8)]
    assert [process.wait(timeout=120) for process in processes] == [0] * 8
    assert_every_entry_once(FileLedger(path), 8, 6)


KILLS = {
    "with half of the text written": "import os\nreal = os.fdopen\ndef half(handle, mode):\n"
    '    os.write(handle, b\'{"format": 2, "ent\')\n    os.kill(os.getpid(), 9)\nos.fdopen = half\n',
    "before the file is replaced": "import os\nos.replace = lambda a, b: os.kill(os.getpid(), 9)\n",
    "after the file is replaced": "import os\nreal = os.replace\ndef late(a, b):\n"
    "    real(a, b)\n    os.kill(os.getpid(), 9)\nos.replace = late\n",
}


@pytest.mark.parametrize("moment", KILLS)
def test_a_kill_in_the_middle_leaves_a_whole_ledger(tmp_path: Path, moment: str) -> None:
    """Killed at any moment of an append, the file is whole, the lock is free, and the same entry is made once."""
    path = tmp_path / "digits.json"
    FileLedger(path).append(entry(1, "1", key="first"), 0)
    assert start(path, 0, 1, KILLS[moment]).wait(timeout=60) == -signal.SIGKILL
    expected = ["first", "0-0"] if moment.startswith("after") else ["first"]
    assert [one.run_key for one in FileLedger(path).read().entries] == expected
    assert start(path, 0, 1).wait(timeout=60) == 0
    assert [one.run_key for one in FileLedger(path).read().entries] == ["first", "0-0"]


def test_kills_at_random_lose_no_entry(tmp_path: Path) -> None:
    """Workers that are killed again and again, and started again, end with every entry there once."""
    path = tmp_path / "digits.json"
    ledger = FileLedger(path)
    for _ in range(4):
        before = len(ledger.read().entries)
        processes = [start(path, who, 20) for who in range(3)]
        deadline = time.monotonic() + 60
        while len(ledger.read().entries) < before + 4 and time.monotonic() < deadline:
            time.sleep(0.001)
        for process in processes:
            process.kill()
        for process in processes:
            process.wait(timeout=60)
    assert 16 <= len(ledger.read().entries) < 60
    for process in [start(path, who, 20) for who in range(3)]:
        assert process.wait(timeout=120) == 0
    assert_every_entry_once(FileLedger(path), 3, 20)


def test_a_damaged_ledger_is_never_started_anew(tmp_path: Path) -> None:
    """Cut, emptied, or edited to a gap or an unknown word: reading and appending say so and write nothing."""
    path = tmp_path / "digits.json"
    ledger = FileLedger(path)
    ledger.append(entry(1), 0)
    ledger.append(entry(2), 1)
    whole = path.read_text()
    damaged = [
        *(whole[: len(whole) * part // 7] for part in range(7)),
        whole.replace('"number": 1', '"number": 5'),
        whole.replace('"promote"', '"crown"'),
        "[]",
    ]
    for text in damaged:
        path.write_text(text)
        with pytest.raises(RegistryError, match=r"ledger .*digits\.json is damaged"):
            ledger.read()
        with pytest.raises(RegistryError, match="damaged"):
            ledger.append(entry(1), 0)
        assert path.read_text() == text


def test_a_ledger_of_a_newer_version_is_not_misread(tmp_path: Path) -> None:
    """It is told from a damaged one, and the remedy is another."""
    path = tmp_path / "digits.json"
    path.write_text(f'{{"format": {FORMAT + 1}, "entries": {{"of": "another form"}}}}')
    with pytest.raises(RegistryError, match=f"is of format {FORMAT + 1}") as caught:
        FileLedger(path).append(entry(1), 0)
    assert caught.value.remedy.startswith("Upgrade inception")
    assert "another form" in path.read_text()


def test_a_ledger_of_the_first_version_goes_on(tmp_path: Path) -> None:
    """Its entries have none of the later fields; what is appended makes it a ledger of this version."""
    path = tmp_path / "digits.json"
    path.write_text(FIRST_FORMAT)
    ledger = FileLedger(path)
    assert champion(ledger.read().entries) == "4"
    ledger.append(entry(2, "5", "4"), 1)
    assert [one.version for one in ledger.read().entries] == ["4", "5"]
    assert f'"format": {FORMAT}' in path.read_text()


FIRST_FORMAT = """{"format": 1, "entries": [{"number": 1, "event": "adopt", "version": "4", "previous": null,
"run_key": "k", "verdict_digest": null, "reason": "r", "tick": null, "at": "2026-11-21T08:00:00.123456Z"}]}
"""


def test_a_folder_that_may_not_be_written_says_so(tmp_path: Path) -> None:
    """A file where the folder should be is a StateError, on reading and on writing."""
    (tmp_path / "ledger").write_text("in the way")
    ledger = FileLedger(tmp_path / "ledger" / "digits.json")
    for deed in (ledger.read, lambda: ledger.append(entry(1), 0)):
        with pytest.raises(StateError, match="ledger"):
            deed()


def test_a_lock_held_too_long_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the lock file."""
    monkeypatch.setattr("trainer.registry.locks.LOCK_SECONDS", 0.2)
    with (
        held(tmp_path / ".digits.json.lock"),
        pytest.raises(RegistryError, match=r"held the lock .*\.digits\.json\.lock"),
    ):
        FileLedger(tmp_path / "digits.json").append(entry(1), 0)


FAULTS = [
    ("upload", 503),
    ("upload", 429),
    ("upload", "drop"),
    ("upload", "lose"),
    ("download", 500),
    ("download", "drop"),
    ("download", "truncate"),
    ("download", "corrupt"),
]


@pytest.mark.parametrize(("operation", "fault"), FAULTS)
def test_a_bucket_that_errs_loses_and_doubles_no_entry(storage: Any, operation: Any, fault: Any) -> None:
    """Twice in a row, at an append to an empty ledger and at the next; a write whose answer was lost has worked."""
    ledger = GoogleLedger("gs://b/digits.json")
    expected = [entry(number, str(number)) for number in (1, 2)]
    for one in expected:
        generation = ledger.read().generation
        storage.fault(operation, fault, times=2 if fault != "corrupt" else 1)
        append_again(ledger, one, generation)
    assert list(ledger.read().entries) == expected
    assert storage.count(operation) >= 3


def append_again(ledger: GoogleLedger, one: Entry, generation: int) -> None:
    """As a step that is tried again does: corrupted answers are not waited for."""
    try:
        ledger.append(one, generation)
    except StateError:
        ledger.append(one, generation)


def test_an_answer_that_was_lost_to_a_rival_is_a_conflict(storage: Any) -> None:
    """The first try is lost on the way, somebody else writes, the second try is refused: that is a conflict."""
    ledger, rival = GoogleLedger("gs://b/digits.json"), GoogleLedger("gs://b/digits.json")
    ledger.append(entry(1), 0)
    generation = ledger.read().generation
    real = ledger.read

    def overtaken() -> Any:
        history = real()
        if len(history.entries) == 1:
            rival.append(entry(2, "3", "1", key="rival"), history.generation)
        return history

    ledger.read = overtaken  # type: ignore[method-assign]
    with pytest.raises(LedgerConflict, match="has 2 entries"):
        ledger.append(entry(2, "2", "1"), generation)
    assert [one.run_key for one in rival.read().entries] == ["k", "rival"]


@pytest.mark.parametrize("deed", ["read", "append"])
def test_a_bucket_that_is_not_there_says_so(storage: Any, deed: str) -> None:
    """It is told from a ledger that is not there yet."""
    ledger = GoogleLedger("gs://none/digits.json")
    with pytest.raises(StateError, match=r"gs://none/digits.json cannot be used: .*bucket does not exist"):
        ledger.read() if deed == "read" else ledger.append(entry(1), 0)


def test_a_damaged_object_is_never_started_anew(storage: Any) -> None:
    """As a damaged file."""
    storage.put("digits.json", b'{"format": 2, "ent')
    with pytest.raises(RegistryError, match=r"gs://b/digits\.json is damaged"):
        GoogleLedger("gs://b/digits.json").append(entry(1), 0)
    assert storage.objects["b", "digits.json"].content == b'{"format": 2, "ent'


@pytest.mark.parametrize(
    ("place", "address"),
    [
        (None, "{state}/ledger/digits.json"),
        ("", "{state}/ledger/digits.json"),
        ("{state}/elsewhere", "{state}/elsewhere/digits.json"),
        ("gs://b/some/where/", "gs://b/some/where/digits.json"),
        ("gs://b", "gs://b/digits.json"),
    ],
)
def test_ledgers_lie_where_the_environment_says(
    state: State, place: str | None, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the state folder, unless INCEPTION_LEDGERS names a folder or a bucket."""
    if place is not None:
        monkeypatch.setenv("INCEPTION_LEDGERS", place.format(state=state.root))
    assert ledger_of(state, "digits").address == address.format(state=state.root)


@pytest.mark.parametrize("place", ["s3://bucket/ledgers", "https://host/ledgers", "gs://"])
def test_a_store_without_conditions_is_refused(state: State, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the reason, before anything is read."""
    monkeypatch.setenv("INCEPTION_LEDGERS", place)
    with pytest.raises(StateError, match=f"Received the .*{place}") as caught:
        ledger_of(state, "digits")
    assert "gs://bucket/p" in caught.value.remedy
