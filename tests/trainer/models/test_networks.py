"""What holds for the built networks: outputs, options, names, precision, saving."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from trainer.config import Model
from trainer.models import archive, zoo
from trainer.models.blocks import BN_EPSILON
from trainer.models.googlenet import local_response_normalisation

ROWS = sorted(zoo.VARIANTS)
NORMALISED = [name for name in ROWS if "bn_gamma" in zoo.VARIANTS[name].options]
WITH_SMALL_STEM = [name for name in ROWS if zoo.VARIANTS[name].has_small_stem]
AUXILIARY_OUTPUTS = {
    "googlenet": ["aux_1", "aux_2"],
    "inception_v3": ["aux_1"],
    "inception_v4": ["aux_1"],
    "inception_resnet_v1": ["aux_1"],
    "inception_resnet_v2": ["aux_1"],
}
LAYER_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)+")


def narrow(name: str, **more: Any) -> Model:
    """The least of a network: small stem where there is one, an eighth of the channels, all its classifiers."""
    least: dict[str, Any] = {"variant": name, "width": 0.125}
    if zoo.VARIANTS[name].has_small_stem:
        least |= {"stem": "small"}
    if name in AUXILIARY_OUTPUTS:
        least |= {"auxiliary": True}
    return Model(**least | more)


def altered(name: str) -> Model:
    """Likewise, with another value for every option that leaves the layers where they are."""
    others = {"dropout": 0.35, "bn_momentum": 0.9, "bn_gamma": True, "residual_scale": 0.3}
    return narrow(name, **{option: others[option] for option in others.keys() & zoo.VARIANTS[name].options})


def plain(name: str) -> Model:
    """Likewise, without what can be left out."""
    return narrow(name, dropout=0.0, auxiliary=False)


@functools.cache
def built(model: Model, classes: int = 3) -> keras.Model:
    """A network several tests look at. None may change it."""
    return zoo.build(model, classes)


@functools.cache
def outlined(model: Model, classes: int = 3) -> keras.Model:
    """Likewise, for what is true of names and settings: without values, it is made in half the time."""
    return zoo.outline(model, classes)


def images_for(network: keras.Model, count: int = 2) -> np.ndarray[Any, Any]:
    return np.random.default_rng(3).uniform(-1, 1, (count, *network.input_shape[1:])).astype("float32")


def logits(network: keras.Model, images: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    return {name: keras.ops.convert_to_numpy(value) for name, value in network(images, training=False).items()}


def check_logits(network: keras.Model, classes: int) -> None:
    for value in logits(network, images_for(network)).values():
        assert value.shape == (2, classes)
        assert value.dtype == np.float32
        assert np.isfinite(value).all()
        assert np.ptp(value) > 0


@pytest.mark.parametrize("name", WITH_SMALL_STEM)
def test_the_small_stem_makes_a_classifier_of_32_pixels(name: str) -> None:
    """At full width and 32 pixels every row has a logit for each class, and finite ones at an eighth of it."""
    full = outlined(Model(variant=name, stem="small"), 7)
    assert full.input_shape == (None, 32, 32, 3)
    assert {logit.shape for logit in full.output.values()} == {(None, 7)}
    check_logits(built(narrow(name)), 3)


@pytest.mark.parametrize(
    ("name", "image_size", "grid"),
    [
        ("googlenet", 32, 16),
        ("googlenet", 48, 24),
        ("googlenet", 49, 13),
        ("inception_v2", 96, 24),
        ("inception_v3", 32, 8),
        ("inception_resnet_v1", 96, 24),
    ],
)
def test_the_small_stem_hands_on_at_most_24_by_24(name: str, image_size: int, grid: int) -> None:
    """Up to its largest image the small stem keeps the first module's grid cheap."""
    network = built(narrow(name, image_size=image_size))
    stem = [layer for layer in network.layers if layer.name.startswith("stem.")]
    assert stem[-1].output.shape[1:3] == (grid, grid)
    kernels = {weight.path for weight in network.weights if weight.path.startswith("stem.") and weight.name == "kernel"}
    assert kernels == {
        "stem.fine.1_3x3.conv/kernel",  # the same with and without the pool: weights of one size fit another
        "stem.coarse.1_1x1.conv/kernel",
        "stem.coarse.2_3x3.conv/kernel",
    }
    check_logits(network, 3)


@pytest.mark.parametrize("name", ROWS)
def test_the_smallest_image_of_the_paper_is_enough(name: str) -> None:
    """The paper's stem makes a classifier of the smallest images a recipe may ask for."""
    row = zoo.VARIANTS[name]
    more = {"auxiliary": True} if "auxiliary" in row.options else {}
    check_logits(zoo.build(Model(variant=name, image_size=row.smallest_image, width=0.125, **more), 3), 3)


@pytest.mark.parametrize("name", ROWS)
def test_outputs_are_named_main_and_auxiliary(name: str) -> None:
    """The outputs are a dict: `main`, and the auxiliary classifiers where they are asked for."""
    assert list(outlined(narrow(name)).output) == ["main", *AUXILIARY_OUTPUTS.get(name, [])]
    assert list(outlined(plain(name)).output) == ["main"]


@pytest.mark.parametrize("name", ROWS)
def test_layer_names_are_stable(name: str) -> None:
    """Two builds have the same names in the same order, each a stage and a path in it."""
    first, second = outlined(narrow(name)), zoo.outline(narrow(name), 3)
    names = [layer.name for layer in first.layers if layer.name != "image"]
    assert names == [layer.name for layer in second.layers if layer.name != "image"]
    assert [name for name in names if not LAYER_NAME.fullmatch(name)] == []
    assert [w.path for w in first.weights] == [w.path for w in second.weights]


@pytest.mark.usefixtures("mixed_bfloat16")
@pytest.mark.parametrize("name", ROWS)
def test_logits_are_float32_in_mixed_precision(name: str) -> None:
    """Convolutions compute in 16 bits, pooling and logits of the head in 32."""
    more = {"stem": "paper", "lrn": True} if name == "googlenet" else {}
    network = zoo.build(narrow(name, **more), 2)
    convolutions = [layer for layer in network.layers if isinstance(layer, layers.Conv2D)]
    assert {layer.compute_dtype for layer in convolutions} == {"bfloat16"}
    assert {layer.compute_dtype for layer in network.layers if layer.name.endswith("logits")} == {"float32"}
    check_logits(network, 2)


@pytest.mark.parametrize("name", NORMALISED)
def test_batch_normalisation_is_as_the_recipe_says(name: str) -> None:
    """Momentum and gamma reach every normalisation; epsilon is TF-slim's; no normalised convolution has a bias."""
    for model, momentum, gamma in [(narrow(name), 0.99, False), (altered(name), 0.9, True)]:
        network = outlined(model)
        found = [layer for layer in network.layers if isinstance(layer, layers.BatchNormalization)]
        assert len(found) >= 19
        assert {(layer.momentum, layer.scale, layer.epsilon) for layer in found} == {(momentum, gamma, BN_EPSILON)}
        normalised = [network.get_layer(layer.name.removesuffix(".bn") + ".conv") for layer in found]
        assert not any(convolution.use_bias for convolution in normalised)


@pytest.mark.parametrize(
    ("name", "scales"),
    [
        ("inception_resnet_v1", {"a": (5, 0.17), "b": (10, 0.10), "c": (5, 0.20)}),
        ("inception_resnet_v2", {"a": (10, 0.17), "b": (20, 0.10), "c": (9, 0.20)}),
    ],
)
def test_residual_branches_are_scaled(name: str, scales: dict[str, tuple[int, float]]) -> None:
    """Each type of block has the released code's scale, or all have the recipe's."""
    for model, asked in [(narrow(name), None), (altered(name), 0.3)]:
        network = outlined(model)
        found = {layer.name: layer.scale for layer in network.layers if isinstance(layer, layers.Rescaling)}
        assert found == {
            f"inception_resnet_{kind}_{number}.scale": asked or scale
            for kind, (count, scale) in scales.items()
            for number in range(1, count + 1)
        }


def test_the_last_block_of_inception_resnet_v2_is_plain() -> None:
    """It is neither scaled nor rectified: what leaves it can be negative."""
    network = outlined(narrow("inception_resnet_v2"))
    names = {layer.name for layer in network.layers}
    assert "inception_resnet_c_9.relu" in names
    assert {"inception_resnet_c_10.relu", "inception_resnet_c_10.scale"} & names == set()
    assert network.get_layer("last.1_1x1.conv").input is network.get_layer("inception_resnet_c_10.sum").output


@pytest.mark.parametrize("name", ROWS)
def test_dropout_is_the_recipes(name: str) -> None:
    """The head's dropout has the recipe's rate, and no layer at all for a rate of 0."""
    assert outlined(altered(name)).get_layer("head.dropout").rate == 0.35
    assert "head.dropout" not in {layer.name for layer in outlined(plain(name)).layers}


def test_googlenets_auxiliary_classifiers_drop_seven_tenths() -> None:
    """Section 5 of the paper: 70 % of the outputs are dropped, whatever the head drops."""
    network = outlined(narrow("googlenet", dropout=0.1))
    assert [network.get_layer(f"{stage}.dropout").rate for stage in ("aux_1", "aux_2")] == [0.7, 0.7]


def test_googlenets_biases_start_at_a_fifth() -> None:
    """All convolutions, as in the Caffe release; classifiers start at 0."""
    network = built(narrow("googlenet"))
    convolutions = [layer for layer in network.layers if isinstance(layer, layers.Conv2D)]
    assert all(np.all(layer.get_weights()[1] == np.float32(0.2)) for layer in convolutions)
    assert np.all(network.get_layer("head.logits").get_weights()[1] == 0)


@pytest.mark.parametrize(("width", "channels"), [(1.0, 64), (2.0, 128), (0.5, 32), (0.3, 16), (0.01, 8)])
def test_width_rounds_to_multiples_of_eight(width: float, channels: int) -> None:
    """64 channels become the nearest multiple of 8, at least 8; the classes stay."""
    network = outlined(Model(variant="inception_module", width=width))
    assert network.get_layer("module.branch1.2_3x3.conv").filters == channels
    assert network.output["main"].shape == (None, 3)


def test_the_convnets_single_unit_makes_a_pair_of_logits() -> None:
    """For two classes the logits are [0, z]: their softmax is sigmoid(z). For more, one unit a class."""
    network = zoo.build(Model(variant="convnet", image_size=46), 2)
    unit = keras.Model(network.input, network.get_layer("head.logits").output)
    images = images_for(network, 3)
    z = keras.ops.convert_to_numpy(unit(images, training=False))
    pair = logits(network, images)["main"]
    assert z.shape == (3, 1)
    np.testing.assert_array_equal(pair, np.concatenate([np.zeros_like(z), z], axis=1))
    shares = keras.ops.convert_to_numpy(keras.ops.softmax(pair))
    np.testing.assert_allclose(shares[:, 1:], 1 / (1 + np.exp(-z)), rtol=1e-6)
    assert zoo.build(Model(variant="convnet", image_size=46), 5).get_layer("head.logits").units == 5


def test_local_response_normalisation_is_caffes() -> None:
    """Each number is divided by (1 + 1e-4 / 5 · sum of squares over 5 channels)^0.75, zeros beyond the ends."""
    x = np.random.default_rng(5).normal(0, 200, (2, 3, 4, 7)).astype("float32")
    image = keras.Input(x.shape[1:])
    found = keras.Model(image, local_response_normalisation(image, "stem.lrn"))(x)
    squares = np.pad(x.astype("float64") ** 2, [(0, 0), (0, 0), (0, 0), (2, 2)])
    near = sum(squares[..., offset : offset + 7] for offset in range(5))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(found), x / (1 + 1e-4 / 5 * near) ** 0.75, rtol=1e-5)


def test_local_response_normalisation_adds_no_parameters() -> None:
    """It is there only when asked for, twice, where the paper's figure 3 has it."""
    plain, normalised = (outlined(Model(variant="googlenet", width=0.125, lrn=lrn)) for lrn in (False, True))
    assert plain.count_params() == normalised.count_params()
    added = {layer.name for layer in normalised.layers} - {layer.name for layer in plain.layers}
    assert {name.rpartition(".")[0] for name in added} == {"stem_1.lrn", "stem_2.lrn"}


def test_a_network_trains_through_keras_own_fit() -> None:
    """Losses and weights by output name fit the outputs, and the loss of a batch learned by heart falls."""
    network = zoo.build(narrow("googlenet"), 3)
    from_logits = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(
        "adam",
        loss=dict.fromkeys(network.output, from_logits),
        loss_weights={"main": 1, "aux_1": 0.3, "aux_2": 0.3},
        run_eagerly=True,  # a graph of all this takes longer to make than to train
    )
    images, labels = images_for(network, 12), np.arange(12) % 3
    history = network.fit(images, dict.fromkeys(network.output, labels), epochs=6, batch_size=12, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]


@pytest.mark.slow
def test_every_row_loads_in_safe_mode_without_this_project(tmp_path: Path) -> None:
    """A saved network needs only Keras: another process, without our packages, gets the same logits from the file."""
    models = {name: narrow(name) for name in ROWS} | {"lrn": Model(variant="googlenet", width=0.125, lrn=True)}
    for name, model in models.items():
        network = built(model, 2 if name == "convnet" else 3)
        network.save(tmp_path / f"{name}.keras")
        archive.expect_harmless(tmp_path / f"{name}.keras")  # nor does `predict` take it for anything else
        images = images_for(network)
        np.savez(tmp_path / f"{name}.npz", images=images, **logits(network, images))
    program = (
        "import pathlib, sys, keras, numpy as np\n"
        "for path in sorted(pathlib.Path().glob('*.keras')):\n"
        "    kept = np.load(path.with_suffix('.npz'))\n"
        "    found = keras.saving.load_model(path, safe_mode=True)(kept['images'], training=False)\n"
        "    same = all(np.array_equal(kept[key], found[key]) for key in found) and len(found) == len(kept) - 1\n"
        "    print(path.stem, same)\n"
        "print(sorted({'trainer'} & set(sys.modules)))\n"
    )
    result = subprocess.run(
        [sys.executable, "-I", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines() == [*(f"{name} True" for name in sorted(models)), "[]"]
