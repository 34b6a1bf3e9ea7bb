"""A registered version held against the answers from its training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainer import tracking
from trainer.errors import EvaluationError, RegistryError
from trainer.judging import golden, registered_model, training_files
from trainer.registry.mlflow import MlflowRegistry
from trainer.registry.protocol import ModelVersion


def version(zoo: Any, name: str, number: str = "1") -> ModelVersion:
    return MlflowRegistry(tracking.connect(zoo.state)).get(name, number)


def leave(zoo: Any, name: str, folder: Path, off: float = 0.0, classes: int = 3) -> None:
    """Golden images of different sizes with the model's own answers, or with others."""
    model = registered_model.load(zoo.state, version(zoo, name).model_uri)
    images = [np.random.default_rng(i).integers(0, 256, (8 + i, 9, 3)).astype(np.uint8) for i in range(3)]
    answers = np.stack([model.answer(image[None])[0] for image in images]) + np.float32(off)
    kept = {f"image_{number}": image for number, image in enumerate(images)}
    kept |= {"answers": answers[:, :classes], "gpu": np.array(False)}
    training_files.leave(zoo.state, version(zoo, name).run_id, folder, {training_files.GOLDEN: kept})


def test_a_version_is_checked_from_the_registry_alone(zoo: Any, tmp_path: Path) -> None:
    """Its own answers are met; a version whose training left none gives None."""
    assert golden.check(zoo.state, version(zoo, "birds")) is None
    leave(zoo, "birds", tmp_path)
    found = golden.check(zoo.state, version(zoo, "birds"))
    assert found is not None
    assert (found.images, found.difference) == (3, pytest.approx(0, abs=1e-6))


@pytest.mark.parametrize(
    ("spoilt", "words"),
    [({"off": 0.01}, "differ by up to 0.01"), ({"off": np.nan}, "differ"), ({"classes": 2}, "3 classes instead of 2")],
)
def test_other_answers_are_an_error(spoilt: dict[str, Any], words: str, zoo: Any, tmp_path: Path) -> None:
    """Probabilities that are a hundredth off, no numbers, or of other classes."""
    leave(zoo, "mistaken", tmp_path, **spoilt)
    with pytest.raises(EvaluationError, match=r"The model mistaken version 1 .*answers its 3 golden images") as caught:
        golden.check(zoo.state, version(zoo, "mistaken"))
    assert words in caught.value.message


def test_a_version_that_cannot_be_loaded_is_an_error(zoo: Any) -> None:
    """Whether or not it has golden images."""
    with pytest.raises(EvaluationError, match=r"model good version 2 .* cannot be loaded"):
        golden.check(zoo.state, version(zoo, "good", "2"))


def test_a_damaged_file_is_an_error(zoo: Any, tmp_path: Path) -> None:
    """Silence would look like a version that is too old to have one."""
    (tmp_path / training_files.GOLDEN).write_bytes(b"PK no")
    run_id = version(zoo, "good").run_id
    tracking.log_files(zoo.state, run_id, [tmp_path / training_files.GOLDEN], training_files.FOLDER)
    with pytest.raises(RegistryError, match=r"golden/golden\.npz of run .* cannot be read"):
        golden.check(zoo.state, version(zoo, "good"))


def test_a_run_that_is_gone_left_nothing(zoo: Any) -> None:
    """Nor did one that never was."""
    assert training_files.fetch(zoo.state, "0" * 32, training_files.GOLDEN) is None
