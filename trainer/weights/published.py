"""Which published weights fit which network, where they are published, and why some do not fit.

Free of TensorFlow, Keras and NumPy: a recipe's `init` is checked with it anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal, get_args

from trainer.errors import nearest

if TYPE_CHECKING:
    from trainer.config import Model

Kind = Literal["imagenet", "keras", "timm", "slim"]
KINDS: tuple[Kind, ...] = get_args(Kind)
IMAGENET_CLASSES = 1000
PREPROCESSING: Literal["symmetric"] = "symmetric"
"""What all of them were trained on: pixels from -1 to 1. A network that scales otherwise is refused."""

CHAMPION = "champion"
"""The `init` that asks for no published weights, but for those of the registered champion."""
EXPORTED = "exported"
"""The kind of `init` that names a model which `inception export --format keras` wrote; it fits any network."""
MODELS = (CHAMPION, EXPORTED)

_HOW_TO_WRITE = (
    "Write 'champion', 'exported:<file.keras>', 'imagenet', 'keras:<file>', 'timm:<file or name>' or "
    "'slim:<checkpoint>'."
)
_PICKLES = (".pth", ".pt", ".bin", ".pkl", ".ckpt")


@dataclass(frozen=True)
class Download:
    """A file on the internet."""

    address: str
    name: str
    """Of the file here."""
    md5: str | None = None
    """None where its publisher gives no checksum."""


@dataclass(frozen=True)
class Weights:
    """Weights of one kind that fit one network."""

    kind: Kind
    what: str
    """What the file must be, in words."""
    whole: Download | None = None
    """The file with the classifier for ImageNet's 1000 classes."""
    headless: Download | None = None
    """The file without a classifier."""
    names: Mapping[str, Download] = field(default_factory=dict)
    """What may be written instead of a file."""


def _keras(name: str, row: str, whole: str, headless: str) -> tuple[Weights, Weights]:
    at = f"https://storage.googleapis.com/tensorflow/keras-applications/{row}"
    name_of_all, name_of_body = (f"{row}_weights_tf_dim_ordering_tf_kernels{part}.h5" for part in ("", "_notop"))
    files = (
        Download(f"{at}/{name_of_all}", name_of_all, whole),
        Download(f"{at}/{name_of_body}", name_of_body, headless),
    )
    return (
        Weights("imagenet", f"keras.applications' weights of {name}", *files),
        Weights("keras", f"a weights file of keras.applications' {name} (.h5 or .weights.h5)", *files),
    )


def _timm(name: str, *trainings: str) -> Weights:
    at = "https://huggingface.co/timm"
    names = {
        tag: Download(f"{at}/{tag}/resolve/main/model.safetensors", f"{tag}.safetensors")
        for tag in (f"{name}.{training}" for training in trainings)
    }
    return Weights("timm", f"timm's {name} as a .safetensors file ({', '.join(names)})", names=names)


def _slim(name: str, archive: str) -> Weights:
    address = f"http://download.tensorflow.org/models/{archive}.tar.gz"
    return Weights("slim", f"TF-slim's checkpoint of {name} (unpacked from {address})")


WEIGHTS: dict[str, tuple[Weights, ...]] = {
    "inception_v2": (_slim("Inception v2", "inception_v2_2016_08_28"),),
    "inception_v3": (
        *_keras("InceptionV3", "inception_v3", "9a0d58056eeedaa3f26cb7ebd46da564", "bcbd6486424b2319ff4ef7d526e38f63"),
        _slim("Inception v3", "inception_v3_2016_08_28"),
    ),
    "inception_v4": (_timm("inception_v4", "tf_in1k"), _slim("Inception v4", "inception_v4_2016_09_09")),
    "inception_resnet_v2": (
        *_keras(
            "InceptionResNetV2",
            "inception_resnet_v2",
            "e693bd0210a403b3192acc6073ad2e96",
            "d19885ff4a710c122648d3b5c3b684e4",
        ),
        _timm("inception_resnet_v2", "tf_in1k", "tf_ens_adv_in1k"),
        _slim("Inception-ResNet v2", "inception_resnet_v2_2016_08_30"),
    ),
}
"""The kinds that load into each row of the zoo."""

NONE_FIT: dict[str, str] = {
    "googlenet": (
        "the v1 weights of TF-slim, torchvision and timm have batch normalisation and 3×3 convolutions in the third "
        "branch, where the paper and this network have biases and 5×5; Caffe's, which are the paper's, are in a format "
        "that is not read"
    ),
    "inception_resnet_v1": (
        "no ImageNet weights of it were published, only face embeddings, of a graph with one block more"
    ),
}
"""Why a network has none at all."""
NOT_OF_THIS_KIND: dict[tuple[str, Kind], str] = {
    ("inception_v3", "timm"): (
        "timm's inception_v3 counts the padding in its average pools and this network, like its authors', does not: "
        "the logits would be off by 7 to 10 percent"
    ),
}
"""Why a kind that exists for a network does not fit it."""


def parse(init: str) -> tuple[Kind, str]:
    """Kind and address of an `init`; the address is empty for `imagenet`. Errors: ValueError."""
    kind, colon, address = init.partition(":")
    if kind == CHAMPION:
        raise ValueError(f"init {init!r} says too much. Write 'champion' by itself: registry.name says whose.")
    known = next((one for one in KINDS if one == kind), None)
    if known is None:
        raise ValueError(f"init kind {kind!r} is unknown. {nearest(kind, (*MODELS, *KINDS))} {_HOW_TO_WRITE}")
    complete = not colon if known == "imagenet" else bool(address)
    if not complete:
        raise ValueError(f"init {init!r} is incomplete or says too much. {_HOW_TO_WRITE}")
    return known, address


def find(variant: str, kind: Kind) -> Weights:
    """The weights of that kind for that network. Errors: ValueError, with those it has."""
    having = {weights.kind: weights for weights in WEIGHTS.get(variant, ())}
    if kind in having:
        return having[kind]
    if not having:
        why = NONE_FIT.get(variant, "none were published")
        raise ValueError(f"{variant} has no weights to begin with: {why}. Leave init out.")
    why = NOT_OF_THIS_KIND.get((variant, kind), f"no {kind} weights of it were published")
    raise ValueError(f"init {kind!r} does not suit {variant}: {why}. It loads: {', '.join(having)}.")


def check(model: Model) -> None:
    """See that a recipe's `init` names weights that fit the network it asks for. Errors: ValueError."""
    if model.init in (None, CHAMPION):
        return
    if model.init.partition(":")[0] == EXPORTED:
        if not model.init.endswith(".keras"):
            raise ValueError(f"init {model.init!r} must name a file that ends in .keras. {_HOW_TO_WRITE}")
        return
    kind, address = parse(model.init)
    weights = find(model.variant, kind)
    if kind == "timm" and PurePosixPath(address).suffix in _PICKLES:
        raise ValueError(
            f"init {model.init!r} looks like pickled Python objects, which can run any code when read. "
            "Give the .safetensors file of the same weights."
        )
    if kind == "timm" and "/" not in address and not address.endswith(".safetensors") and address not in weights.names:
        raise ValueError(
            f"init {model.init!r} is neither a .safetensors file nor a name. {nearest(address, weights.names)}"
        )
    for option, fits in {"stem": model.stem == "paper", "width": model.width == 1}.items():
        if not fits:
            raise ValueError(
                f"init {model.init!r} does not fit {option} {getattr(model, option)!r}: the published weights are of "
                f"the paper's network. Leave out {option}, or init."
            )
    if model.residual_scale is not None:
        raise ValueError(
            f"init {model.init!r} does not go with residual_scale {model.residual_scale}: the weights were trained "
            "with the scales of the released network. Leave out residual_scale, or init."
        )
