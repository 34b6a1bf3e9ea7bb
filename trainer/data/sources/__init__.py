"""Sources of images: `digits`, `tfds:<name>[/<config>][:<version>]`, `folder:<path, gs://… or another store>`.

source = open_source(recipe.data, state)
source.fingerprint()     # cheap: file names, sizes and remembered checksums
source.examples()        # encoded images, one at a time
"""

from __future__ import annotations

from trainer.config import Data
from trainer.data.sources.base import RawExample, Source, SourceIdentity
from trainer.data.sources.digits import DigitsSource
from trainer.data.sources.folder import FolderSource
from trainer.data.sources.stored_folder import StoredFolderSource
from trainer.data.sources.tfds import TfdsSource
from trainer.state import State

__all__ = ["RawExample", "Source", "SourceIdentity", "open_source"]


def open_source(data: Data, state: State) -> Source:
    """The source a recipe names. Nothing is read yet. Errors: DataError (an address that cannot be)."""
    kind, _, address = data.source.partition(":")
    match kind:
        case "digits":
            return DigitsSource(data)
        case "tfds":
            return TfdsSource(data, address, state)
        case "folder":
            return StoredFolderSource(data, address) if "://" in address else FolderSource(data, address, state)
    raise AssertionError(f"config.Data accepted the source kind {kind!r}")
