"""Published weights: from files in their publishers' own formats into the networks of the zoo.

    init = "imagenet"            keras.applications' weights, downloaded, with their checksum
    init = "keras:<file>"        the same file, or another weights file of that network, from a disk or a bucket
    init = "timm:<file or name>" a .safetensors file, or timm's own, downloaded
    init = "slim:<checkpoint>"   a TensorFlow 1 checkpoint of TF-slim

and those of a model of our own: of the one that is now champion (`champion.py`, init = "champion"), and of one that was
exported (`exported.py`, init = "exported:<file.keras>").

A file is a local path or a gs:// address. Nothing in it is executed: no pickle is read. Every variable of the network
is set exactly once or the loading is refused, except the classifiers, which stay fresh where the classes differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.errors import WeightsError
from trainer.weights import published

if TYPE_CHECKING:
    import keras

    from trainer.models.zoo import Options, Scaling


@dataclass(frozen=True)
class Loaded:
    """What a network was begun with."""

    kind: published.Kind
    source: str
    """Where the file came from: its address."""
    sha256: str
    """Of the file; of the files of a checkpoint one after the other."""
    layers_loaded: int
    layers_fresh: dict[str, str]
    """Layers that keep their random weights, with the reason."""
    preprocessing: Scaling
    """How pixels must be scaled for these weights; the network's own scaling is the same."""

    def __str__(self) -> str:
        reasons = {reason: [name for name, why in self.layers_fresh.items() if why == reason]
                   for reason in self.layers_fresh.values()}  # fmt: skip
        fresh = "; ".join(f"{', '.join(names)} fresh: {reason}" for reason, names in reasons.items())
        return f"{self.layers_loaded} layers from {self.source} (sha256 {self.sha256[:16]}…)" + (fresh and f"; {fresh}")


def load(network: keras.Model, options: Options, init: str, classes: int, cache: Path) -> Loaded:
    """Set the network's variables from published weights.

    Args:
        network: of the zoo, built from `options`; all or none of its variables change.
        options: the recipe's, resolved.
        init: the recipe's `init`.
        classes: of the network.
        cache: folder for what is downloaded.

    Errors: WeightsError (missing, damaged, of another network, out of reach), StateError.
    """
    from trainer.weights import filling, keras_file, obtaining, slim_checkpoint, timm_file

    try:
        kind, address = published.parse(init)
        weights = published.find(options.variant, kind)
    except ValueError as error:
        raise WeightsError(str(error)) from None
    if options.scaling != published.PREPROCESSING:
        raise WeightsError(
            f"{options.variant} scales pixels as {options.scaling!r}; {weights.what} wants {published.PREPROCESSING!r}."
        )
    obtained = obtaining.obtain(weights, address, classes == published.IMAGENET_CLASSES, cache)
    readers = {
        "imagenet": keras_file.read,
        "keras": keras_file.read,
        "timm": timm_file.read,
        "slim": slim_checkpoint.read,
    }
    content = readers[kind](obtained.path, network, options.variant)
    filled = filling.fill(network, content, classes, f"{obtained.path.name} must be {weights.what}.")
    return Loaded(kind, obtained.source, obtained.sha256, len(filled.loaded), filled.fresh, published.PREPROCESSING)
