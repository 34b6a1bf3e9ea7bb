"""LiteRT (TensorFlow Lite), for telephones and small devices.

Its interpreter plans memory ahead: images have one size, chosen at export, and come one by one. Only its built-in
operations are used, so that it needs no part of TensorFlow beside it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trainer.exporting.rewriting import portable
from trainer.exporting.saved_model import archive_to

if TYPE_CHECKING:
    from trainer.exporting.formats import Answer, Size
    from trainer.exporting.source import Source


def write(source: Source, path: Path, size: Size | None) -> None:
    import tensorflow as tf

    assert size is not None
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        archive_to(portable(source.model), Path(folder, "saved"), (1, *size, 3))
        converter = tf.lite.TFLiteConverter.from_saved_model(str(Path(folder, "saved")))
        converter.experimental_enable_resource_variables = True
        path.write_bytes(converter.convert())


def load(path: Path) -> Answer:
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    [given], [asked] = interpreter.get_input_details(), interpreter.get_output_details()

    def answer(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        said = []
        for image in images:
            interpreter.set_tensor(given["index"], image[None])
            interpreter.invoke()
            said.append(interpreter.get_tensor(asked["index"])[0])
        return np.stack(said)

    return answer
