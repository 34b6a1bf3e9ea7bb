"""ONNX, for ONNX Runtime and what reads its files. It holds images of any size, any number at once.

What the file is about stands in its own metadata too: class names, version, run key.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.exporting.answers import IMAGES, PROBABILITIES
from trainer.exporting.rewriting import portable

if TYPE_CHECKING:
    from trainer.exporting.formats import Answer, Size
    from trainer.exporting.source import Source

_DIMENSIONS = {IMAGES: ("batch", "height", "width"), PROBABILITIES: ("batch",)}


def write(source: Source, path: Path, size: Size | None) -> None:
    import onnx
    import tensorflow as tf

    images = tf.TensorSpec((None, None, None, 3), tf.uint8, name=IMAGES)
    portable(source.model).export(str(path), format="onnx", input_signature=[images], verbose=False)
    made = onnx.load(str(path))
    _name(made.graph)
    run_key = source.found.run_key or ""
    told = {"run_key": run_key, "model": source.found.name, "version": source.found.version, "sha256": source.sha256}
    onnx.helper.set_model_props(made, told | {"classes": json.dumps(source.classes, ensure_ascii=False)})
    onnx.checker.check_model(made, full_check=True)
    onnx.save(made, str(path))


def _name(graph: Any) -> None:
    """`probabilities` for the output that the conversion calls Identity:0, and words for sizes that are open."""
    output = graph.output[0]
    for node in graph.node:
        node.output[:] = [PROBABILITIES if name == output.name else name for name in node.output]
        node.input[:] = [PROBABILITIES if name == output.name else name for name in node.input]
    output.name = PROBABILITIES
    for value in (*graph.input, *graph.output):
        for dimension, word in zip(value.type.tensor_type.shape.dim, _DIMENSIONS[value.name], strict=False):
            dimension.dim_param = word


def load(path: Path) -> Answer:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda images: np.asarray(session.run([PROBABILITIES], {IMAGES: images})[0])
