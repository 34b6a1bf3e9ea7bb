"""Checkpoints: two are kept, a damaged one is as good as absent, a killed writer leaves the one before.

What holds for a folder holds for a bucket, so most tests run on both.
"""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from trainer import config
from trainer.errors import ForeignCheckpoint, StateError
from trainer.record import Epoch
from trainer.state import State
from trainer.storage import Folder
from trainer.training import array_file
from trainer.training.checkpoints import Checkpoints, Position, belonging, opened

ARRAYS = {
    "model/0000/conv/kernel": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "optimizer/0000/iteration": np.array(7, np.int64),
    "model/0001/seed": np.array([1, 2**32 - 1], np.uint32),
    "sums": np.array([0.1 + 0.2, 1e-300, 3.0]),
    "nothing": np.zeros((0, 3), np.float32),
    "ema/0000/conv/kernel": np.arange(4).astype(ml_dtypes.bfloat16),
    "best/ünd so": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "flag": np.array([True, False]),
}
BELONGS_TO = {"data fingerprint": "f", "train.epochs": 3}
CURVES = [
    Epoch(
        epoch=1,
        loss=0.1 + 0.2,
        accuracy=0.5,
        validation_loss=1 / 3,
        validation_accuracy=0.25,
        learning_rate=0.01,
        images_per_second=100.0,
        seconds=1.5,
    )
]

DIE_BETWEEN = """
import os, signal, sys
import numpy as np
from trainer.training import checkpoints
real = os.replace
def replace(beside, path):
    if str(path).endswith(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    real(beside, path)
os.replace = replace
kept = checkpoints.Checkpoints(sys.argv[1], {"data fingerprint": "f", "train.epochs": 3})
kept.save(checkpoints.Position(20, 1.0, 1.0), [], {"a": np.zeros(1000)})
kept.wait()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints" / "k"


@pytest.fixture
def in_folder(folder: Path) -> Checkpoints:
    return Checkpoints(folder, BELONGS_TO)


@pytest.fixture(params=["folder", "bucket"])
def checkpoints(request: pytest.FixtureRequest, folder: Path) -> Checkpoints:
    if request.param == "folder":
        return Checkpoints(folder, BELONGS_TO)
    request.getfixturevalue("storage")
    return Checkpoints("gs://b/checkpoints/k", BELONGS_TO)


def save(checkpoints: Checkpoints, step: int) -> None:
    checkpoints.save(Position(step, step / 3, 0.25), CURVES, {**ARRAYS, "at": np.array(step)})
    checkpoints.wait()


def files(checkpoints: Checkpoints) -> list[str]:
    """Their names, without what is drawn at random."""
    return sorted(name[:14] + name[name.rindex(".") :] for name in checkpoints.place.names())


def rewrite(checkpoints: Checkpoints, stem: str, end: str, change: Callable[[bytes], bytes | None]) -> None:
    """Put another content into a checkpoint's file; None takes it away."""
    [name] = [name for name in checkpoints.place.names() if name.startswith(stem) and name.endswith(end)]
    content = change(checkpoints.place.read(name))
    checkpoints.place.remove(name)
    if content is not None:
        checkpoints.place.write(name, content)


def step_of(checkpoints: Checkpoints) -> int | None:
    found = checkpoints.latest()
    return found.position.step if found else None


def test_a_checkpoint_comes_back_to_the_last_bit(checkpoints: Checkpoints) -> None:
    """Position with whatever the loop remembers, curves, and every array with its type and shape."""
    loop = {"restarts": 1, "rate": 0.1 + 0.2, "best": {"epoch": None, "loss": float("inf")}, "names": ["a", "ü"]}
    checkpoints.save(Position(10, 10 / 3, 0.25, loop), CURVES, {**ARRAYS, "at": np.array(10)})
    found = checkpoints.latest()
    assert found is not None
    assert found.position == Position(10, 10 / 3, 0.25, loop)
    assert found.curves == CURVES
    assert found.arrays.keys() == {*ARRAYS, "at"}
    for name, array in ARRAYS.items():
        assert found.arrays[name].dtype == array.dtype
        assert found.arrays[name].shape == array.shape
        assert found.arrays[name].tobytes() == array.tobytes()


def test_none_is_none(checkpoints: Checkpoints) -> None:
    """A training that never wrote one begins at the start; there is nothing to clear."""
    assert checkpoints.latest() is None
    checkpoints.clear()
    assert files(checkpoints) == []


def test_two_are_kept(checkpoints: Checkpoints) -> None:
    """The newest and the one before, by step and not by spelling."""
    for step in (9, 10, 99, 100, 1_000_000):
        save(checkpoints, step)
    assert files(checkpoints) == [
        f"step-{step}.{end}" for step in ("000000100", "001000000") for end in ("json", "safetensors")
    ]
    assert step_of(checkpoints) == 1_000_000


def test_what_a_training_that_went_back_had_reached_is_forgotten(checkpoints: Checkpoints) -> None:
    """It is no longer true once the training writes its next checkpoint."""
    for step in (10, 20, 30):
        save(checkpoints, step)
    save(checkpoints, 20)
    assert step_of(checkpoints) == 20
    save(checkpoints, 25)
    assert [name[:14] for name in files(checkpoints)] == ["step-000000020"] * 2 + ["step-000000025"] * 2


def test_a_step_that_is_written_again_is_replaced(checkpoints: Checkpoints) -> None:
    """A resumed training passes the same steps again."""
    save(checkpoints, 10)
    checkpoints.save(Position(10, 99.0, 0.0), [], ARRAYS)
    found = checkpoints.latest()
    assert found is not None
    assert found.position.seconds == 99.0
    assert len(files(checkpoints)) == 2


def _gone(content: bytes) -> None:
    return None


def _without(key: str) -> Callable[[bytes], bytes]:
    return lambda content: json.dumps({k: v for k, v in json.loads(content).items() if k != key}).encode()


def _older(content: bytes) -> bytes:
    about = json.loads(content)
    about["curves"][0].pop("accuracy")
    return json.dumps(about).encode()


def _flip(content: bytes) -> bytes:
    at = len(content) // 2
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


@pytest.mark.parametrize(
    ("end", "damage"),
    [
        ("safetensors", lambda content: content[:-100]),
        ("safetensors", _flip),
        ("safetensors", lambda content: b""),
        ("safetensors", _gone),
        ("json", _gone),
        ("json", lambda content: b""),
        ("json", lambda content: b"[]"),
        ("json", lambda content: b"\xff\xfe"),
        ("json", lambda content: content[:-100]),
        ("json", _without("position")),
        ("json", _without("format")),
        ("json", _older),
    ],
)
def test_of_a_damaged_one_the_one_before_is_used(
    end: str,
    damage: Callable[[bytes], bytes | None],
    checkpoints: Checkpoints,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Truncated, one bit flipped, a file of the two missing, written by another version; it is said, not raised."""
    save(checkpoints, 10)
    save(checkpoints, 20)
    rewrite(checkpoints, "step-000000020", end, damage)
    found = checkpoints.latest()
    assert found is not None
    assert found.position.step == 10
    assert int(found.arrays["at"]) == 10
    said = capsys.readouterr().out
    gone = end == "json" and damage is _gone
    assert ("checkpoint step-000000020 is damaged" in said) is not gone


def test_when_all_are_damaged_there_is_none(checkpoints: Checkpoints) -> None:
    """The training begins at the start, and its new checkpoints count again."""
    for step in (10, 20):
        save(checkpoints, step)
        rewrite(checkpoints, f"step-0000000{step}", "safetensors", _flip)
    assert checkpoints.latest() is None
    save(checkpoints, 10)
    assert step_of(checkpoints) == 10


@pytest.mark.parametrize("file", ["safetensors", "json"])
def test_a_writer_that_is_killed_leaves_the_one_before(
    file: str, in_folder: Checkpoints, folder: Path, run_python: Callable[..., Any]
) -> None:
    """Between its two files too; the next write and the end of the training leave nothing of it."""
    save(in_folder, 10)
    done = run_python(DIE_BETWEEN, str(folder), file)
    assert done.returncode == -signal.SIGKILL
    assert len(files(in_folder)) == (3 if file == "safetensors" else 4)
    assert step_of(in_folder) == 10
    save(in_folder, 30)
    assert step_of(in_folder) == 30
    assert len(files(in_folder)) == 4
    assert done.returncode == run_python(DIE_BETWEEN, str(folder), file).returncode
    in_folder.clear()
    assert not folder.exists()


@pytest.mark.parametrize("ending", [".safetensors", ".json"])
def test_an_upload_that_fails_leaves_the_one_before(ending: str, storage: Any) -> None:
    """Half an upload is no object; the error comes with the next save, which replaces it."""
    checkpoints = Checkpoints("gs://b/k", BELONGS_TO)
    save(checkpoints, 10)
    storage.fault("upload", 403, ending=ending)
    checkpoints.save(Position(20, 1.0, 1.0), [], ARRAYS)
    with pytest.raises(StateError, match=rf"gs://b/k/step-000000020.*{ending} cannot be used: 403"):
        checkpoints.save(Position(30, 1.0, 1.0), [], ARRAYS)
    assert step_of(checkpoints) == 10
    save(checkpoints, 30)
    assert step_of(checkpoints) == 30
    assert files(checkpoints) == [f"step-0000000{n}.{end}" for n in (10, 30) for end in ("json", "safetensors")]


def test_one_that_was_to_be_replaced_stays_until_its_successor_is_whole(storage: Any) -> None:
    """Of the same step too: the files of the two have different names until then."""
    checkpoints = Checkpoints("gs://b/k", BELONGS_TO)
    save(checkpoints, 10)
    storage.fault("upload", 403, ending=".json")
    checkpoints.save(Position(10, 99.0, 0.0), [], {"a": np.zeros(3)})
    with pytest.raises(StateError, match="403"):
        checkpoints.wait()
    found = checkpoints.latest()
    assert found is not None
    assert found.position.seconds == 10 / 3
    assert found.arrays.keys() == {*ARRAYS, "at"}


def test_a_bucket_that_errs_now_and_then_holds_them_all_the_same(storage: Any) -> None:
    """Answers of the kind that pass, lost connections and lost answers are waited for."""
    checkpoints = Checkpoints("gs://b/k", BELONGS_TO)
    for operation, action in (
        ("upload", 503),
        ("upload", "drop"),
        ("upload", "lose"),
        ("download", "truncate"),
        ("list", 429),
        ("delete", 500),
    ):
        storage.fault(operation, action, times=2)
    for step in (10, 20, 30):
        save(checkpoints, step)
    assert step_of(checkpoints) == 30
    checkpoints.clear()
    assert storage.names() == []


def test_a_place_that_cannot_be_read_is_no_damage(storage: Any) -> None:
    """To begin at the start because a service is away for a minute would throw the training away."""
    checkpoints = Checkpoints("gs://b/k", BELONGS_TO)
    save(checkpoints, 10)
    for operation in ("list", "download"):
        storage.fault(operation, 403)
        with pytest.raises(StateError, match="cannot be used: 403"):
            checkpoints.latest()


def test_clearing_forgets_all_and_no_more(in_folder: Checkpoints, folder: Path) -> None:
    """A file that is none of ours stays, and so does its folder."""
    save(in_folder, 10)
    save(in_folder.of_member(2), 10)
    in_folder.clear()
    assert not folder.exists()
    save(in_folder, 10)
    (folder / "notes.txt").touch()
    in_folder.clear()
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_members_of_an_ensemble_have_their_own(checkpoints: Checkpoints) -> None:
    """None sees the other's, or takes one that was moved; clearing the whole forgets all."""
    first, second = checkpoints.of_member(1), checkpoints.of_member(2)
    save(first, 10)
    for step in (20, 30, 40):
        save(second, step)
    assert (step_of(first), step_of(second), step_of(checkpoints)) == (10, 40, None)
    save(checkpoints, 5)
    assert len(files(first)) == 2
    for name in list(second.place.names()):
        first.place.write(name, second.place.read(name))
    with pytest.raises(ForeignCheckpoint, match="member is 2 there and 1 here"):
        first.latest()
    checkpoints.clear()
    assert list(checkpoints.place.names()) == []


def test_a_folder_that_cannot_be_written_is_an_error(in_folder: Checkpoints, folder: Path) -> None:
    """One that says which, at the next save or when it is waited for."""
    folder.parent.parent.mkdir(exist_ok=True)
    folder.parent.write_text("in the way")
    with pytest.raises(StateError, match="is not a folder that can hold the state"):
        save(in_folder, 10)
    in_folder.wait()


def test_a_full_disk_is_an_error_with_its_remedy(folder: Path, run_python: Callable[..., Any]) -> None:
    """And leaves nothing half written."""
    code = (
        "import resource, sys\n"
        "import numpy as np\n"
        "from trainer.training.checkpoints import Checkpoints, Position\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "kept = Checkpoints(sys.argv[1], {})\n"
        "kept.save(Position(1, 1.0, 1.0), [], {'a': np.zeros(10_000)})\n"
        "kept.wait()\n"
    )
    done = run_python(code, str(folder))
    assert "StateError: No space is left to write" in done.stderr
    assert list(folder.iterdir()) == []


def save_and_raise(checkpoints: Checkpoints, error: BaseException) -> None:
    with checkpoints:
        checkpoints.save(Position(10, 1.0, 1.0), [], ARRAYS)
        raise error


def test_a_save_does_not_wait_for_its_writer(
    in_folder: Checkpoints, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one does, and so does the end of a `with` block; not an interruption."""
    go_on = threading.Event()
    real = array_file.write

    def slow(*arguments: Any) -> str:
        assert go_on.wait(30)
        return real(*arguments)

    monkeypatch.setattr(array_file, "write", slow)
    with pytest.raises(KeyboardInterrupt):
        save_and_raise(in_folder, KeyboardInterrupt())
    assert not list(folder.glob("*.json"))
    go_on.set()
    with in_folder:
        in_folder.save(Position(20, 1.0, 1.0), [], ARRAYS)
    assert len(list(folder.glob("*.json"))) == 2


def test_an_error_of_the_training_is_not_hidden_by_its_last_checkpoints(
    in_folder: Checkpoints, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """That is noted beside it."""
    folder.parent.parent.mkdir(exist_ok=True)
    folder.parent.write_text("in the way")
    with pytest.raises(ZeroDivisionError):
        save_and_raise(in_folder, ZeroDivisionError())
    assert "the last checkpoint could not be written: " in capsys.readouterr().out


def test_arrays_that_cannot_be_written_are_refused_by_name(in_folder: Checkpoints) -> None:
    """Rather than written as something else."""
    in_folder.save(Position(10, 1.0, 1.0), [], {"words": np.array(["a"])})
    with pytest.raises(TypeError, match="'words' is of type <U1"):
        in_folder.wait()


def recipe(*overrides: str) -> config.Recipe:
    text = """
        data = {source = "digits"}
        model = {variant = "inception_module", image_size = 32}
        train = {epochs = 3, batch_size = 16, optimizer = {name = "adamw"}}
        gate = {threshold = 0.5}
        registry = {name = "r"}
    """
    return config.parse(text, overrides)


@pytest.mark.parametrize(
    ("overrides", "fingerprint", "says"),
    [
        (["train.epochs=4"], "f", ["train.epochs is 3 there and 4 here."]),
        (["data.limit=96"], "f", ["data.limit is absent there and 96 here."]),
        (["model.width=0.5"], "f", ["model.width is 1.0 there and 0.5 here."]),
        (["transfer={head_epochs=1}"], "f", ["transfer.head_epochs is absent there and 1 here", "rate_factor"]),
        (["train.optimizer={name='sgd'}"], "f", ['train.optimizer.name is "adamw" there and "sgd" here', "absent"]),
        (["train.augment.flip=true", "train.seed=7"], "f", ["augment.flip is false", "train.seed is 0 there and 7"]),
        ([], "g", ['data fingerprint is "f" there and "g" here.']),
        (
            [f"train.augment.{key}=0.1" for key in ("shift", "zoom", "mixup", "cutmix", "rotation", "shear")],
            "f",
            ["train.augment.rotation is 0.0 there and 0.1 here", ", and 1 more."],
        ),
    ],
)
def test_one_of_another_recipe_is_refused(
    overrides: list[str], fingerprint: str, says: list[str], state: State
) -> None:
    """With the first five values that differ, and what to do; it stays where it is."""
    save(opened(recipe(), "f", "k", state), 10)
    ours = opened(recipe(*overrides), fingerprint, "k", state)
    with pytest.raises(ForeignCheckpoint) as caught:
        ours.latest()
    assert caught.value.message.startswith(f"The checkpoint in {state.checkpoints('k')} belongs to another training: ")
    assert all(words in caught.value.message for words in says), caught.value.message
    assert f"Remove {state.checkpoints('k')} to train from the start" in caught.value.remedy
    assert step_of(opened(recipe(), "f", "k", state)) == 10


def test_what_does_not_reach_the_training_does_not_matter(state: State) -> None:
    """How a model is judged, named, or what it may use."""
    save(opened(recipe(), "f", "k", state), 10)
    other = recipe("gate.threshold=0.9", "evaluate.batch_size=8", "registry.name=other", "resources.workers=3")
    assert step_of(opened(other, "f", "k", state)) == 10
    assert belonging(other, "f") == belonging(recipe(), "f")


def test_the_recipe_says_where_they_are(state: State, tmp_path: Path, storage: Any) -> None:
    """Each run key has a place of its own there."""
    assert opened(recipe(), "f", "k", state).place.address == str(state.checkpoints("k"))
    elsewhere = opened(recipe(f"resources.checkpoints={tmp_path}/volume"), "f", "k", state)
    assert isinstance(elsewhere.place, Folder)
    save(elsewhere, 10)
    assert len(list((tmp_path / "volume" / "k").iterdir())) == 2
    elsewhere.clear()
    assert not (tmp_path / "volume" / "k").exists()
    bucket = opened(recipe("resources.checkpoints=gs://b/some/where/"), "f", "k", state)
    save(bucket, 10)
    assert all(name.startswith("some/where/k/step-000000010") for name in storage.names())
    with pytest.raises(StateError, match="there is no store 's33'"):
        opened(recipe("resources.checkpoints=s33://b"), "f", "k", state)
