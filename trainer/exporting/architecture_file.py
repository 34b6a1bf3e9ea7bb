"""Architecture as JSON and weights as HDF5: two files that tell what they hold and run no code when they are read.

All layers ship with Keras and none is a Lambda, so nothing but Keras is needed, and its safe mode stays on.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.exporting.answers import answering
from trainer.exporting.rewriting import unrolled

if TYPE_CHECKING:
    from trainer.exporting.formats import Answer, Size
    from trainer.exporting.source import Source

ARCHITECTURE, WEIGHTS = "architecture.json", "model.weights.h5"


def write(source: Source, path: Path, size: Size | None) -> None:
    path.mkdir()
    model = unrolled(source.model)
    architecture = json.dumps(json.loads(model.to_json()), indent=1)
    (path / ARCHITECTURE).write_text(architecture, encoding="utf-8")
    model.save_weights(path / WEIGHTS)


def load(path: Path) -> Answer:
    import keras

    model = keras.models.model_from_json((path / ARCHITECTURE).read_text(encoding="utf-8"))
    model.load_weights(path / WEIGHTS)
    return answering(model)
