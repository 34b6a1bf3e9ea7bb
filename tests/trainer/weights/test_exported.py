"""Weights out of an exported model: a file in Keras' format, and its description."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from trainer.config import Model
from trainer.errors import WeightsError
from trainer.models import classifier, zoo
from trainer.weights import exported

CLASSES = ["cat", "dog", "eel"]
RECIPE = {"variant": "inception_module", "width": 0.1, "image_size": 8}


def network(classes: int = 3, **options: Any) -> keras.Model:
    return zoo.build(Model.model_validate(RECIPE | options), classes)


@pytest.fixture(scope="module")
def trained() -> dict[str, Any]:
    keras.utils.set_random_seed(5)
    held = classifier.weights_of(classifier.for_training(Model.model_validate(RECIPE), 3, (8, 8)))
    return {path: array + np.float32(0.01) for path, array in held.items()}


@pytest.fixture(scope="module")
def file(trained: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `inception export --format keras` leaves it."""
    path = tmp_path_factory.mktemp("export") / "pets.keras"
    classifier.for_serving([trained], Model.model_validate(RECIPE), 3).save(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    told = {"classes": CLASSES, "files": {path.name: digest}, "model": {"variant": "inception_module"}}
    path.with_name("pets.keras.json").write_text(json.dumps(told), encoding="utf-8")
    return path


def test_a_network_begins_with_an_exports_weights(file: Path, trained: dict[str, Any], tmp_path: Path) -> None:
    """All of them, to the bit; the address and the checksum are told, and no version."""
    begun_with = network()
    begun = exported.fill(exported.find(str(file), "inception_module", CLASSES, tmp_path), begun_with, 1)
    assert all(np.array_equal(variable.numpy(), trained[variable.path]) for variable in begun_with.weights)
    assert begun.tags == {"init": str(file), "init_sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    assert str(begun).startswith(f"the export's weights ({file}, sha256 ")


def test_classes_are_paired_by_name(file: Path, trained: dict[str, Any], tmp_path: Path) -> None:
    """Other classes: the body and the columns of those that both know."""
    begun_with = network()
    exported.fill(exported.find(str(file), "inception_module", ["ant", "dog", "cat"], tmp_path), begun_with, 1)
    held = {variable.path: variable.numpy() for variable in begun_with.weights}
    kernel = next(path for path in held if path.startswith("head.logits/kernel"))
    assert np.array_equal(held[kernel][:, [1, 2]], trained[kernel][:, [1, 0]])
    assert not np.array_equal(held[kernel][:, 0], trained[kernel][:, 2])


def test_a_file_that_does_not_fit_is_refused(file: Path, tmp_path: Path) -> None:
    """Another width; unlike a warm start, no training begins with random weights instead."""
    start = exported.find(str(file), "inception_module", CLASSES, tmp_path)
    other = network(width=0.2)
    before = [variable.numpy() for variable in other.weights]
    with pytest.raises(WeightsError, match=r"do not fit: .* has the shape .* in the export and .* in this network"):
        exported.fill(start, other, 1)
    assert all(np.array_equal(one.numpy(), two) for one, two in zip(other.weights, before, strict=True))


def spoilt(file: Path, folder: Path, case: str) -> Path:
    path = folder / file.name
    content, description = bytearray(file.read_bytes()), file.with_name(f"{file.name}.json").read_text()
    if case == "damaged":
        content[len(content) // 2] ^= 1
    if case != "missing":
        path.write_bytes(content)
    if case != "undescribed":
        path.with_name(f"{file.name}.json").write_text("[]" if case == "odd" else description)
    return path


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("missing", "There is no file"),
        ("undescribed", r"There is no file .*pets\.keras\.json"),
        ("odd", "cannot be read as an exported model"),
        ("damaged", "is damaged"),
    ],
)
def test_what_is_no_whole_export_is_refused(file: Path, tmp_path: Path, case: str, words: str) -> None:
    """Nothing there, no description, another one, and one bit that changed."""
    with pytest.raises(WeightsError, match=words):
        exported.find(str(spoilt(file, tmp_path, case)), "inception_module", CLASSES, tmp_path)


def test_another_network_is_refused(file: Path, tmp_path: Path) -> None:
    """The error names the variant that the file holds."""
    with pytest.raises(WeightsError, match="holds no inception_v3 network; it was exported from inception_module"):
        exported.find(str(file), "inception_v3", CLASSES, tmp_path)


@pytest.mark.parametrize("init", ["exported", "exported:", "exported:model.h5"])
def test_a_recipe_names_a_keras_file(init: str) -> None:
    """Anything else is refused when the recipe is read."""
    with pytest.raises(ValueError, match=r"must name a file that ends in \.keras"):
        Model.model_validate(RECIPE | {"init": init})
