"""timm's PyTorch weights as .safetensors files: names of its modules, axes in PyTorch's order.

The names are those of timm 1.0's `state_dict` of `inception_v4` and `inception_resnet_v2`. Its batch normalisation
has the epsilon of this project's (1e-3) and its average pools leave the padding out, as these networks' do.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import keras
import numpy as np
from safetensors import SafetensorError, safe_open

from trainer.errors import WeightsError
from trainer.weights.content import HEAD, Array, Content, Unit, units

_STEM_V3 = {1: "conv2d_1a", 2: "conv2d_2a", 3: "conv2d_2b", 5: "conv2d_3b", 6: "conv2d_4a"}
MODULES: dict[str, dict[str, str]] = {
    "inception_v4": {
        **{f"stem_1.{step}": f"features.{step - 1}" for step in (1, 2, 3)},
        "stem_2.branch2": "features.3.conv",
        "stem_3": "features.4",
        "stem_4.branch1": "features.5.conv",
        **{f"inception_a_{number}": f"features.{5 + number}" for number in range(1, 5)},
        "reduction_a": "features.10",
        **{f"inception_b_{number}": f"features.{10 + number}" for number in range(1, 8)},
        "reduction_b": "features.18",
        **{f"inception_c_{number}": f"features.{18 + number}" for number in range(1, 4)},
        HEAD: "last_linear",
    },
    "inception_resnet_v2": {
        **{f"stem.{step}": module for step, module in _STEM_V3.items()},
        "inception_a": "mixed_5b",
        **{f"inception_resnet_a_{number}": f"repeat.{number - 1}" for number in range(1, 11)},
        "reduction_a": "mixed_6a",
        **{f"inception_resnet_b_{number}": f"repeat_1.{number - 1}" for number in range(1, 21)},
        "reduction_b": "mixed_7a",
        **{f"inception_resnet_c_{number}": f"repeat_2.{number - 1}" for number in range(1, 10)},
        "inception_resnet_c_10": "block8",
        "last.1": "conv2d_7b",
        HEAD: "classif",
    },
}
"""timm's module for a stage, a step of a stage or a branch, whichever is the most exact."""
_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
_COUNTER = ".num_batches_tracked"


def read(path: Path, network: keras.Model, variant: str) -> Content:
    """Read a .safetensors file. Errors: WeightsError."""
    try:
        with safe_open(path, framework="numpy") as file:
            held = [name for name in file.keys() if not name.endswith(_COUNTER)]  # noqa: SIM118 (it is no mapping)
            arrays = {name: _in_keras_order(file.get_tensor(name)) for name in held}
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{path} cannot be read as safetensors: {error}.",
            "It may have been cut short: fetch it again, and see that it is a .safetensors file.",
        ) from None
    return Content(path.name, arrays, names(units(network), variant), background=True)


def names(found: Iterable[Unit], variant: str) -> dict[str, str]:
    """timm's name for every variable that a network of that row may have."""
    found = list(found)
    steps: dict[tuple[str, int], int] = {}
    forked = set()
    for unit in found:
        side = (unit.stage, unit.branch)
        steps[side] = max(steps.get(side, 0), unit.step)
        if unit.fork:
            forked.add(side)
    result: dict[str, str] = {}
    for unit in found:
        side = (unit.stage, unit.branch)
        module = _module(unit, MODULES[variant], alone=steps[side] == 1, forked=side in forked)
        weight = f"{module}.conv" if unit.norm is not None else module
        result |= {f"{unit.layer.name}/kernel": f"{weight}.weight", f"{unit.layer.name}/bias": f"{weight}.bias"}
        if unit.norm is not None:
            result |= {f"{unit.norm.name}/{ours}": f"{module}.bn.{theirs}" for ours, theirs in _NORM.items()}
    return result


def _module(unit: Unit, modules: dict[str, str], alone: bool, forked: bool) -> str:
    if unit.stage.endswith(".up"):
        return f"{modules[unit.stage.removesuffix('.up')]}.conv2d"
    exact = f"{unit.stage}.{unit.step}" if unit.kernel else unit.stage
    if unit.branch:
        exact = f"{unit.stage}.branch{unit.branch}"
    if exact in modules:
        return modules[exact]
    if unit.stage not in modules:
        return unit.name  # the auxiliary classifier, of which timm has no weights
    branch = f"{modules[unit.stage]}.branch{unit.branch - 1}"
    if alone:
        return branch
    if forked:
        return f"{branch}_{unit.step - 1}{('', 'a', 'b')[unit.fork]}"
    return f"{branch}.{unit.step - 1}"


def _in_keras_order(array: Array) -> Array:
    """Kernels from (out, in, height, width) to (height, width, in, out), dense ones from (out, in) to (in, out)."""
    axes = {4: (2, 3, 1, 0), 2: (1, 0)}.get(array.ndim)
    return np.asarray(array.transpose(axes) if axes else array, dtype="float32")
