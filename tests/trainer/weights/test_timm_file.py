"""timm's .safetensors files: the names timm gives its parameters, its axes, and its scales."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

from trainer.errors import WeightsError
from trainer.weights import timm_file
from trainer.weights.filling import fill

# timm 1.0's modules, branch by branch and bottom to top; written down from its `state_dict`, block by block.
V4_A = "branch0 branch1.0 branch1.1 branch2.0 branch2.1 branch2.2 branch3.1"
V4_B = "branch0 branch1.0 branch1.1 branch1.2 branch2.0 branch2.1 branch2.2 branch2.3 branch2.4 branch3.1"
V4_C = (
    "branch0 branch1_0 branch1_1a branch1_1b branch2_0 branch2_1 branch2_2 branch2_3a branch2_3b branch3.1"
)  # fmt: skip
REDUCTION_A = "branch0 branch1.0 branch1.1 branch1.2"
BLOCK35 = "conv2d branch0 branch1.0 branch1.1 branch2.0 branch2.1 branch2.2"
BLOCK17 = "conv2d branch0 branch1.0 branch1.1 branch1.2"
NETS: dict[str, list[tuple[str, str, str]]] = {
    "inception_v4": [
        ("stem_1", "features", "0 1 2"),
        ("stem_2", "features.3", "conv"),
        ("stem_3", "features.4", "branch0.0 branch0.1 branch1.0 branch1.1 branch1.2 branch1.3"),
        ("stem_4", "features.5", "conv"),
        *((f"inception_a_{n + 1}", f"features.{6 + n}", V4_A) for n in range(4)),
        ("reduction_a", "features.10", REDUCTION_A),
        *((f"inception_b_{n + 1}", f"features.{11 + n}", V4_B) for n in range(7)),
        ("reduction_b", "features.18", "branch0.0 branch0.1 branch1.0 branch1.1 branch1.2 branch1.3"),
        *((f"inception_c_{n + 1}", f"features.{19 + n}", V4_C) for n in range(3)),
        ("head.logits", "", "last_linear"),
    ],
    "inception_resnet_v2": [
        ("stem", "", "conv2d_1a conv2d_2a conv2d_2b conv2d_3b conv2d_4a"),
        ("inception_a", "mixed_5b", V4_A),
        *((f"inception_resnet_a_{n + 1}", f"repeat.{n}", BLOCK35) for n in range(10)),
        ("reduction_a", "mixed_6a", REDUCTION_A),
        *((f"inception_resnet_b_{n + 1}", f"repeat_1.{n}", BLOCK17) for n in range(20)),
        ("reduction_b", "mixed_7a", "branch0.0 branch0.1 branch1.0 branch1.1 branch2.0 branch2.1 branch2.2"),
        *((f"inception_resnet_c_{n + 1}", f"repeat_2.{n}", BLOCK17) for n in range(9)),
        ("inception_resnet_c_10", "block8", BLOCK17),
        ("last", "", "conv2d_7b"),
        ("head.logits", "", "classif"),
    ],
}
ENTRIES = {"inception_v4": 896, "inception_resnet_v2": 1306}
"""Of timm's `state_dict`, the counters of its batch normalisation among them."""
PARAMETERS = {"inception_v4": 42_679_816, "inception_resnet_v2": 55_843_464}
NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
REMEDY = "Give timm's."

Arrays = dict[str, np.ndarray]
Convolutions = Callable[[str, keras.Model], list[str]]
Draw = Callable[[str, tuple[int, ...]], np.ndarray]


def in_torchs_order(array: np.ndarray) -> np.ndarray:
    """(out, in, height, width) and (out, in), which is how PyTorch keeps kernels."""
    axes = {4: (3, 2, 0, 1), 2: (1, 0)}.get(array.ndim)
    return np.ascontiguousarray(array.transpose(axes) if axes else array)


def state_dict(
    variant: str, network: keras.Model, convolutions_of: Convolutions, drawn: Draw, scaled: bool
) -> tuple[Arrays, dict[str, str]]:
    """What timm saves for that network, and its names by our `<layer>/<variable>`. Without `scaled`, gamma is 1."""
    arrays: Arrays = {}
    names: dict[str, str] = {}
    layers = {layer.name: layer for layer in network.layers}
    for stage, module, convolutions in NETS[variant]:
        ours = convolutions_of(stage, network)
        assert len(ours) == len(convolutions.split()), stage
        for name, convolution in zip(ours, convolutions.split(), strict=True):
            at = ".".join(part for part in (module, convolution) if part)
            norm = layers.get(name.replace(".conv", ".bn")) if name.endswith(".conv") else None
            for variable in layers[name].weights:
                theirs = f"{at}{'.conv' if norm else ''}.{'bias' if variable.name == 'bias' else 'weight'}"
                names[f"{name}/{variable.name}"] = theirs
                arrays[theirs] = in_torchs_order(drawn(variable.name, tuple(variable.shape)))
            if norm is None:
                continue
            arrays[f"{at}.bn.num_batches_tracked"] = np.zeros((), "int64")
            for part, variable in NORM.items():
                shape = tuple(norm.moving_mean.shape)
                names[f"{norm.name}/{variable}"] = f"{at}.bn.{part}"
                arrays[f"{at}.bn.{part}"] = (
                    np.ones(shape, "float32") if part == "weight" and not scaled else drawn(variable, shape)
                )
    return arrays, names


ROWS = ["inception_v4", pytest.param("inception_resnet_v2", marks=pytest.mark.slow)]


@pytest.mark.parametrize("variant", ROWS)
def test_every_variable_is_loaded_from_timms(
    variant: str, network_of: Callable[..., keras.Model], convolutions_of: Convolutions, drawn: Draw, tmp_path: Path
) -> None:
    """All of it, axes turned, scales kept in a network that has them."""
    network = network_of(1000, variant=variant, bn_gamma=True)
    arrays, names = state_dict(variant, network, convolutions_of, drawn, scaled=True)
    assert len(arrays) == ENTRIES[variant]
    learnt = [
        array.size for name, array in arrays.items() if not name.endswith(("tracked", "running_mean", "running_var"))
    ]
    assert sum(learnt) == PARAMETERS[variant]
    path = tmp_path / "model.safetensors"
    save_file(arrays, path)
    filled = fill(network, timm_file.read(path, network, variant), 1000, REMEDY)
    assert filled.fresh == {}
    for layer in network.layers:
        for variable in layer.weights:
            held = arrays[names[f"{layer.name}/{variable.name}"]]
            np.testing.assert_array_equal(in_torchs_order(np.asarray(variable)), held, err_msg=variable.path)


@pytest.fixture(scope="module")
def v4(
    network_of: Callable[..., keras.Model], convolutions_of: Convolutions, drawn: Draw
) -> tuple[keras.Model, Arrays]:
    """The network without scales, and timm's weights with scales of 1, as those ported from TensorFlow have."""
    network = network_of(1000, variant="inception_v4")
    return network, state_dict("inception_v4", network, convolutions_of, drawn, scaled=False)[0]


def test_scales_of_one_are_dropped(v4: tuple[keras.Model, Arrays], tmp_path: Path) -> None:
    """The weights that Google's were ported to fit a network without scales as they are."""
    network, arrays = v4
    save_file(arrays, tmp_path / "m.safetensors")
    assert fill(network, timm_file.read(tmp_path / "m.safetensors", network, "inception_v4"), 1000, REMEDY).fresh == {}
    kernel = np.asarray(network.get_layer("stem_1.1_3x3.conv").kernel)
    np.testing.assert_array_equal(in_torchs_order(kernel), arrays["features.0.conv.weight"])


def test_an_auxiliary_classifier_stays_fresh(
    network_of: Callable[..., keras.Model], v4: tuple[keras.Model, Arrays], tmp_path: Path
) -> None:
    """timm has none for these networks."""
    network = network_of(1000, variant="inception_v4", auxiliary=True)
    save_file(v4[1], tmp_path / "m.safetensors")
    filled = fill(network, timm_file.read(tmp_path / "m.safetensors", network, "inception_v4"), 1000, REMEDY)
    assert all(name.startswith("aux_1.") for name in filled.fresh)
    assert len(filled.fresh) == 5
    assert set(filled.fresh.values()) == {"the file has none"}


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("features.7.branch2.1.conv.weight", None, ["inception_a_2.branch3.2_3x3.conv/kernel is loaded"]),
        ("features.0.bn.running_var", None, ["stem_1.1_3x3.bn/moving_variance is loaded"]),
        ("features.0.conv.weight", np.zeros((32, 4, 3, 3), "float32"), ["3×3×4×32", "3×3×3×32"]),
        ("features.22.conv.weight", np.zeros((2, 2, 1, 1), "float32"), ["no place"]),
        ("features.0.bn.weight", np.full(32, 1.25, "float32"), ["is not 1", "bn_gamma = true"]),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    v4: tuple[keras.Model, Arrays], tmp_path: Path, name: str, array: np.ndarray | None, words: list[str]
) -> None:
    """A missing, a superfluous or a misshapen parameter is named as timm names it, and so is a scale that matters."""
    network, arrays = v4
    other = {key: value for key, value in arrays.items() if key != name} | ({} if array is None else {name: array})
    save_file(other, tmp_path / "model.safetensors")
    content = timm_file.read(tmp_path / "model.safetensors", network, "inception_v4")
    with pytest.raises(WeightsError) as caught:
        fill(network, content, 1000, REMEDY)
    assert [word for word in ["model.safetensors", name, *words] if word not in str(caught.value)] == []


def damaged(path: Path, arrays: Arrays, how: str) -> None:
    save_file(arrays, path)
    whole = path.read_bytes()
    path.write_bytes({"short": whole[:-1000], "empty": b"", "pickle": b"PK\x03\x04" + bytes(300)}[how])


@pytest.mark.parametrize("how", ["short", "empty", "pickle"])
def test_a_file_that_is_none_is_refused(v4: tuple[keras.Model, Arrays], tmp_path: Path, how: str) -> None:
    """Cut short, empty, or PyTorch's own archive by the wrong name, which is not opened."""
    damaged(tmp_path / "m.safetensors", v4[1], how)
    with pytest.raises(WeightsError, match="cannot be read as safetensors"):
        timm_file.read(tmp_path / "m.safetensors", v4[0], "inception_v4")
