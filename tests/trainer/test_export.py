"""The verb `export`: what it refuses, and what it leaves."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from trainer.errors import DataError, EvaluationError, InceptionError, StateError, UsageError
from trainer.export import export
from trainer.exporting import formats
from trainer.judging import training_files
from trainer.registry import opened_registry
from trainer.registry.lookup import Found, lookup
from trainer.state import State


@pytest.fixture
def found(colours: State) -> Found:
    return lookup(opened_registry(colours), "colours")


def test_an_export_can_be_used_alone(colours: State, found: Found, tmp_path: Path) -> None:
    """What lies beside it names classes, input, origin, and the digests of model and file."""
    (tmp_path / "new").mkdir()
    exported = export(colours, found, "keras", tmp_path / "new" / "colours.keras")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["colours.keras", "colours.keras.json"]
    told = json.loads((tmp_path / "new" / "colours.keras.json").read_text())
    assert told == exported.told
    assert told["classes"] == ["cat", "dog", "cow"]
    assert told["input"]["shape"] == [None, None, None, 3]
    assert (told["model"]["name"], told["model"]["version"], told["model"]["run_key"]) == ("colours", "1", "key-1")
    digest = hashlib.sha256(exported.path.read_bytes()).hexdigest()
    assert told["files"] == {"colours.keras": digest}
    assert told["model"]["sha256"] == digest
    assert told["compared"]["which"] == "images of its input example"
    model = keras.saving.load_model(exported.path)
    assert np.argmax(model(np.full((1, 9, 9, 3), (0, 255, 0), np.uint8))) == 1


def test_a_folder_holds_its_description(colours: State, found: Found, tmp_path: Path) -> None:
    """And is described file by file."""
    export(colours, found, "h5+json", tmp_path / "h5")
    assert [path.name for path in tmp_path.iterdir()] == ["h5"]
    told = json.loads((tmp_path / "h5" / "export.json").read_text())
    assert set(told["files"]) == {"architecture.json", "model.weights.h5"}


def test_images_that_are_given_are_compared(colours: State, found: Found, tmp_path: Path) -> None:
    """Those that are no images are refused."""
    for number in range(3):
        Image.new("RGB", (8 + number, 20), (50 * number, 9, 9)).save(tmp_path / f"{number}.png")
    exported = export(colours, found, "keras", tmp_path / "a.keras", images=[f"{tmp_path}/*.png"])
    assert exported.told["compared"]["images"] == 3
    (tmp_path / "3.png").touch()
    with pytest.raises(DataError, match=r"3\.png cannot be classified: the file is empty"):
        export(colours, found, "keras", tmp_path / "b.keras", images=[str(tmp_path)])


@pytest.mark.parametrize("same", [True, False], ids=["as trained", "damaged"])
def test_a_model_is_held_against_its_golden_images(
    same: bool, colours: State, found: Found, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that does not answer as it did when it was trained is not exported."""
    image = np.full((9, 9, 3), (255, 0, 0), np.uint8)
    answers = np.array([[1.0, 0.0, 0.0] if same else [0.0, 1.0, 0.0]], np.float32)
    kept = {"image_0": image, "answers": answers, "gpu": np.array(False)}
    monkeypatch.setattr(training_files, "fetch", lambda *_: kept)
    if same:
        exported = export(colours, found, "keras", tmp_path / "a.keras")
        assert exported.told["compared"]["which"] == "golden images of its training"
        return
    with pytest.raises(EvaluationError, match="golden images otherwise"):
        export(colours, found, "keras", tmp_path / "a.keras")
    assert list(tmp_path.iterdir()) == []


REFUSED: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "another ending": ("keras", "a.onnx", {}, r"a\.onnx' for the format keras"),
    "no ending": ("onnx", "a", {}, r"/a' for the format onnx"),
    "a size where any is held": ("savedmodel", "a", {"image_size": (8, 8)}, "--image-size with the format savedmodel"),
    "no size to be known": ("litert", "a.tflite", {}, "cannot be told what size of image models:/colours/1 takes"),
    "a file that is there": ("keras", "there.keras", {}, "there.keras is there already"),
    "no name": ("keras", ".", {}, r"Received the output '\.' for the format keras"),
    "no name for a folder": ("savedmodel", ".", {"overwrite": True}, r"Received the output '\.' for the"),
    "the root": ("keras", "/", {}, "Received the output '/' for"),
    "the folder above": ("onnx", "..", {}, r"Received the output '\.\.' for"),
    "another's file for its description": ("keras", "mine.keras", {"overwrite": True}, "describes no export"),
    "a lone description": ("keras", "lone.keras", {}, r"lone\.keras\.json is there already\."),
    "a folder for a file": ("keras", "folder.keras", {"overwrite": True}, "folder that holds something else"),
    "a file for a folder": ("savedmodel", "there.keras", {"overwrite": True}, "is a file: the format savedmodel makes"),
    "no folder": ("keras", "no/a.keras", {}, "There is no folder .*/no' for "),
    "a folder of others": ("h5+json", "folder.keras", {"overwrite": True}, "folder that holds something else"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_output_that_cannot_be_one_is_refused(case: str, colours: State, found: Found, tmp_path: Path) -> None:
    """Nothing is changed, and nothing is left behind."""
    form, output, options, says = REFUSED[case]
    (tmp_path / "there.keras").write_text("mine")
    (tmp_path / "mine.keras.json").write_text("{}")
    (tmp_path / "lone.keras.json").write_text('{"format": "keras", "load_with": "x", "files": {}}')
    (tmp_path / "folder.keras").mkdir()
    (tmp_path / "folder.keras" / "letter.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match=says) as caught:
        export(colours, found, form, Path(output) if output in (".", "..") else tmp_path / output, **options)
    assert caught.value.remedy
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(("form", "output"), [("keras", "a.keras"), ("h5+json", "a")])
def test_an_earlier_export_is_replaced_when_asked(
    form: str, output: str, colours: State, found: Found, tmp_path: Path
) -> None:
    """Wholly."""
    first = export(colours, found, form, tmp_path / output)
    if first.path.is_dir():
        (first.path / "stale.txt").touch()
    else:
        first.path.write_text("stale")
    with pytest.raises(UsageError, match="is there already"):
        export(colours, found, form, tmp_path / output)
    second = export(colours, found, form, tmp_path / output, overwrite=True)
    assert second.told == json.loads(second.description.read_text())
    assert len(list(tmp_path.iterdir())) == (1 if first.path.is_dir() else 2)
    assert not (tmp_path / output / "stale.txt").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"load": lambda _, path: lambda images: np.zeros((len(images), 3), np.float32)},
            "answers the images of its input example .1. otherwise",
        ),
        ({"load": lambda _, path: path.open_nothing()}, "cannot be written as keras: .*open_nothing"),
        ({"write": lambda _, source, path, size: path.mkdir(parents=True) or path.touch("x")}, "cannot be written"),
    ],
    ids=["answers otherwise", "cannot be loaded", "cannot be written"],
)
def test_an_export_that_fails_leaves_nothing(
    change: dict[str, Any], says: str, colours: State, found: Found, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The earlier one stays, with its description."""
    earlier = export(colours, found, "keras", tmp_path / "a.keras")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    spoilt = type("Spoilt", (formats.Format,), change)(**vars(formats.FORMATS["keras"]))
    monkeypatch.setitem(formats.FORMATS, "keras", spoilt)
    with pytest.raises(EvaluationError, match=says) as caught:
        export(colours, found, "keras", earlier.path, overwrite=True)
    assert caught.value.remedy
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("form", "output", "moves"),
    [
        ("keras", "a.keras", 0),
        ("keras", "a.keras", 1),
        ("keras", "a.keras", 2),
        ("h5+json", "a", 0),
        ("h5+json", "a", 1),
    ],
)
def test_an_export_that_cannot_be_moved_leaves_the_earlier_one(
    form: str, output: str, moves: int, colours: State, found: Found, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No description ever lies beside a file that it does not fit, whichever of the moves is refused."""
    earlier = export(colours, found, form, tmp_path / output)
    (tmp_path / output / "earlier" if earlier.path.is_dir() else tmp_path / output).write_text("earlier")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    whole, done = os.replace, 0

    def move(source: Path, target: Path) -> None:
        nonlocal done
        if {tmp_path / output, earlier.description} & {source, target}:
            done += 1
            if done == moves + 1:
                raise PermissionError(errno.EACCES, "Permission denied")
        whole(source, target)

    monkeypatch.setattr(os, "replace", move)
    with pytest.raises(StateError, match=rf"{output} cannot be written: Permission denied") as caught:
        export(colours, found, form, tmp_path / output, overwrite=True)
    assert caught.value.remedy == "Choose another --output."
    if moves == 2:
        assert [path.name for path in tmp_path.iterdir()] == [output]
    else:
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("version", "says"), [("2", "does not name its classes"), ("3", "models:/colours/3 cannot be loaded")]
)
def test_a_model_that_cannot_be_used_is_an_error(
    version: str, says: str, colours: State, found: Found, tmp_path: Path
) -> None:
    """It has no classes, or its files are gone."""
    other = Found.of(opened_registry(colours).get("colours", version))
    with pytest.raises(InceptionError, match=says) as caught:
        export(colours, other, "keras", tmp_path / "a.keras")
    assert caught.value.remedy
    assert list(tmp_path.iterdir()) == []
