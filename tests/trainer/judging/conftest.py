"""Registered models that tell colours, and pictures to ask them about."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainer import tracking
from trainer.registry.lookup import Found, lookup
from trainer.registry.mlflow import MlflowRegistry
from trainer.state import State

COLOURS = {"cat": (250, 20, 20), "dog": (20, 250, 20), "cow": (20, 20, 250)}
KNOWN = {"good": ["cat", "dog", "cow"], "mistaken": ["cat", "cow", "dog"], "birds": ["cat", "dog", "bird"]}
"""By the name of a model, what it calls red, green and blue."""

Paint = Callable[[Path, dict[str, int]], Path]


@dataclass(frozen=True)
class Zoo:
    state: State

    def find(self, reference: str) -> Found:
        return lookup(MlflowRegistry(tracking.connect(self.state)), reference)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory, mlflow_template: Path) -> Zoo:
    """Three registered models that see alike and speak differently; `good` has a version 2 whose files are gone."""
    import keras

    from trainer.train import _signature

    state = State.open(tmp_path_factory.mktemp("zoo"))
    shutil.copyfile(mlflow_template, state.mlflow_database)
    images = keras.Input((None, None, 3), dtype="uint8")
    scaled = keras.layers.Rescaling(1 / 25.5, dtype="float32")(images)
    model = keras.Model(images, keras.layers.Softmax()(keras.layers.GlobalAveragePooling2D()(scaled)))
    example = np.full((1, 8, 8, 3), (200, 100, 0), np.uint8)
    registry = MlflowRegistry(tracking.connect(state))
    for name, classes in KNOWN.items():
        with tracking.open_run(state, "e", name, name) as run:
            uri = run.log_model(model, _signature(3), example, [], {"classes": classes})
        registry.create_version(name, uri, run.run_id, {"run_key": name})
        registry.set_alias(name, "champion", "1")
    registry.create_version("good", f"{state.artifacts.as_uri()}/gone", run.run_id, {"run_key": "gone"})
    return Zoo(state)


@pytest.fixture
def paint() -> Paint:
    """Writes a folder of pictures: so many of each class, no two alike."""

    def write(folder: Path, counts: dict[str, int]) -> Path:
        random = np.random.default_rng(0)
        for name, count in counts.items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                noise = random.integers(-15, 5, (12, 12 + number % 3, 3))
                pixels = np.clip(np.array(COLOURS.get(name, (90, 90, 90))) + noise, 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / name / f"{number}.png")
        return folder

    return write
