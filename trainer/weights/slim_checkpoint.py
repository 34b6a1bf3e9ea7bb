"""TF-slim's TensorFlow 1 checkpoints, read by TensorFlow itself: no graph of slim is needed.

The names are those of the scopes in slim's `nets`, slips of the pen included (`SLIPS`). Kernels are in Keras' order
already. A name under a scope of its own (an optimiser's, a moving average's) is none of the network's.
"""

from __future__ import annotations

import string
from collections.abc import Iterable
from pathlib import Path

import keras
import numpy as np

from trainer.errors import WeightsError
from trainer.weights.content import AUXILIARY, HEAD, Content, Unit, units

ROOTS = {
    "inception_v2": "InceptionV2",
    "inception_v3": "InceptionV3",
    "inception_v4": "InceptionV4",
    "inception_resnet_v2": "InceptionResnetV2",
}
_STEM_V3 = {
    "stem.1": "Conv2d_1a_3x3",
    "stem.2": "Conv2d_2a_3x3",
    "stem.3": "Conv2d_2b_3x3",
    "stem.5": "Conv2d_3b_1x1",
    "stem.6": "Conv2d_4a_3x3",
}


def _lettered(stage: str, mixed: str, count: int, first: str = "b") -> dict[str, str]:
    """`inception_a_1` is Mixed_5b, `inception_a_2` Mixed_5c, and so on."""
    letters = string.ascii_lowercase[string.ascii_lowercase.index(first) :]
    return {f"{stage}_{number}": f"{mixed}{letters[number - 1]}" for number in range(1, count + 1)}


SCOPES: dict[str, dict[str, str]] = {
    "inception_v2": {
        "stem.0": "Conv2d_1a_7x7",
        "stem.2": "Conv2d_2b_1x1",
        "stem.3": "Conv2d_2c_3x3",
        "inception_3a": "Mixed_3b",
        "inception_3b": "Mixed_3c",
        "inception_3c": "Mixed_4a",
        **{f"inception_4{ours}": f"Mixed_4{theirs}" for ours, theirs in zip("abcd", "bcde", strict=True)},
        "inception_4e": "Mixed_5a",
        "inception_5a": "Mixed_5b",
        "inception_5b": "Mixed_5c",
        HEAD: "Logits/Conv2d_1c_1x1",
    },
    "inception_v3": {
        **_STEM_V3,
        **_lettered("inception_a", "Mixed_5", 3),
        "reduction_a": "Mixed_6a",
        **_lettered("inception_b", "Mixed_6", 4),
        "reduction_b": "Mixed_7a",
        **_lettered("inception_c", "Mixed_7", 2),
        "aux_1.2": "AuxLogits/Conv2d_1b_1x1",
        "aux_1.wide.1": "AuxLogits/Conv2d_2a_5x5",
        "aux_1.logits": "AuxLogits/Conv2d_2b_1x1",
        HEAD: "Logits/Conv2d_1c_1x1",
    },
    "inception_v4": {
        "stem_1.1": "Conv2d_1a_3x3",
        "stem_1.2": "Conv2d_2a_3x3",
        "stem_1.3": "Conv2d_2b_3x3",
        "stem_2": "Mixed_3a",
        "stem_3": "Mixed_4a",
        "stem_4": "Mixed_5a",
        **_lettered("inception_a", "Mixed_5", 4),
        "reduction_a": "Mixed_6a",
        **_lettered("inception_b", "Mixed_6", 7),
        "reduction_b": "Mixed_7a",
        **_lettered("inception_c", "Mixed_7", 3),
        "aux_1.2": "AuxLogits/Conv2d_1b_1x1",
        "aux_1.wide.1": "AuxLogits/Conv2d_2a",
        "aux_1.logits": "AuxLogits/Aux_logits",
        HEAD: "Logits/Logits",
    },
    "inception_resnet_v2": {
        **_STEM_V3,
        "inception_a": "Mixed_5b",
        **{f"inception_resnet_a_{number}": f"Repeat/block35_{number}" for number in range(1, 11)},
        "reduction_a": "Mixed_6a",
        **{f"inception_resnet_b_{number}": f"Repeat_1/block17_{number}" for number in range(1, 21)},
        "reduction_b": "Mixed_7a",
        **{f"inception_resnet_c_{number}": f"Repeat_2/block8_{number}" for number in range(1, 10)},
        "inception_resnet_c_10": "Block8",
        "last.1": "Conv2d_7b_1x1",
        "aux_1.2": "AuxLogits/Conv2d_1b_1x1",
        "aux_1.wide.1": "AuxLogits/Conv2d_2a_5x5",
        "aux_1.logits": "AuxLogits/Logits",
        HEAD: "Logits/Logits",
    },
}
"""slim's scope for a stage or a step of a stage."""
SLIPS: dict[str, dict[str, str]] = {
    "inception_v3": {
        "Mixed_5c/Branch_1/Conv2d_0a_1x1": "Mixed_5c/Branch_1/Conv2d_0b_1x1",
        "Mixed_5c/Branch_1/Conv2d_0b_5x5": "Mixed_5c/Branch_1/Conv_1_0c_5x5",
        "Mixed_6a/Branch_0/Conv2d_1a_3x3": "Mixed_6a/Branch_0/Conv2d_1a_1x1",
        "Mixed_6a/Branch_1/Conv2d_1a_3x3": "Mixed_6a/Branch_1/Conv2d_1a_1x1",
        "Mixed_7b/Branch_1/Conv2d_0c_3x1": "Mixed_7b/Branch_1/Conv2d_0b_3x1",
    },
    "inception_v4": {
        "Mixed_3a/Branch_1/Conv2d_1a_3x3": "Mixed_3a/Branch_1/Conv2d_0a_3x3",
        "Mixed_4a/Branch_0/Conv2d_0b_3x3": "Mixed_4a/Branch_0/Conv2d_1a_3x3",
        "Mixed_4a/Branch_1/Conv2d_0d_3x3": "Mixed_4a/Branch_1/Conv2d_1a_3x3",
    },
}
"""Scopes that do not follow the rule by which slim names its convolutions."""
_KERNELS = {
    "kernel": "weights",
    "bias": "biases",
    "depthwise_kernel": "depthwise_weights",
    "pointwise_kernel": "pointwise_weights",
}
_NORM = ("gamma", "beta", "moving_mean", "moving_variance")
_OF_THE_NETWORK = {*_KERNELS.values(), *_NORM}


def read(path: Path, network: keras.Model, variant: str) -> Content:
    """Read a checkpoint of either format, by its prefix. Errors: WeightsError."""
    import tensorflow as tf

    root = ROOTS[variant]
    found = units(network)
    auxiliary = any(unit.name.startswith(AUXILIARY) for unit in found)
    try:
        reader = tf.train.load_checkpoint(str(path))
        held = sorted(reader.get_variable_to_shape_map())
        mine = [name for name in held if name.startswith(f"{root}/") and name.rpartition("/")[2] in _OF_THE_NETWORK]
        wanted = [name for name in mine if auxiliary or not name.startswith(f"{root}/AuxLogits/")]
        arrays = {name: np.asarray(reader.get_tensor(name), dtype="float32") for name in wanted}
    except (tf.errors.OpError, ValueError, RuntimeError, LookupError) as error:
        raise WeightsError(
            f"{path} cannot be read as a TensorFlow checkpoint: {' '.join(str(error).split())[:300]}.",
            "It may have been cut short: unpack it again. Give the path without .index, .meta or .data-….",
        ) from None
    if not arrays:
        roots = sorted({name.partition("/")[0] for name in held})
        raise WeightsError(
            f"{path.name} holds no {root}, which {variant} is called there. It holds: {', '.join(roots[:5])}.",
            "Give the checkpoint of this network, or choose the variant that the checkpoint is of.",
        )
    logits = {f"{root}/{scope}/weights" for key, scope in SCOPES[variant].items() if key.endswith("logits")}
    for name in logits & arrays.keys():
        if arrays[name].shape[:-2] == (1, 1):  # a dense layer that slim wrote as a 1×1 convolution
            arrays[name] = arrays[name][0, 0]
    return Content(path.name, arrays, names(found, variant), background=True)


def names(found: Iterable[Unit], variant: str) -> dict[str, str]:
    """slim's name for every variable that a network of that row may have."""
    found = list(found)
    steps: dict[tuple[str, int], int] = {}
    for unit in found:
        steps[unit.stage, unit.branch] = max(steps.get((unit.stage, unit.branch), 0), unit.step)
    result: dict[str, str] = {}
    for unit in found:
        scope = _scope(unit, variant, alone=steps[unit.stage, unit.branch] == 1)
        at = f"{ROOTS[variant]}/{SLIPS.get(variant, {}).get(scope, scope)}"
        result |= {f"{unit.layer.name}/{ours}": f"{at}/{theirs}" for ours, theirs in _KERNELS.items()}
        if unit.norm is not None:
            result |= {f"{unit.norm.name}/{name}": f"{at}/BatchNorm/{name}" for name in _NORM}
    return result


def _scope(unit: Unit, variant: str, alone: bool) -> str:
    """The scope by slim's rule: a 1 for what shrinks the grid, else a 0 and the letter of its place in the branch."""
    scopes = SCOPES[variant]
    if unit.stage.endswith(".up"):
        return f"{scopes[unit.stage.removesuffix('.up')]}/Conv2d_1x1"
    if not unit.branch:
        return scopes[f"{unit.stage}.{unit.step}" if unit.kernel else unit.stage]
    branch = f"{scopes[unit.stage]}/Branch_{unit.branch - 1}"
    if unit.strided:
        return f"{branch}/Conv2d_1a_{unit.kernel}"
    if alone and variant == "inception_resnet_v2":
        return f"{branch}/Conv2d_{unit.kernel}"
    letter = string.ascii_lowercase[unit.step - 1 + max(unit.fork - 1, 0)]
    return f"{branch}/Conv2d_0{letter}_{unit.kernel}"
