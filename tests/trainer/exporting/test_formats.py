"""Every format holds every kind of model: what is loaded again answers as the model does."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer.errors import EvaluationError, UsageError
from trainer.exporting import comparison, formats
from trainer.exporting.comparison import compare
from trainer.exporting.formats import FORMATS, Format
from trainer.exporting.rewriting import image_size, portable

FAST = "single module"
VIEWS = "two members, five views and their mirrors"
SLOW = [
    *((form, VIEWS) for form in FORMATS),
    *((form, "googlenet") for form in ("savedmodel", "onnx", "litert")),
    *((form, name) for name in ("the paper's views", "mirrored") for form in ("onnx", "litert", "h5+json")),
]
KERAS_OWN = ("keras", "h5+json")


Written = Callable[[str, str], Path]


def size_for(row: Format) -> formats.Size | None:
    return (21, 18) if row.one_size else None


@pytest.fixture(scope="module")
def written(make_source: Any, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """A function from a format and a model to the export, each made once."""

    @functools.cache
    def write(form: str, name: str) -> Path:
        row = FORMATS[form]
        path: Path = tmp_path_factory.mktemp("export") / f"export{row.suffix}"
        row.write(make_source(name), path, size_for(row))
        return path

    return write


@pytest.mark.parametrize(
    ("form", "name"),
    [*((form, FAST) for form in FORMATS), *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW)],
)
def test_an_export_answers_as_the_model(
    form: str, name: str, make_source: Any, written: Written, real_images: list[Any]
) -> None:
    """On real images, at their own size and at another, one and several at once."""
    source, row, path = make_source(name), FORMATS[form], written(form, name)
    assert path.is_dir() is row.is_folder
    compared = compare(row.load(path), source.answer, real_images, "digits", size_for(row), form)
    assert compared.images == len(real_images)
    assert compared.difference <= (1e-6 if form in KERAS_OWN else 5e-5)
    answers = source.answer(np.stack(real_images))
    assert np.ptp(answers, axis=0).max() > 10 * comparison.TOLERANCE, "a model that says one thing of all shows nothing"


@pytest.mark.parametrize("size", [(8, 8), (21, 18), (32, 32), (33, 97), (200, 64)])
def test_portable_resizing_is_that_of_keras(size: tuple[int, int], make_source: Any) -> None:
    """Images smaller, larger and as large as the network takes, and with other proportions."""
    model = make_source(FAST).model
    other = portable(model)
    images = np.random.default_rng(1).integers(0, 256, (2, *size, 3), np.uint8)
    np.testing.assert_allclose(other(images, training=False), model(images, training=False), atol=5e-6)
    assert not [layer for layer in other.layers if type(layer).__name__ == "Resizing"]


@pytest.mark.parametrize(("name", "size"), [(FAST, 32), (VIEWS, 16), ("mirrored", 16)])
def test_a_model_tells_what_its_network_takes(name: str, size: int, make_source: Any) -> None:
    """Whatever lies between its input and its network."""
    assert image_size(make_source(name).model) == size


def test_onnx_names_what_it_takes_and_gives(written: Written) -> None:
    """Sizes are open and have names; the file itself tells classes and origin; no operation is foreign."""
    import onnx

    made = onnx.load(str(written("onnx", FAST)))
    [given], [said] = made.graph.input, made.graph.output
    shapes = [[one.dim_param or one.dim_value for one in value.type.tensor_type.shape.dim] for value in (given, said)]
    assert (given.name, said.name) == ("images", "probabilities")
    assert shapes == [["batch", "height", "width", 3], ["batch", 10]]
    told = {one.key: one.value for one in made.metadata_props}
    assert json.loads(told["classes"])[3] == "digit 3"
    assert (told["model"], told["version"], told["run_key"]) == ("digits", "3", "k1")
    assert {node.domain for node in made.graph.node} == {""}


def test_litert_needs_no_operation_of_tensorflow(written: Written) -> None:
    """Those of TensorFlow would be called Flex in the file, and need a large library beside the interpreter."""
    assert b"Flex" not in written("litert", FAST).read_bytes()


def test_an_architecture_file_holds_layers_of_keras_alone(written: Written) -> None:
    """Reading it runs no code: no class of anybody else's, no Lambda."""
    path = written("h5+json", VIEWS)
    assert sorted(file.name for file in path.iterdir()) == ["architecture.json", "model.weights.h5"]
    nodes, named = [json.loads((path / "architecture.json").read_text())], set()
    while nodes:
        node = nodes.pop()
        if isinstance(node, dict):
            named |= {(node["module"], node["class_name"], node.get("registered_name"))} if "module" in node else set()
            nodes += node.values()
        elif isinstance(node, list):
            nodes += node
    assert len(named) > 10
    assert {(module or "keras").split(".")[0] for module, _, _ in named} <= {"keras", "builtins"}
    assert not [name for _, _, name in named if name and ">" in name], "registered by others"
    assert "Lambda" not in {name for _, name, _ in named}


@pytest.mark.parametrize(
    ("spoilt", "says"),
    [
        (lambda answers: answers + 2e-3, "probabilities differ by up to 0.002"),
        (lambda answers: answers * np.nan, "differ by up to nan"),
        (lambda answers: answers[:, :9], "differ by up to inf"),
    ],
    ids=["other numbers", "no numbers", "other classes"],
)
def test_an_export_that_answers_otherwise_is_refused(
    spoilt: Any, says: str, make_source: Any, real_images: list[Any]
) -> None:
    """With the greatest difference."""
    answer = make_source(FAST).answer
    with pytest.raises(EvaluationError, match=says):
        compare(lambda images: spoilt(answer(images)), answer, real_images, "digits", None, "onnx")


def test_an_export_that_does_not_answer_is_refused(make_source: Any, real_images: list[Any]) -> None:
    """With what its runtime says, and for which images."""

    def answer(images: Any) -> Any:
        if images.shape[1] != 8:
            raise RuntimeError("Got invalid dimensions for input\nand more")
        return make_source(FAST).answer(images)

    with pytest.raises(EvaluationError, match=r"does not answer 4 images of 11×16: Got invalid dimensions for input\."):
        compare(answer, make_source(FAST).answer, real_images, "digits", None, "onnx")


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to install."""
    monkeypatch.setattr(formats.importlib.util, "find_spec", lambda name: None if name == "tf2onnx" else object())
    with pytest.raises(UsageError, match="The format onnx needs tf2onnx, which is not installed") as caught:
        FORMATS["onnx"].check_installed()
    assert "inception-retrain[export]" in caught.value.remedy
    FORMATS["litert"].check_installed()
