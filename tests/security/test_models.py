"""Model and weights files that would run code, read files of this machine, or take all of its memory."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer.models import archive
from trainer.models.archive import CONFIG, UnsafeModel

PLAIN: dict[str, Any] = {
    "module": "keras.src.models.functional",
    "class_name": "Functional",
    "registered_name": "Functional",
    "config": {
        "name": "m",
        "trainable": True,
        "layers": [
            {
                "module": "keras.layers",
                "class_name": "InputLayer",
                "registered_name": None,
                "config": {"batch_shape": [None, 4], "dtype": "float32", "name": "x"},
                "name": "x",
                "inbound_nodes": [],
            }
        ],
        "input_layers": ["x", 0, 0],
        "output_layers": ["x", 0, 0],
    },
}


class Deed:
    """Pickled, it is a call that leaves a file; whoever reads the pickle makes it."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def model(path: Path, *layers: dict[str, Any], **members: bytes) -> Path:
    """A `.keras` file with these layers after the first."""
    config = json.loads(json.dumps(PLAIN))
    config["config"]["layers"] += layers
    content = {"metadata.json": b"{}", CONFIG: json.dumps(config).encode(), "model.weights.h5": b""}
    with zipfile.ZipFile(path, "w") as file:
        for name, value in {**content, **members}.items():
            file.writestr(name, value)
    return path


def layer(
    name: str, module: str | None = "keras.layers", registered: str | None = None, **config: Any
) -> dict[str, Any]:
    return {"module": module, "class_name": name, "registered_name": registered, "config": config}


UNSAFE: dict[str, dict[str, Any]] = {
    "a lambda": layer("Lambda", function={"class_name": "__lambda__", "config": {"value": ["4wAA", None, None]}}),
    "a lambda in a known layer": layer(
        "Activation", activation={"class_name": "__lambda__", "config": {"value": ["4wAA", None, None]}}
    ),
    "a function of any module": layer("Activation", activation=layer("system", "os", "function")),
    "a class of any module": layer("Popen", "subprocess"),
    "a class that the process has registered": layer("Dense", registered="theirs>Dense"),
    "a SavedModel": layer("TFSMLayer", filepath="/x"),
    "PyTorch's pickles": layer("TorchModuleWrapper", module="gASV"),
    "a vocabulary file": layer("StringLookup", vocabulary="/etc/passwd"),
    "a download": layer("get_file", "keras.utils", origin="http://127.0.0.1:9/x"),
    "a switch": layer("enable_unsafe_deserialization", "keras.config"),
    "a class without a module": layer("Dense", None),
    "deep inside": layer("Dense", kernel_initializer=[{"a": [{"b": layer("Lambda")}]}]),
    "a name that is none": {"module": "keras.layers", "class_name": ["Dense"], "config": {}},
}


@pytest.mark.parametrize("what", UNSAFE)
def test_a_model_that_names_what_no_network_is_made_of_is_refused(what: str, tmp_path: Path) -> None:
    """Before Keras sees it, whatever Keras' own safe mode says of it."""
    with pytest.raises(UnsafeModel, match="which no network of this project is made of"):
        archive.expect_harmless(model(tmp_path / "model.keras", UNSAFE[what]))


OTHERS: dict[str, Callable[[Path], Any]] = {
    "a pickle by that name": lambda path: path.write_bytes(pickle.dumps(Deed(path.with_name("done")))),
    "a member beside": lambda path: model(path, **{"../../evil.py": b"x"}),
    "an absolute member": lambda path: model(path, **{"/evil.py": b"x"}),
    "assets": lambda path: model(path, **{"assets/vocabulary.txt": b"x"}),
    "a nested configuration": lambda path: model(path, **{CONFIG: b'{"a":' * 100_000}),
    "an endless configuration": lambda path: model(path, **{CONFIG: b" " * (archive.MOST_CONFIG_BYTES + 1)}),
    "nothing": lambda path: path.write_bytes(b""),
    "a ZIP of nothing": lambda path: zipfile.ZipFile(path, "w").close(),
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_file_that_is_not_what_keras_writes_is_refused(what: str, tmp_path: Path) -> None:
    """It has three members of known names, and a description of bounded size; nothing is unpacked."""
    OTHERS[what](tmp_path / "model.keras")
    with pytest.raises((UnsafeModel, ValueError)):
        archive.expect_harmless(tmp_path / "model.keras")
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]


def test_a_plain_model_is_let_through(tmp_path: Path) -> None:
    """What the tests above are held against."""
    plain = layer("Dense", units=3, dtype={"module": "keras", "class_name": "DTypePolicy", "registered_name": None})
    archive.expect_harmless(model(tmp_path / "model.keras", plain))


@pytest.mark.parametrize("name", ["arrays.npz", "arrays.npy"])
def test_arrays_with_objects_in_them_are_not_read(name: str, tmp_path: Path) -> None:
    """Predictions, golden images and prepared pixels are files of NumPy, which may hold pickles."""
    from trainer.data.payloads import RAW_FILE, RawReader
    from trainer.errors import StateError
    from trainer.judging.predictions import Predictions

    evil = np.array([Deed(tmp_path / "done")], dtype=object)
    if name.endswith(".npz"):
        np.savez(tmp_path / name, identities=evil, labels=evil, probabilities=evil)
        with pytest.raises(StateError, match="damaged"):
            Predictions.load(tmp_path / name)
    else:
        np.save(tmp_path / RAW_FILE, evil, allow_pickle=True)
        with pytest.raises(ValueError, match=r"pickle|object"):
            RawReader(tmp_path)
    assert not (tmp_path / "done").exists()


def test_a_job_of_the_scheduler_is_no_pickle(tmp_path: Path) -> None:
    """APScheduler's own store keeps pickles: one that lies in the state folder is not read."""
    import sqlite3

    from pipelines import ticks
    from pipelines.jobs import opened
    from trainer.state import State

    state = State.open(tmp_path / "state")
    with opened(state, lambda name, due: None):
        pass
    with sqlite3.connect(ticks.folder(state) / "jobs.db") as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            evil = pickle.dumps(Deed(tmp_path / "done"))
            database.execute(f"INSERT INTO {table} (id, next_run_time, job_state) VALUES ('x', 1.0, ?)", (evil,))
    with opened(state, lambda name, due: None) as jobs:
        assert jobs.get_jobs() == []
    assert tables
    assert not (tmp_path / "done").exists()


@pytest.mark.slow
def test_a_registered_model_runs_nothing_of_its_own(colours: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """Its files may name a module and bring the code of it, and pickled objects beside the network: MLflow's loaders
    would run both. `predict`, `evaluate` and `export` read the network's file, and nothing else of it."""
    import mlflow

    from trainer import tracking
    from trainer.judging import registered_model

    uri = "models:/colours/1"
    files = tracking.download(colours, uri, tmp_path / "evil")
    (files / "code").mkdir()
    (files / "code" / "evil_module.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'done')!r})\n")
    text = (files / "MLmodel").read_text()
    text = text.replace("keras_module: keras", "keras_module: evil_module").replace(
        "  tensorflow:\n", "  tensorflow:\n    code: code\n"
    )
    (files / "MLmodel").write_text(
        text.replace("loader_module: mlflow.tensorflow", "loader_module: evil_module\n    code: code")
    )
    (files / "data" / "custom_objects.cloudpickle").write_bytes(pickle.dumps(Deed(tmp_path / "done")))
    monkeypatch.setattr(tracking, "download", lambda state, model_uri, folder: files)
    model = registered_model.load(colours, uri)
    assert model.answer(np.full((1, 9, 9, 3), (255, 0, 0), np.uint8)).argmax() == 0
    assert not (tmp_path / "done").exists()
    # What docs/security.md says of whoever loads a champion by MLflow: it runs what the registry's files name.
    with pytest.raises(Exception):  # noqa: B017, PT011 - the module is no loader
        mlflow.pyfunc.load_model(str(files))
    assert (tmp_path / "done").exists()


@pytest.mark.slow
def test_a_registered_model_with_a_lambda_is_refused(colours: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """As every model that no network of this project is, with a message and no traceback."""
    from trainer import tracking
    from trainer.errors import EvaluationError
    from trainer.judging import registered_model

    files = tracking.download(colours, "models:/colours/1", tmp_path / "evil")
    model(files / "data" / "model.keras", UNSAFE["a lambda"])
    monkeypatch.setattr(tracking, "download", lambda state, model_uri, folder: files)
    with pytest.raises(EvaluationError, match=r"'keras\.layers\.Lambda', which no network"):
        registered_model.load(colours, "models:/colours/1")


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", ["external link", "soft link", "external data", "virtual data", "announced", "a pickle"]
)
def test_a_weights_file_is_read_whole_and_alone(kind: str, tmp_path: Path) -> None:
    """HDF5 may say that its data lie in /etc/passwd, which would then be among the weights of a published model."""
    import h5py

    from trainer.errors import WeightsError
    from trainer.weights import keras_file

    path, secret = tmp_path / "weights.h5", tmp_path / "secret"
    secret.write_bytes(bytes(4000))
    if kind == "a pickle":
        path.write_bytes(pickle.dumps(Deed(tmp_path / "done")))
    else:
        with h5py.File(tmp_path / "other.h5", "w") as other:
            other["d"] = np.zeros(10, "float32")
        with h5py.File(path, "w") as file:
            group = file.create_group("layers/conv2d/vars")
            if kind == "external link":
                group["0"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/d")
            elif kind == "soft link":
                group["0"] = h5py.SoftLink("/layers")
            elif kind == "external data":
                group.create_dataset("0", shape=(1000,), dtype="float32", external=[(str(secret), 0, 4000)])
            elif kind == "virtual data":
                layout = h5py.VirtualLayout(shape=(10,), dtype="float32")
                layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "d", shape=(10,))
                group.create_virtual_dataset("0", layout)
            else:
                group.create_dataset("0", shape=(1 << 40,), dtype="float32", chunks=(1 << 20,), compression="gzip")

    class Network:
        layers: tuple[Any, ...] = ()

    with pytest.raises(WeightsError, match=r"link|another file|announces|signature"):
        keras_file.read(path, Network(), "inception_v3")  # type: ignore[arg-type]
    assert not (tmp_path / "done").exists()


@pytest.mark.slow
def test_a_dataset_of_tfds_imports_no_module_of_its_own(tmp_path: Path, monkeypatch: Any) -> None:
    """TFDS would import whatever module its features are said to be of."""
    from trainer.data.sources.tfds import _prepared
    from trainer.errors import DataError

    (tmp_path / "evil_features.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'done')!r})\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = tmp_path / "digits" / "1.0.0"
    folder.mkdir(parents=True)
    shutil.copyfile(Path(__file__), folder / "dataset_info.json")
    for said in ({"pythonClassName": "evil_features.F"}, {"type": "evil_features.F", "content": {}}):
        for features in (
            said,
            {"featuresDict": {"features": {"image": said}}},
            {"jsonFeature": {"json": json.dumps(said)}},
        ):
            (folder / "features.json").write_text(json.dumps(features))
            with pytest.raises(DataError, match="which are not TFDS' own"):
                _prepared(folder)
    assert not (tmp_path / "done").exists()
