"""One machine at a time: two with the same work, one that dies, one that was only silent."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from trainer import sharing
from trainer.errors import StoreError
from trainer.sharing import lease
from trainer.sharing.lease import Lease, held
from trainer.state import write_atomically
from trainer.storage import Bucket

NAME = "leases/k.json"
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.3)
    monkeypatch.setattr(lease, "STALE_SECONDS", 0.7)
    monkeypatch.setattr(lease, "LOOK_SECONDS", 0.02)


@pytest.fixture
def place(bucket: Any) -> Bucket:
    return Bucket("gs://b/team")


def dead(place: Bucket) -> None:
    """What a machine leaves that was killed."""
    assert place.write_if(NAME, b'{"holder": "pod-7 1 ab"}', 0) is not None


def test_the_second_waits_for_the_first(place: Bucket, capsys: pytest.CaptureFixture[str]) -> None:
    """Longer than a silence is taken for death, as long as the first renews; then it goes on, and nothing is left."""
    inside, most, waited = 0, 0, []

    def work() -> None:
        nonlocal inside, most
        with held(place, NAME, "training") as one:
            inside += 1
            most = max(most, inside)
            time.sleep(1.2)
            one.confirm()
            waited.append(one.waited)
            inside -= 1

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert most == 1
    assert sorted(waited) == [False, True]
    assert list(place.names()) == []
    assert "is at the same training: waiting for it" in capsys.readouterr().out


def test_who_was_killed_is_waited_for_no_longer_than_need_be(place: Bucket, capsys: Any) -> None:
    """Whoever waits goes by its own clock: what was not renewed for so long is taken over."""
    dead(place)
    started = time.monotonic()
    with held(place, NAME, "training") as one:
        assert time.monotonic() - started > 0.7
        one.confirm()
    assert "nothing was heard from pod-7 1 ab for" in capsys.readouterr().out
    assert list(place.names()) == []


def test_a_store_that_is_away_is_no_sign_of_death(place: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody could renew anything meanwhile: the silence is counted anew."""
    dead(place)
    looks = 0
    read = Lease._read

    def slowly(one: Lease) -> tuple[str, int]:
        nonlocal looks
        looks += 1
        time.sleep(1.0 if looks == 2 else 0.0)
        return read(one)

    monkeypatch.setattr(Lease, "_read", slowly)
    with held(place, NAME, "training"):
        assert looks > 3


def test_who_was_only_silent_finds_its_work_taken_over(place: Bucket) -> None:
    """It is ended at its next renewal, may not confirm, and leaves the other's lease alone."""
    lost = threading.Event()
    silent = Lease(place, NAME, lost.set)
    silent.acquire("training")
    with held(place, NAME, "training") as other:
        with pytest.raises(StoreError, match="Another machine has taken this work over"):
            silent.confirm()
        silent = Lease(place, NAME, lost.set)
        silent._generation = 1
        silent.keep()
        assert lost.is_set()
        silent.release()
        other.confirm()


@pytest.mark.parametrize("fault", [503, "drop", "lose"])
def test_faults_lose_no_lease(fault: Any, place: Bucket, bucket: Any) -> None:
    """An answer that was lost is none of another's writing."""
    lost: list[bool] = []
    bucket.fault("upload", fault, times=2)
    with held(place, NAME, "training", lambda: lost.append(True)) as one:
        bucket.fault("upload", fault, times=3)
        time.sleep(0.6)
        one.confirm()
    assert lost == []


def test_work_that_was_taken_over_sends_nothing(bucket: Any, pod: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record is the other's to write from then on; this process is told to end as a preempted one."""
    ended = threading.Event()
    monkeypatch.setattr(sharing, "end_this", ended.set)
    state = pod()
    sharing.fetch(state, state.run("k"))
    with sharing.only_one(state, state.run("k"), "training") as confirm:
        bucket.put("team/leases/k.json", b'{"holder": "other"}')
        assert ended.wait(5)
        (state.run("k")).mkdir(parents=True)
        (state.run("k") / "train.json").write_text("{}")
        with pytest.raises(StoreError):
            confirm()
        sharing.push(state)
    assert bucket.names() == ["team/leases/k.json"]


def test_what_the_one_before_left_is_seen(bucket: Any, pod: Any) -> None:
    """Whoever waited fetches the record anew before it goes on."""
    state = pod()
    sharing.fetch(state, state.run("k"))
    dead(Bucket("gs://b/team"))
    bucket.put("team/runs/k/train.json", b"{}")
    with sharing.only_one(state, state.run("k"), "training"):
        assert (state.run("k") / "train.json").read_text() == "{}"


def test_what_the_one_before_left_just_now_is_seen(bucket: Any, pod: Any) -> None:
    """It may have ended between this one's first look at the record and its turn: nothing is trained twice."""
    state = pod()
    sharing.fetch(state, state.run("k"))
    bucket.put("team/runs/k/train.json", b"{}")
    with sharing.only_one(state, state.run("k"), "training"):
        assert (state.run("k") / "train.json").read_text() == "{}"


def test_work_that_cannot_be_confirmed_sends_nothing(bucket: Any, pod: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the next renewal sees it, too."""
    monkeypatch.setattr(lease, "RENEW_SECONDS", 60.0)
    state = pod()
    with sharing.only_one(state, state.run("k"), "training") as confirm:
        bucket.put("team/leases/k.json", b'{"holder": "other"}')
        write_atomically(state.run("k") / "failure.json", "{}")
        with pytest.raises(StoreError):
            confirm()
        sharing.push(state)
    assert bucket.names() == ["team/leases/k.json"]


def test_a_store_that_cannot_tell_keeps_nobody_waiting(monkeypatch: Any, pod: Any, tmp_path: Any) -> None:
    """Without conditional writes nobody can be the one; the work is done twice then, with the same result."""
    monkeypatch.setenv("INCEPTION_STORE", f"memory://{tmp_path.name}")
    state = pod()
    with sharing.only_one(state, state.run("k"), "training"), sharing.only_one(state, state.run("k"), "training") as ok:
        ok()
