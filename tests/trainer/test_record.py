"""The run record: documents go in and come back, and what cannot be read counts as not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer import record
from trainer.errors import StateError
from trainer.record import Checked, Document, Epoch, Failure, Prepared, Registered, Rejected, Trained

REGISTERED = Registered(name="digits", version="3", created=True)
EPOCH = Epoch(
    epoch=1,
    loss=0.1 + 0.2,
    accuracy=1 / 3,
    validation_loss=1e-30,
    validation_accuracy=1.0,
    learning_rate=0.01,
    images_per_second=1e6,
    seconds=0.5,
)
DOCUMENTS: list[Document] = [
    REGISTERED,
    Checked(
        decision="work",
        reason='It says "ü"\nin two lines.',
        run_key="k",
        fingerprint="f",
        config_digest="c",
        code_digest="d",
        recipe="{}",
        source={"address": "digits", "files": 1},
        at=record.now(),
    ),
    Prepared(
        fingerprint="f",
        path="/x",
        classes=["a", "b"],
        counts={"train": [1, 2]},
        identity_digests={"train": "x"},
        rejected=[Rejected(path="p", reason="r")],
        rejected_total=1,
        seconds=1.5,
    ),
    Trained(
        model_uri="models:/m-1",
        mlflow_run_id="r",
        experiment_id="1",
        variant="googlenet",
        image_size=32,
        parameters=5,
        training_parameters=6,
        epochs=[EPOCH],
        precision="float32",
        device="CPU",
        seconds=1.0,
        resumed_from_epoch=None,
        versions={"keras": "3"},
    ),
    Failure(step="train", message="m", remedy="r", traceback="t", at=record.now()),
]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: type(document).__name__)
def test_a_document_comes_back_as_it_went_in(document: Document, tmp_path: Path) -> None:
    """Floats to the last bit, times with their zone; under the name of the step that leaves it."""
    record.write(tmp_path / "run", document)
    assert record.read(tmp_path / "run", type(document)) == document
    assert record.find(tmp_path / "run", type(document)) == document
    assert [file.name for file in (tmp_path / "run").iterdir()] == [f"{record.NAMES[type(document)]}.json"]


def test_every_document_has_a_name_of_its_own() -> None:
    """Two steps never overwrite each other."""
    assert len(set(record.NAMES.values())) == len(record.NAMES)


def test_a_second_write_replaces_the_first(tmp_path: Path) -> None:
    """A step that does its work anew says so anew."""
    record.write(tmp_path, REGISTERED)
    record.write(tmp_path, REGISTERED.model_copy(update={"created": False}))
    assert not record.read(tmp_path, Registered).created


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"{",
        b"[]",
        b'{"name": "digits", "version": "3"}',
        b'{"name": "digits", "version": "3", "created": true, "colour": "red"}',
        b'\xff\xfe{"name": "digits", "version": "3", "created": true}',
    ],
    ids=["absent", "empty", "torn", "another shape", "older", "newer", "no text"],
)
def test_a_document_that_cannot_be_read_is_not_there(content: bytes | None, tmp_path: Path) -> None:
    """The step that writes it does its work anew; who needs it gets an error that says so."""
    if content is not None:
        (tmp_path / "register.json").write_bytes(content)
    assert record.find(tmp_path, Registered) is None
    with pytest.raises(StateError, match=r"has no readable register\.json") as caught:
        record.read(tmp_path, Registered)
    assert "Run again" in caught.value.remedy


def test_a_folder_in_a_documents_place_is_an_error(tmp_path: Path) -> None:
    """What is there and cannot be read is not overwritten as if it were not there."""
    (tmp_path / "register.json").mkdir()
    with pytest.raises(StateError, match=r"register\.json cannot be used"):
        record.find(tmp_path, Registered)


def test_a_document_cannot_be_changed() -> None:
    """What was recorded was recorded."""
    with pytest.raises(ValueError, match="frozen"):
        REGISTERED.version = "4"  # type: ignore[misc]


def test_as_json_gives_plain_values() -> None:
    """For the event stream, which takes nothing else."""
    assert record.as_json(REGISTERED) == {"name": "digits", "version": "3", "created": True, "lineage": {}}
    assert isinstance(record.as_json(DOCUMENTS[-1])["at"], str)
