"""The table of formats. A format is a row; the tests are parameterised over the rows."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainer.errors import UsageError

if TYPE_CHECKING:
    from trainer.exporting.source import Source

Answer = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
Size = tuple[int, int]
"""Height and width."""


@dataclass(frozen=True)
class Format:
    """One row. Its module has `write(source, path, size)` and `load(path) -> Answer`."""

    name: str
    module: str
    suffix: str
    """Of the file; empty where the export is a folder."""
    runtime: str
    """What loads it, as a user writes it down."""
    one_size: bool = False
    """Whether images must have one size, chosen at export, and come one by one."""
    packages: tuple[str, ...] = ()
    """Modules beyond TensorFlow's own, from the distribution's extra `export`."""

    @property
    def is_folder(self) -> bool:
        return not self.suffix

    def write(self, source: Source, path: Path, size: Size | None) -> None:
        """Make the file or folder, which is not there yet. `size` is None but for one that holds one size."""
        self._loaded().write(source, path, size)

    def load(self, path: Path) -> Answer:
        """The export in its own runtime: uint8 (N, height, width, 3) to float32 (N, classes)."""
        answer: Answer = self._loaded().load(path)
        return answer

    def check_installed(self) -> None:
        """Errors: UsageError (a package is missing)."""
        missing = [name for name in self.packages if importlib.util.find_spec(name) is None]
        if missing:
            raise UsageError(
                f"The format {self.name} needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} "
                "not installed.",
                "Install the extra with the packages for it: pip install 'inception-retrain[export]'.",
            )

    def _loaded(self) -> Any:
        return importlib.import_module(f"trainer.exporting.{self.module}")


FORMATS = {
    row.name: row
    for row in (
        Format("keras", "keras_file", ".keras", "keras.saving.load_model(path)"),
        Format("savedmodel", "saved_model", "", "tf.saved_model.load(path).serve(images)['probabilities']"),
        Format(
            "onnx",
            "onnx_file",
            ".onnx",
            "onnxruntime.InferenceSession(path).run(['probabilities'], {'images': images})",
            packages=("onnx", "tf2onnx", "onnxruntime"),
        ),
        Format("litert", "litert_file", ".tflite", "ai_edge_litert.interpreter.Interpreter(path)", one_size=True),
        Format(
            "h5+json",
            "architecture_file",
            "",
            "keras.models.model_from_json(text of architecture.json), then its load_weights('model.weights.h5')",
        ),
    )
}
