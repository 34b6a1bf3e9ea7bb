"""A registered model that tells which colour an image has most of, without any training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from trainer import tracking
from trainer.registry.mlflow import MlflowRegistry
from trainer.state import State

NAME = "colours"
CLASSES = ["cat", "dog", "cow"]
"""As they call red, green and blue here."""
VERSIONS: tuple[Mapping[str, Any], ...] = ({"classes": CLASSES}, {})
"""What they say of themselves: version 2 does not name its classes. The files of version 3 are gone."""


def register(state: State) -> None:
    import keras

    from trainer.train import _signature

    images = keras.Input((None, None, 3), dtype="uint8", name="images")
    scaled = keras.layers.Rescaling(1 / 25.5, dtype="float32")(images)
    model = keras.Model(images, keras.layers.Softmax()(keras.layers.GlobalAveragePooling2D()(scaled)))
    example = np.full((1, 8, 8, 3), (200, 100, 0), np.uint8)
    registry = MlflowRegistry(tracking.connect(state))
    for number, metadata in enumerate(VERSIONS, start=1):
        with tracking.open_run(state, "e", f"key-{number}", "n") as run:
            uri = run.log_model(model, _signature(len(CLASSES)), example, [], metadata)
        registry.create_version(NAME, uri, run.run_id, {"run_key": f"key-{number}"})
    registry.create_version(NAME, f"{state.artifacts.as_uri()}/gone", run.run_id, {"run_key": "key-3"})
    registry.set_alias(NAME, "champion", "1")
