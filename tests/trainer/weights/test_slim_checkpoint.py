"""TF-slim's checkpoints: the names slim gives its variables, and files of both formats TensorFlow 1 wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.errors import WeightsError
from trainer.weights import slim_checkpoint
from trainer.weights.filling import fill

# What slim's scopes are called, branch by branch and bottom to top. Written down from its source, block by block,
# without the rule the loader goes by.
V2_MODULE = (
    "Branch_0/Conv2d_0a_1x1 Branch_1/Conv2d_0a_1x1 Branch_1/Conv2d_0b_3x3 Branch_2/Conv2d_0a_1x1 "
    "Branch_2/Conv2d_0b_3x3 Branch_2/Conv2d_0c_3x3 Branch_3/Conv2d_0b_1x1"
)
V2_REDUCTION = (
    "Branch_0/Conv2d_0a_1x1 Branch_0/Conv2d_1a_3x3 Branch_1/Conv2d_0a_1x1 Branch_1/Conv2d_0b_3x3 Branch_1/Conv2d_1a_3x3"
)
STEM_V3 = "Conv2d_1a_3x3 Conv2d_2a_3x3 Conv2d_2b_3x3 Conv2d_3b_1x1 Conv2d_4a_3x3"
V3_A = (
    "Branch_0/Conv2d_0a_1x1 Branch_1/Conv2d_0a_1x1 Branch_1/Conv2d_0b_5x5 Branch_2/Conv2d_0a_1x1 "
    "Branch_2/Conv2d_0b_3x3 Branch_2/Conv2d_0c_3x3 Branch_3/Conv2d_0b_1x1"
)
V3_5C = (
    "Branch_0/Conv2d_0a_1x1 Branch_1/Conv2d_0b_1x1 Branch_1/Conv_1_0c_5x5 Branch_2/Conv2d_0a_1x1 "
    "Branch_2/Conv2d_0b_3x3 Branch_2/Conv2d_0c_3x3 Branch_3/Conv2d_0b_1x1"
)
V3_6A = "Branch_0/Conv2d_1a_1x1 Branch_1/Conv2d_0a_1x1 Branch_1/Conv2d_0b_3x3 Branch_1/Conv2d_1a_1x1"
B = (
    "Branch_0/Conv2d_0a_1x1 Branch_1/Conv2d_0a_1x1 Branch_1/Conv2d_0b_1x7 Branch_1/Conv2d_0c_7x1 "
    "Branch_2/Conv2d_0a_1x1 Branch_2/Conv2d_0b_7x1 Branch_2/Conv2d_0c_1x7 Branch_2/Conv2d_0d_7x1 "
    "Branch_2/Conv2d_0e_1x7 Branch_3/Conv2d_0b_1x1"
)
REDUCTION_B = (
    "Branch_0/Conv2d_0a_1x1 Branch_0/Conv2d_1a_3x3 Branch_1/Conv2d_0a_1x1 Branch_1/Conv2d_0b_1x7 "
    "Branch_1/Conv2d_0c_7x1 Branch_1/Conv2d_1a_3x3"
)
V3_7B = (
    "Branch_0/Conv2d_0a_1x1 Branch_1/Conv2d_0a_1x1 Branch_1/Conv2d_0b_1x3 Branch_1/Conv2d_0b_3x1 "
    "Branch_2/Conv2d_0a_1x1 Branch_2/Conv2d_0b_3x3 Branch_2/Conv2d_0c_1x3 Branch_2/Conv2d_0d_3x1 Branch_3/Conv2d_0b_1x1"
)
V3_7C = V3_7B.replace("Branch_1/Conv2d_0b_3x1", "Branch_1/Conv2d_0c_3x1")
V4_4A = (
    "Branch_0/Conv2d_0a_1x1 Branch_0/Conv2d_1a_3x3 Branch_1/Conv2d_0a_1x1 Branch_1/Conv2d_0b_1x7 "
    "Branch_1/Conv2d_0c_7x1 Branch_1/Conv2d_1a_3x3"
)
V4_A = (
    "Branch_0/Conv2d_0a_1x1 Branch_1/Conv2d_0a_1x1 Branch_1/Conv2d_0b_3x3 Branch_2/Conv2d_0a_1x1 "
    "Branch_2/Conv2d_0b_3x3 Branch_2/Conv2d_0c_3x3 Branch_3/Conv2d_0b_1x1"
)
REDUCTION_A = "Branch_0/Conv2d_1a_3x3 Branch_1/Conv2d_0a_1x1 Branch_1/Conv2d_0b_3x3 Branch_1/Conv2d_1a_3x3"
V4_C = (
    "Branch_0/Conv2d_0a_1x1 Branch_1/Conv2d_0a_1x1 Branch_1/Conv2d_0b_1x3 Branch_1/Conv2d_0c_3x1 "
    "Branch_2/Conv2d_0a_1x1 Branch_2/Conv2d_0b_3x1 Branch_2/Conv2d_0c_1x3 Branch_2/Conv2d_0d_1x3 "
    "Branch_2/Conv2d_0e_3x1 Branch_3/Conv2d_0b_1x1"
)
RESNET_5B = V3_A.replace("Branch_0/Conv2d_0a_1x1", "Branch_0/Conv2d_1x1")
RESNET_7A = (
    "Branch_0/Conv2d_0a_1x1 Branch_0/Conv2d_1a_3x3 Branch_1/Conv2d_0a_1x1 Branch_1/Conv2d_1a_3x3 "
    "Branch_2/Conv2d_0a_1x1 Branch_2/Conv2d_0b_3x3 Branch_2/Conv2d_1a_3x3"
)
BLOCK35 = (
    "Conv2d_1x1 Branch_0/Conv2d_1x1 Branch_1/Conv2d_0a_1x1 Branch_1/Conv2d_0b_3x3 Branch_2/Conv2d_0a_1x1 "
    "Branch_2/Conv2d_0b_3x3 Branch_2/Conv2d_0c_3x3"
)
BLOCK17 = "Conv2d_1x1 Branch_0/Conv2d_1x1 Branch_1/Conv2d_0a_1x1 Branch_1/Conv2d_0b_1x7 Branch_1/Conv2d_0c_7x1"
BLOCK8 = BLOCK17.replace("1x7", "1x3").replace("7x1", "3x1")

NETS: dict[str, tuple[str, list[tuple[str, str, str]]]] = {
    "inception_v2": (
        "InceptionV2",
        [
            ("stem", "", "Conv2d_1a_7x7 Conv2d_2b_1x1 Conv2d_2c_3x3"),
            *zip(
                ("inception_3a", "inception_3b", "inception_4a", "inception_4b", "inception_4c", "inception_4d"),
                ("Mixed_3b", "Mixed_3c", "Mixed_4b", "Mixed_4c", "Mixed_4d", "Mixed_4e"),
                [V2_MODULE] * 6,
                strict=True,
            ),
            ("inception_3c", "Mixed_4a", V2_REDUCTION),
            ("inception_4e", "Mixed_5a", V2_REDUCTION),
            ("inception_5a", "Mixed_5b", V2_MODULE),
            ("inception_5b", "Mixed_5c", V2_MODULE),
            ("head.logits", "Logits", "Conv2d_1c_1x1"),
        ],
    ),
    "inception_v3": (
        "InceptionV3",
        [
            ("stem", "", STEM_V3),
            ("inception_a_1", "Mixed_5b", V3_A),
            ("inception_a_2", "Mixed_5c", V3_5C),
            ("inception_a_3", "Mixed_5d", V3_A),
            ("reduction_a", "Mixed_6a", V3_6A),
            *((f"inception_b_{n}", f"Mixed_6{' bcde'[n]}", B) for n in range(1, 5)),
            ("reduction_b", "Mixed_7a", REDUCTION_B),
            ("inception_c_1", "Mixed_7b", V3_7B),
            ("inception_c_2", "Mixed_7c", V3_7C),
            ("aux_1.2_1x1", "AuxLogits", "Conv2d_1b_1x1"),
            ("aux_1.wide", "AuxLogits", "Conv2d_2a_5x5"),
            ("aux_1.logits", "AuxLogits", "Conv2d_2b_1x1"),
            ("head.logits", "Logits", "Conv2d_1c_1x1"),
        ],
    ),
    "inception_v4": (
        "InceptionV4",
        [
            ("stem_1", "", "Conv2d_1a_3x3 Conv2d_2a_3x3 Conv2d_2b_3x3"),
            ("stem_2", "Mixed_3a", "Branch_1/Conv2d_0a_3x3"),
            ("stem_3", "Mixed_4a", V4_4A),
            ("stem_4", "Mixed_5a", "Branch_0/Conv2d_1a_3x3"),
            *((f"inception_a_{n}", f"Mixed_5{' bcde'[n]}", V4_A) for n in range(1, 5)),
            ("reduction_a", "Mixed_6a", REDUCTION_A),
            *((f"inception_b_{n}", f"Mixed_6{' bcdefgh'[n]}", B) for n in range(1, 8)),
            ("reduction_b", "Mixed_7a", REDUCTION_B),
            *((f"inception_c_{n}", f"Mixed_7{' bcd'[n]}", V4_C) for n in range(1, 4)),
            ("aux_1.2_1x1", "AuxLogits", "Conv2d_1b_1x1"),
            ("aux_1.wide", "AuxLogits", "Conv2d_2a"),
            ("aux_1.logits", "AuxLogits", "Aux_logits"),
            ("head.logits", "Logits", "Logits"),
        ],
    ),
    "inception_resnet_v2": (
        "InceptionResnetV2",
        [
            ("stem", "", STEM_V3),
            ("inception_a", "Mixed_5b", RESNET_5B),
            *((f"inception_resnet_a_{n}", f"Repeat/block35_{n}", BLOCK35) for n in range(1, 11)),
            ("reduction_a", "Mixed_6a", REDUCTION_A),
            *((f"inception_resnet_b_{n}", f"Repeat_1/block17_{n}", BLOCK17) for n in range(1, 21)),
            ("reduction_b", "Mixed_7a", RESNET_7A),
            *((f"inception_resnet_c_{n}", f"Repeat_2/block8_{n}", BLOCK8) for n in range(1, 10)),
            ("inception_resnet_c_10", "Block8", BLOCK8),
            ("last", "", "Conv2d_7b_1x1"),
            ("aux_1.2_1x1", "AuxLogits", "Conv2d_1b_1x1"),
            ("aux_1.wide", "AuxLogits", "Conv2d_2a_5x5"),
            ("aux_1.logits", "AuxLogits", "Logits"),
            ("head.logits", "Logits", "Logits"),
        ],
    ),
}
PARAMETERS_WITH_1001_CLASSES = {
    "inception_v2": 11_199_137,
    "inception_v3": 27_182_194,
    "inception_v4": 46_074_066,
    "inception_resnet_v2": 59_244_594,
}
LOGITS_AS_CONVOLUTIONS = ("Logits/Conv2d_1c_1x1", "AuxLogits/Conv2d_2b_1x1")
VARIABLES = {
    "kernel": "weights",
    "bias": "biases",
    "depthwise_kernel": "depthwise_weights",
    "pointwise_kernel": "pointwise_weights",
}
ROWS = ["inception_v2", "inception_v3", "inception_v4", pytest.param("inception_resnet_v2", marks=pytest.mark.slow)]
REMEDY = "Give slim's."

Arrays = dict[str, np.ndarray]
ArraysOf = Callable[[str], tuple[keras.Model, dict[str, str], Arrays]]


def slims_names(variant: str, network: keras.Model, convolutions_of: Callable[..., list[str]]) -> dict[str, str]:
    """slim's name for every variable of the network, by `<layer>/<variable>`, from the lists above."""
    root, stages = NETS[variant]
    names: dict[str, str] = {}
    for stage, scope, convolutions in stages:
        ours = list(convolutions_of(stage, network))
        assert len(ours) == len(convolutions.split()), stage
        for layer, convolution in zip(ours, convolutions.split(), strict=True):
            at = "/".join(part for part in (root, scope, convolution) if part)
            for variable in network.get_layer(layer).weights:
                names[f"{layer}/{variable.name}"] = f"{at}/{VARIABLES[variable.name]}"
            norm = layer.replace(".conv", ".bn")
            if norm != layer and any(one.name == norm for one in network.layers):
                for variable in network.get_layer(norm).weights:
                    names[f"{norm}/{variable.name}"] = f"{at}/BatchNorm/{variable.name}"
    return names


def as_slim_holds_it(name: str, shape: tuple[int, ...], classes: int = 1001) -> tuple[int, ...]:
    """The shape of a variable in slim: logits have a class more, and some of them are convolutions."""
    if "ogits" not in name or "BatchNorm" in name or shape[-1] != 1000:
        return shape
    shape = (*shape[:-1], classes)
    convolution = len(shape) > 1 and any(name.endswith(f"{at}/weights") for at in LOGITS_AS_CONVOLUTIONS)
    return (1, 1, *shape) if convolution else shape


def write(prefix: Path, arrays: Mapping[str, np.ndarray], newer: bool = True) -> Path:
    """A checkpoint in the newer format of three years of slim, or in the older one of 2016."""
    names, tensors = list(arrays), [tf.constant(array) for array in arrays.values()]
    if newer:
        tf.raw_ops.SaveV2(prefix=str(prefix), tensor_names=names, shape_and_slices=[""] * len(names), tensors=tensors)
    else:
        tf.raw_ops.Save(filename=str(prefix), tensor_names=names, data=tensors)
    return prefix


@pytest.fixture(scope="module")
def arrays_of(
    network_of: Callable[..., keras.Model], drawn: Callable[..., np.ndarray], convolutions_of: Callable[..., list[str]]
) -> ArraysOf:
    """A row's network with its auxiliary classifier, slim's names by ours, and what a checkpoint would hold."""

    def make(variant: str) -> tuple[keras.Model, dict[str, str], Arrays]:
        auxiliary = {} if variant == "inception_v2" else {"auxiliary": True}
        network = network_of(1000, variant=variant, **auxiliary)
        names = slims_names(variant, network, convolutions_of)
        arrays = {}
        for layer in network.layers:
            for variable in layer.weights:
                name = names[f"{layer.name}/{variable.name}"]
                arrays[name] = drawn(variable.name, as_slim_holds_it(name, tuple(variable.shape)))
        return network, names, arrays

    return make


def without_background(array: np.ndarray) -> np.ndarray:
    array = array[0, 0] if array.ndim == 4 else array
    return array[..., 1:]


@pytest.mark.parametrize("variant", ROWS)
def test_every_variable_is_loaded_from_slims(variant: str, arrays_of: ArraysOf, tmp_path: Path) -> None:
    """All of a checkpoint with 1001 classes and an auxiliary classifier ends up where it belongs."""
    network, names, arrays = arrays_of(variant)
    assert sum(array.size for array in arrays.values()) == PARAMETERS_WITH_1001_CLASSES[variant]
    path = write(tmp_path / "model.ckpt", arrays)
    filled = fill(network, slim_checkpoint.read(path, network, variant), 1000, REMEDY)
    assert filled.fresh == {}
    for layer in network.layers:
        for variable in layer.weights:
            held = arrays[names[f"{layer.name}/{variable.name}"]]
            expected = held if held.shape == tuple(variable.shape) else without_background(held)
            np.testing.assert_array_equal(np.asarray(variable), expected, err_msg=variable.path)


@pytest.fixture(scope="module")
def v2(arrays_of: ArraysOf) -> tuple[keras.Model, Arrays]:
    """None may change it."""
    network, _, arrays = arrays_of("inception_v2")
    return network, arrays


@pytest.mark.parametrize("newer", [True, False])
def test_both_formats_are_read(v2: tuple[keras.Model, Arrays], tmp_path: Path, newer: bool) -> None:
    """The released checkpoints are of 2016, in one file each; later ones are an index and data beside it."""
    network, arrays = v2
    path = write(tmp_path / "inception_v2.ckpt", arrays, newer)
    assert path.is_file() is not newer
    content = slim_checkpoint.read(path, network, "inception_v2")
    assert content.arrays.keys() == arrays.keys()
    fill(network, content, 1000, REMEDY)
    kernel = network.get_layer("stem.0_7x7.conv").depthwise_kernel
    np.testing.assert_array_equal(np.asarray(kernel), arrays["InceptionV2/Conv2d_1a_7x7/depthwise_weights"])


def test_what_belongs_to_the_training_is_left_out(v2: tuple[keras.Model, Arrays], tmp_path: Path) -> None:
    """Moving averages of the weights, an optimiser's variables and the step are none of the network's."""
    network, arrays = v2
    at = "InceptionV2/Conv2d_2b_1x1"
    others = {
        "global_step": np.int64(5),
        f"{at}/weights/ExponentialMovingAverage": np.zeros(2, "float32"),
        f"{at}/BatchNorm/moving_mean/ExponentialMovingAverage": np.zeros(2, "float32"),
        f"{at}/weights/RMSProp": np.zeros(2, "float32"),
        f"{at}/weights/RMSProp_1": np.zeros(2, "float32"),
        "OtherNet/weights": np.zeros(2, "float32"),
    }
    content = slim_checkpoint.read(write(tmp_path / "m", arrays | others), network, "inception_v2")
    assert content.arrays.keys() == arrays.keys()


def test_the_auxiliary_classifier_of_the_file_is_left_out_where_the_network_has_none(
    network_of: Callable[..., keras.Model], arrays_of: ArraysOf, tmp_path: Path
) -> None:
    """It is no surplus: the network does without."""
    _, _, arrays = arrays_of("inception_v3")
    network = network_of(1000, variant="inception_v3", auxiliary=False)
    content = slim_checkpoint.read(write(tmp_path / "m", arrays), network, "inception_v3")
    assert not [name for name in content.arrays if "AuxLogits" in name]
    assert fill(network, content, 1000, REMEDY).fresh == {}


def changed(arrays: Arrays, name: str, array: np.ndarray | None) -> Arrays:
    return {key: value for key, value in arrays.items() if key != name} | ({} if array is None else {name: array})


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        ("Mixed_4c/Branch_2/Conv2d_0b_3x3/weights", None, ["inception_4b.branch3.2_3x3.conv/kernel is loaded"]),
        ("Conv2d_1a_7x7/biases", None, ["stem.0_7x7.conv/bias is loaded"]),
        ("Mixed_4c/Branch_2/Conv2d_0b_3x3/weights", np.zeros((3, 3, 96, 1), "float32"), ["3×3×96×1", "3×3×96×128"]),
        ("Mixed_9a/Conv2d_0a_1x1/weights", np.zeros((1, 1, 2, 2), "float32"), ["no place"]),
        ("Conv2d_1a_7x7/BatchNorm/beta", np.zeros(64, "float32"), ["no place"]),
        ("Conv2d_2b_1x1/BatchNorm/gamma", np.full(64, 2, "float32"), ["bn_gamma = true"]),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(
    v2: tuple[keras.Model, Arrays], tmp_path: Path, name: str, array: np.ndarray | None, words: Iterable[str]
) -> None:
    """A missing, a superfluous or a misshapen variable is named as slim names it."""
    network, arrays = v2
    path = write(tmp_path / "model.ckpt", changed(arrays, f"InceptionV2/{name}", array))
    with pytest.raises(WeightsError) as caught:
        fill(network, slim_checkpoint.read(path, network, "inception_v2"), 1000, REMEDY)
    assert [word for word in ["model.ckpt", f"InceptionV2/{name}", *words] if word not in str(caught.value)] == []


def test_a_checkpoint_of_another_network_is_refused(v2: tuple[keras.Model, Arrays], tmp_path: Path) -> None:
    """It says whose it is."""
    network, _ = v2
    path = write(tmp_path / "m", {"InceptionV3/Conv2d_1a_3x3/weights": np.zeros((3, 3, 3, 32), "float32")})
    with pytest.raises(WeightsError, match=r"holds no InceptionV2, which inception_v2 is called.*holds: InceptionV3"):
        slim_checkpoint.read(path, network, "inception_v2")


@pytest.mark.parametrize("newer", [True, False])
def test_a_checkpoint_cut_short_is_refused(v2: tuple[keras.Model, Arrays], tmp_path: Path, newer: bool) -> None:
    """One message, no traceback of TensorFlow's."""
    network, arrays = v2
    path = write(tmp_path / "m", arrays, newer)
    longest = max(tmp_path.iterdir(), key=lambda file: file.stat().st_size)
    longest.write_bytes(longest.read_bytes()[:-1_000_000])
    with pytest.raises(WeightsError, match="cannot be read as a TensorFlow checkpoint"):
        slim_checkpoint.read(path, network, "inception_v2")
