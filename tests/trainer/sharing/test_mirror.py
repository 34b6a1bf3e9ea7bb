"""A folder of the state in a store: what one machine writes another has, and nothing is lost between them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from trainer import sharing
from trainer.errors import StateError, StoreError
from trainer.sharing import mirror
from trainer.state import State, write_atomically
from trainer.storage import place


def fill(folder: Path, **files: str) -> None:
    for name, text in files.items():
        write_atomically(folder / name.replace("__", "/").replace("_json", ".json"), text)


def held(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def write(state: State, **files: str) -> None:
    """What a step does: fetch, write, send."""
    sharing.fetch(state, state.run("k"))
    fill(state.run("k"), **files)
    sharing.push(state)


def read(state: State) -> dict[str, str]:
    sharing.fetch(state, state.run("k"))
    return held(state.run("k"))


def test_what_one_machine_writes_another_has(store: str, pod: Any) -> None:
    """Sub-folders too; what it changes goes back, and what was changed elsewhere comes."""
    one, other = pod(), pod()
    write(one, train_json="1", pictures__a="a")
    assert read(other) == {"pictures/a": "a", "train.json": "1"}
    write(other, train_json="2", evaluate_json="e")
    assert read(one) == {"evaluate.json": "e", "pictures/a": "a", "train.json": "2"}
    assert sorted(place(store).names()) == ["runs/k/evaluate.json", "runs/k/pictures/a", "runs/k/train.json"]


def test_what_is_removed_on_one_side_goes_on_the_other(store: str, pod: Any) -> None:
    """There when the step ends, and on another machine at its next look."""
    one, other = pod(), pod()
    write(one, failure_json="f", train_json="t")
    assert read(other) == {"failure.json": "f", "train.json": "t"}
    (other.run("k") / "failure.json").unlink()
    sharing.push(other)
    assert [name for name in place(store).names() if "failure" in name] == []
    assert read(one) == {"train.json": "t"}


def test_a_local_file_that_was_lost_is_fetched_again(store: str, pod: Any) -> None:
    """A state folder is a cache: what somebody removes from it between two steps is not removed from the store."""
    one = pod()
    write(one, train_json="t", a="a")
    (one.run("k") / "train.json").unlink()
    sharing._opened.cache_clear()  # another process
    assert read(one) == {"a": "a", "train.json": "t"}
    sharing.push(one)
    assert len(list(place(store).names())) == 2


def test_what_a_killed_step_had_not_sent_is_sent_by_the_next(store: str, pod: Any) -> None:
    """Where the state folder is still there: a file that was never sent stays, and one that was changed since too."""
    one = pod()
    write(one, train_json="1")
    fill(one.run("k"), train_json="changed", evaluate_json="new")
    sharing._opened.cache_clear()
    assert read(one) == {"evaluate.json": "new", "train.json": "changed"}
    sharing.push(one)
    assert read(pod()) == {"evaluate.json": "new", "train.json": "changed"}


def test_what_both_have_changed_is_as_it_is_in_the_store(store: str, pod: Any) -> None:
    """The store is the truth."""
    one, other = pod(), pod()
    write(one, train_json="1")
    write(other, train_json="theirs")
    fill(one.run("k"), train_json="ours, unsent")
    assert read(one) == {"train.json": "theirs"}


def test_nothing_travels_twice(bucket: Any, pod: Any) -> None:
    """A second look costs a list, and so does an end without changes; equal files are not fetched, only compared."""
    one = pod()
    write(one, train_json="1", a="2")
    fill(twin := pod().run("k"), train_json="1", a="2")
    before = len(bucket.asked)
    read(one)
    sharing.push(one)
    assert read(State(twin.parents[1])) == {"a": "2", "train.json": "1"}
    sharing.push(State(twin.parents[1]))
    assert [operation for operation, _ in bucket.asked[before:]] == ["list", "list"]


def test_documents_come_after_the_files_they_speak_of(bucket: Any, pod: Any) -> None:
    """In the order of the steps; an upload that fails leaves none that is ahead of its files."""
    one = pod()
    write(one, evaluate_json="e", train_json="t", challenger="c", mistake="m")
    order = [name.rpartition("/")[2] for operation, name in bucket.asked if operation == "upload"]
    assert sorted(order[:2]) == ["challenger", "mistake"]
    assert order[2:] == ["train.json", "evaluate.json"]
    fill(one.run("k"), evaluate_json="later", challenger="later")
    bucket.fault("upload", 403, ending="challenger")
    with pytest.raises(StoreError):
        sharing.push(one)
    assert read(pod())["evaluate.json"] == "e"
    sharing.push(one)
    assert read(pod())["evaluate.json"] == "later"


def test_a_tick_is_sent_after_the_record_it_leads_to(bucket: Any, pod: Any) -> None:
    """Whatever order they were opened in."""
    one = pod()
    for folder in (one.tick("t"), one.run("k"), one.data("f")):
        sharing.fetch(one, folder)
    fill(one.tick("t"), outcome_json="o")
    fill(one.run("k"), promote_json="p")
    fill(one.data("f"), prepare_json="d")
    sharing.push(one)
    assert [name for operation, name in bucket.asked if operation == "upload"] == [
        "team/data/f/prepare.json",
        "team/runs/k/promote.json",
        "team/ticks/t/outcome.json",
    ]


def test_what_belongs_to_one_machine_stays_there(store: str, pod: Any) -> None:
    """Locks, files that are being written, and the images of prepared data, which have a way of their own."""
    one = pod()
    for folder in (one.run("k"), one.data("f"), one.failed_data("f")):
        sharing.fetch(one, folder)
    fill(one.run("k"), **{"train.lock": "", ".half": "", "a": ""})
    fill(one.data("f"), prepare_json="", **{"manifest.json": "", "train/images.npy": ""})
    fill(one.failed_data("f"), failure_json="")
    sharing.push(one)
    assert sorted(place(store).names()) == ["data/f.failed/failure.json", "data/f/prepare.json", "runs/k/a"]


def test_only_what_is_wanted_is_fetched(store: str, pod: Any) -> None:
    """And what is not wanted stays as it is, there too."""
    write(pod(), train_json="t", challenger="large", tensorboard__events="many")
    one = pod()
    sharing.fetch(one, one.run("k"), sharing.documents)
    assert held(one.run("k")) == {"train.json": "t"}
    sharing.push(one)
    assert read(pod()) == {"challenger": "large", "train.json": "t"}
    assert len(list(place(store).names())) == 3


def test_a_file_that_is_written_anew_meanwhile_is_looked_for_again(
    bucket: Any, pod: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list and the download are of one content; a folder that never stands still is an error in the end."""
    write(pod(), train_json="old")
    writes = iter("new")

    real = mirror.transfers.fetch

    def meanwhile(*arguments: Any) -> None:
        for text in writes:
            bucket.put("team/runs/k/train.json", text.encode())
            break
        real(*arguments)

    monkeypatch.setattr(mirror.transfers, "fetch", meanwhile)
    with pytest.raises(StoreError, match="gs://b/team/runs/k changes faster than it can be read"):
        read(pod())
    assert read(pod()) == {"train.json": "w"}


def test_a_lost_memory_costs_comparisons_only(bucket: Any, pod: Any) -> None:
    """A damaged one too."""
    one = pod()
    write(one, train_json="1", a="2")
    before = bucket.count("download")
    for ruin in (
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b"no database at all" * 100),
        lambda path: path.write_bytes(path.read_bytes()[:4096] + bytes(4096)),  # the table's own page
    ):
        ruin(one.cache / "shared.db")
        assert read(one) == {"a": "2", "train.json": "1"}
    assert bucket.count("download") == before


def test_without_a_store_nothing_happens(state: State) -> None:
    """No database, no folder, no request."""
    before = sorted(path.name for path in state.root.rglob("*"))
    sharing.fetch(state, state.run("k"))
    sharing.push(state)
    assert sharing.has_dataset(state, "f")
    assert sharing.known_manifest(state, "f") is None
    sharing.send_dataset(state, "f")
    sharing.fetch_runs(state)
    with sharing.only_one(state, state.run("k"), "training") as confirm:
        confirm()
    assert sorted(path.name for path in state.root.rglob("*")) == before


def test_a_store_that_cannot_be_written_says_so(bucket: Any, pod: Any) -> None:
    """With what the account lacks."""
    one = pod()
    bucket.fault("list", 403)
    with pytest.raises(StoreError, match=r"gs://b/team/runs/k/ cannot be used: 403 ") as caught:
        sharing.fetch(one, one.run("k"))
    assert "Storage Object User on the bucket 'b'" in caught.value.remedy


def test_times_of_change_are_told_apart_to_the_nanosecond(bucket: Any, pod: Any) -> None:
    """A file that was rewritten at once, to the same size, is sent."""
    one = pod()
    write(one, train_json="1")
    path = one.run("k") / "train.json"
    path.write_text("2")
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 1))
    sharing.push(one)
    assert read(pod()) == {"train.json": "2"}


@pytest.mark.parametrize("name", ["../../x", "a/../../../x", "/x", "a//x", "./x"])
def test_no_name_in_a_store_leads_out_of_its_folder(name: str, bucket: Any, pod: Any) -> None:
    """What is called so is passed over: whoever may write objects may not write other files."""
    one = pod()
    bucket.put(f"team/runs/k/{name}", b"malice")
    bucket.put("team/runs/k/train.json", b"t")
    assert read(one) == {"train.json": "t"}
    assert list(one.root.parents[1].rglob("x")) == []


@pytest.mark.parametrize("key", ["../..", "../data/x", "/etc"])
def test_no_run_key_leads_out_of_the_state_folder(key: str, store: str, pod: Any) -> None:
    """They are read from the tags of versions: what lies elsewhere on this machine is not sent."""
    one = pod()
    with pytest.raises(StateError, match="leads out of the folder"):
        sharing.fetch(one, one.run("k").parent / key)
    sharing.push(one)
    assert list(place(store).names()) == []


def test_a_file_that_goes_while_it_is_looked_at_is_passed_over(store: str, pod: Any) -> None:
    """Another process may share the state folder."""
    one = pod()
    one.run("k").mkdir(parents=True)
    (one.run("k") / "a").symlink_to("nowhere")
    write(one, train_json="t")
    assert list(place(store).names()) == ["runs/k/train.json"]
