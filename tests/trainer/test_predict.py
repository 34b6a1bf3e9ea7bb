"""Prediction with nothing but the registered model."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trainer import tracking
from trainer.errors import DataError, RegistryError
from trainer.predict import predict
from trainer.registry.mlflow import MlflowRegistry
from trainer.state import State

CLASSES = ["cat", "dog", "cow"]
"""As they call red, green and blue here."""


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory, mlflow_template: Path) -> State:
    """Version 1 tells the colour that an image has most of; version 2 is the same and does not name its classes."""
    import keras

    from trainer.train import _signature

    state = State.open(tmp_path_factory.mktemp("registered"))
    shutil.copyfile(mlflow_template, state.mlflow_database)
    images = keras.Input((None, None, 3), dtype="uint8")
    scaled = keras.layers.Rescaling(1 / 25.5, dtype="float32")(images)
    model = keras.Model(images, keras.layers.Softmax()(keras.layers.GlobalAveragePooling2D()(scaled)))
    example = np.zeros((1, 8, 8, 3), np.uint8)
    registry = MlflowRegistry(tracking.connect(state))
    for run_key, metadata in (("named", {"classes": CLASSES}), ("nameless", {})):
        with tracking.open_run(state, "e", run_key, "n") as run:
            uri = run.log_model(model, _signature(len(CLASSES)), example, [], metadata)
        registry.create_version("colours", uri, run.run_id, {})
    return state


def picture(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (20, 30)) -> Path:
    Image.new("RGB", size, colour).save(path)
    return path


def test_every_image_gets_its_likeliest_classes(registered: State, tmp_path: Path) -> None:
    """In the order given, likeliest class first; any size, any common format."""
    images = [
        picture(tmp_path / "red.png", (255, 0, 0)),
        picture(tmp_path / "green.jpg", (0, 255, 0), (300, 8)),
        picture(tmp_path / "blue.webp", (0, 0, 255), (9, 8)),
    ]
    answers = predict(registered, "colours", "1", images, 3)
    assert [answer["image"] for answer in answers] == [str(path) for path in images]
    assert [answer["classes"][0]["class"] for answer in answers] == CLASSES
    for answer in answers:
        probabilities = [one["probability"] for one in answer["classes"]]
        assert probabilities == sorted(probabilities, reverse=True)
        assert sum(probabilities) == pytest.approx(1, abs=1e-5)
        assert probabilities[0] > 0.99


@pytest.mark.parametrize(("top", "named"), [(1, 1), (2, 2), (3, 3), (10, 3)])
def test_no_more_classes_are_named_than_asked_for(top: int, named: int, registered: State, tmp_path: Path) -> None:
    """Nor more than there are."""
    [answer] = predict(registered, "colours", "1", [picture(tmp_path / "red.png", (255, 100, 0))], top)
    assert [one["class"] for one in answer["classes"]] == CLASSES[:2][:named] + (["cow"] if named == 3 else [])


def test_grey_and_transparent_images_are_read_as_colours(registered: State, tmp_path: Path) -> None:
    """As they were when the model was trained."""
    Image.new("L", (9, 9), 200).save(tmp_path / "grey.png")
    Image.new("RGBA", (9, 9), (255, 0, 0, 255)).save(tmp_path / "clear.png")
    grey, clear = predict(registered, "colours", "1", [tmp_path / "grey.png", tmp_path / "clear.png"], 3)
    assert [one["probability"] for one in grey["classes"]] == pytest.approx([1 / 3] * 3, abs=1e-5)
    assert clear["classes"][0]["class"] == "cat"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("absent.png", None, "cannot be read: No such file or directory"),
        ("text.png", b"This is no image.", "cannot be classified"),
        ("empty.png", b"", "cannot be classified"),
        ("torn.png", "torn", "cannot be classified"),
        ("folder", "folder", "cannot be read: Is a directory"),
    ],
)
def test_a_file_that_is_no_image_is_an_error(name: str, content: Any, says: str, state: State, tmp_path: Path) -> None:
    """Told by its path before any model is loaded: there is none here."""
    path = tmp_path / name
    if content == "torn":
        picture(path, (1, 2, 3), (200, 200))
        path.write_bytes(path.read_bytes()[:60])
    elif content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=says) as caught:
        predict(state, "colours", "1", [picture(tmp_path / "good.png", (1, 2, 3)), path], 1)
    assert str(path) in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize(("name", "version"), [("colours", "9"), ("unheard-of", "1")])
def test_a_model_that_is_not_there_is_an_error(name: str, version: str, registered: State, tmp_path: Path) -> None:
    """Named by its address."""
    with pytest.raises(RegistryError, match=f"models:/{name}/{version} cannot be loaded"):
        predict(registered, name, version, [picture(tmp_path / "red.png", (255, 0, 0))], 1)


def test_a_model_that_names_no_classes_is_an_error(registered: State, tmp_path: Path) -> None:
    """Somebody else registered it: numbers without names would say nothing."""
    with pytest.raises(RegistryError, match="models:/colours/2 does not name its classes"):
        predict(registered, "colours", "2", [picture(tmp_path / "red.png", (255, 0, 0))], 1)
