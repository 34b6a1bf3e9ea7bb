"""The one door by which a Keras model comes out of a file.

A `.keras` file says in JSON which classes to make and what to call them with. Keras' safe mode refuses pickled lambdas
and classes that are not Keras' own; among its own are some that read files, call servers or load other formats
(`TFSMLayer`, `StringLookup` with a vocabulary file, `TorchModuleWrapper`). A model of ours needs none of them, so the
file is looked through first: it must hold the three members that Keras writes, and may name nothing but what our
networks are made of. What passes is loaded in safe mode, uncompiled.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

CONFIG = "config.json"
MEMBERS = {"metadata.json", CONFIG, "model.weights.h5"}
MOST_CONFIG_BYTES = 64 * 1024 * 1024
"""The largest of ours, an ensemble of five Inception-ResNet v2, has 2 MB."""
LAYERS = (
    "Activation", "Add", "Average", "AveragePooling2D", "BatchNormalization", "Concatenate", "Conv2D", "Dense",
    "Dropout", "Flatten", "GlobalAveragePooling2D", "Identity", "InputLayer", "MaxPooling2D", "Multiply", "ReLU",
    "Rescaling", "Reshape", "Resizing", "SeparableConv2D", "Softmax", "ZeroPadding1D", "ZeroPadding2D",
)  # fmt: skip
OPERATIONS = ("keras.src.ops.core", "keras.src.ops.image", "keras.src.ops.nn", "keras.src.ops.numpy")
"""Modules whose classes compute with tensors and do nothing else."""
VALUES = ("keras.initializers", "keras.regularizers", "keras.constraints")
WORDS = frozenset({"__keras_tensor__", "__numpy__", "__slice__", "__tuple__", "__ellipsis__"})
"""Keras' own notation for values, in the place of a class."""


class UnsafeModel(ValueError):
    """A file that is no model of ours. The message is the reason, in words that fit after "cannot be loaded:"."""


def load(path: Path) -> keras.Model:
    """The model in a `.keras` file; nothing in the file is executed.

    Errors: UnsafeModel; what Keras raises on a damaged file (OSError, ValueError).
    """
    import keras

    expect_harmless(path)
    return keras.saving.load_model(path, compile=False, safe_mode=True)


def expect_harmless(path: Path) -> None:
    """Errors: UnsafeModel, OSError (it cannot be read)."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if sorted(one.filename for one in members) != sorted(MEMBERS):
                names = ", ".join(sorted(one.filename for one in members)[:5])
                raise UnsafeModel(f"it holds {names or 'nothing'}, and a model of ours {', '.join(sorted(MEMBERS))}")
            if archive.getinfo(CONFIG).file_size > MOST_CONFIG_BYTES:
                raise UnsafeModel(f"its {CONFIG} is larger than {MOST_CONFIG_BYTES // 1_000_000} MB")
            config = json.loads(archive.read(CONFIG))
    except RecursionError:
        raise UnsafeModel(f"its {CONFIG} is nested too deeply") from None
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, IsADirectoryError) as error:
        raise UnsafeModel(f"it is no .keras file ({error})") from None
    for thing in _named(config):
        if not _is_known(thing):
            what = ".".join(str(part) for part in (thing.get("module"), thing["class_name"]) if part)
            raise UnsafeModel(f"it names {what[:200]!r}, which no network of this project is made of")


def _named(config: Any) -> Iterator[dict[str, Any]]:
    """Whatever in a configuration Keras would make an object of, however deep."""
    left = [config]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            if "class_name" in value:
                yield value
            left += value.values()
        elif isinstance(value, list):
            left += value


def _is_known(thing: dict[str, Any]) -> bool:
    module, name, registered = thing.get("module"), thing["class_name"], thing.get("registered_name")
    if not isinstance(name, str) or registered not in (None, name):
        return False
    if module is None:
        return name in WORDS
    if module == "keras.layers":
        return name in LAYERS
    return module in OPERATIONS + VALUES or (module, name) in (
        ("keras", "DTypePolicy"),
        ("keras.src.models.functional", "Functional"),
    )
