"""Weights out of a model that was exported with `--format keras`: init = "exported:<file.keras>".

The file is read in Keras' safe mode. Its description beside it (`<file>.json`) says which classes the model has and
what the file's checksum is. Unlike a warm start, which takes what there is, a file that was named must fit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from trainer.errors import WeightsError
from trainer.exporting.description import BESIDE_FILE
from trainer.state import reported
from trainer.weights import bucket, served
from trainer.weights.obtaining import checksum
from trainer.weights.served import Begun, Start

if TYPE_CHECKING:
    import keras

_HOW_TO_MAKE = (
    "Make it, and its description beside it, with `inception export NAME --format keras --output FILE.keras`."
)


def find(address: str, variant: str, classes: Sequence[str], cache: Path) -> Start:
    """Read an exported model.

    Args:
        address: of the `.keras` file, a path or in an object store.
        variant: the network that the recipe asks for.
        classes: of the data.
        cache: folder for what is downloaded.

    Errors: WeightsError (not there, damaged, of another network), StateError (the cache).
    """
    file, description = (_here(place, cache) for place in (address, f"{address}{BESIDE_FILE}"))
    try:
        told = json.loads(description.read_bytes())
        known, [expected] = told["classes"], told["files"].values()
        sha256 = checksum([file], "sha256")
        # What is damaged is not given to Keras, whose words for it are many.
        members = served.read(file, variant) if sha256 == expected else []
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{address} cannot be read as an exported model: {error}.", _HOW_TO_MAKE) from None
    if sha256 != expected:
        raise WeightsError(
            f"{address} is damaged: its sha256 is {sha256}, and {expected} in its description.",
            "Copy both files again.",
        )
    if not members:
        raise WeightsError(
            f"{address} holds no {variant} network; it was exported from {told.get('model', {}).get('variant')}.",
            "Ask for that variant, or name another file.",
        )
    return Start(classes, source=address, whose="the export", sha256=sha256, known=known, members=members)


def fill(start: Start, network: keras.Model, member: int) -> Begun:
    """As `Start.fill`; a network that the export does not fit is refused. Errors: WeightsError."""
    begun = start.fill(network, member)
    if begun.source is None and member <= len(start.members):
        raise WeightsError(
            f"The weights of {start.source} do not fit: {begun.tags['init_reason']}.",
            "Give the recipe the variant, stem, width and module that the file was trained with, or leave init out.",
        )
    return begun


def _here(address: str, cache: Path) -> Path:
    if "://" not in address:
        path = Path(address).expanduser().absolute()
        if not path.is_file():
            raise WeightsError(f"There is no file {path}.", _HOW_TO_MAKE)
        return path
    with reported(cache):
        cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / "weights.lock"):
        return bucket.fetch(address, cache / "weights")
