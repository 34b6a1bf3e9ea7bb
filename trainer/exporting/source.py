"""A registered model with its files, and real images to ask it."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer import tracking
from trainer.data.images import Pixels
from trainer.errors import DataError, EvaluationError, RegistryError
from trainer.exporting.answers import answering
from trainer.models import archive
from trainer.state import State, reported

if TYPE_CHECKING:
    from trainer.exporting.formats import Answer
    from trainer.registry.lookup import Found

_MOST_IMAGES = 32


@dataclass(frozen=True, eq=False)
class Source:
    """A registered model.

    Attributes:
        found: what the registry says of it.
        file: its .keras file, for as long as the block of `opened` lasts.
        model: what the file holds.
        classes: in the order of its answers.
        told: what it says of itself besides.
        sha256: of the file.
        answer: uint8 (N, height, width, 3) to float32 (N, classes).
    """

    found: Found
    file: Path
    model: Any
    classes: list[str]
    told: dict[str, Any]
    sha256: str
    answer: Answer

    @property
    def uri(self) -> str:
        return self.found.load_uri


@contextmanager
def opened(state: State, found: Found) -> Iterator[Source]:
    """Fetch a model from the registry into the cache, until the block is left.

    Errors: EvaluationError (it cannot be loaded, or does not name its classes).
    """
    with reported(state.cache):
        state.cache.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(dir=state.cache, prefix="export-")
    with folder:
        yield _read(state, found, Path(folder.name))


def _read(state: State, found: Found, folder: Path) -> Source:
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model as Logged

    try:
        files = tracking.download(state, found.load_uri, folder)
        file = files / "data" / "model.keras"
        told = Logged.load(str(files)).metadata or {}
        model = archive.load(file)
    except (RegistryError, MlflowException, OSError, ValueError) as error:
        why = error.message if isinstance(error, RegistryError) else str(error)
        raise EvaluationError(
            f"{found.load_uri} cannot be loaded: {why.rstrip('.')}.",
            "See that its artifacts are there (inception ui); another version can be named as "
            f"{found.name}/NUMBER, and `inception models` lists them.",
        ) from error
    classes = told.get("classes")
    if not classes:
        raise EvaluationError(
            f"{found.load_uri} does not name its classes.", "Only models that `inception run` made do."
        )
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return Source(found, file, model, [str(name) for name in classes], told, digest, answering(model))


def images_for(source: Source, state: State, named: Sequence[str]) -> tuple[list[Pixels], str]:
    """Real images to ask a model and its export, and what they are in words.

    Those that are named; else the golden images of its training, which it is held against first; else its input
    example.

    Errors: DataError (named ones that are no images, or none at all), EvaluationError (it does not answer its golden
    images as it did when it was trained).
    """
    if named:
        return _named(named), "images given"
    golden_images = _golden(source, state)
    if golden_images:
        return golden_images, "golden images of its training"
    from mlflow.models import Model as Logged

    files = source.file.parents[1]
    example = Logged.load(str(files)).load_input_example(str(files))
    if example is None:
        raise DataError(
            f"{source.uri} has no golden images and no input example to compare its export on.",
            "Name images of the kind it is for: --images FILE or --images FOLDER.",
        )
    return list(example), "images of its input example"


def _named(words: Sequence[str]) -> list[Pixels]:
    from trainer.prediction import naming, reading

    addresses = naming.find(words).addresses
    evenly = addresses[:: -(-len(addresses) // _MOST_IMAGES)]
    pictures = list(reading.read(evenly))
    refused = [f"{picture.address} {picture.problem}." for picture in pictures if picture.pixels is None]
    if refused:
        raise DataError("\n".join(refused), f"Give image files: {naming.KINDS}.")
    return [picture.pixels for picture in pictures if picture.pixels is not None]


def _golden(source: Source, state: State) -> list[Pixels]:
    from trainer.judging import golden, training_files
    from trainer.judging.registered_model import RegisteredModel

    kept = training_files.fetch(state, source.found.run_id, training_files.GOLDEN)
    if kept is None:
        return []
    size, parameters = source.file.stat().st_size, int(source.model.count_params())
    model = RegisteredModel(source.uri, source.classes, source.answer, 1, size, parameters)
    golden.compare(model, kept, f"model {source.found.name} version {source.found.version}")
    return [kept[f"image_{number}"] for number in range(len(kept["answers"]))]
