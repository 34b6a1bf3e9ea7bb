"""Weights files of keras.applications' networks: with them the network answers as keras.applications' does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format

from trainer.errors import WeightsError
from trainer.weights import keras_file
from trainer.weights.filling import Filled, fill

IMAGE_SIZE, CLASSES = 139, 10
REMEDY = "Give Keras'."
REFERENCES = {
    "inception_v3": keras.applications.InceptionV3,
    "inception_resnet_v2": keras.applications.InceptionResNetV2,
}
Draw = Callable[[str, tuple[int, ...]], np.ndarray]


def reference(variant: str, drawn: Draw, top: bool = True) -> keras.Model:
    """keras.applications' network with random weights and statistics."""
    shape = (IMAGE_SIZE, IMAGE_SIZE, 3)
    head = {"classes": CLASSES, "classifier_activation": None} if top else {}
    network = REFERENCES[variant](weights=None, include_top=top, input_shape=shape, **head)
    for variable in network.weights:
        variable.assign(drawn(variable.name, tuple(variable.shape)))
    return network


def written(network: keras.Model, folder: Path, older: bool) -> Path:
    """In the format the weights are published in, or in Keras 3's."""
    path = folder / ("weights.h5" if older else "model.weights.h5")
    if older:
        with h5py.File(path, "w") as file:
            legacy_h5_format.save_weights_to_hdf5_group(file, network)
    else:
        network.save_weights(path)
    return path


@pytest.fixture(scope="module")
def v3(drawn: Draw) -> keras.Model:
    return reference("inception_v3", drawn)


def load(path: Path, network: keras.Model, variant: str = "inception_v3") -> Filled:
    return fill(network, keras_file.read(path, network, variant), CLASSES, REMEDY)


def assert_same_answers(network: keras.Model, expected_of: keras.Model) -> None:
    images = np.random.default_rng(1).uniform(-1, 1, (2, IMAGE_SIZE, IMAGE_SIZE, 3)).astype("float32")
    expected = np.asarray(expected_of(images, training=False))
    found = np.asarray(network(images, training=False)["main"])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("older", [True, False])
@pytest.mark.parametrize("auxiliary", [True, False])
def test_the_network_answers_as_the_one_whose_weights_it_has(
    network_of: Callable[..., keras.Model], v3: keras.Model, tmp_path: Path, older: bool, auxiliary: bool
) -> None:
    """Both formats, with and without an auxiliary classifier, of which Keras has none: it stays fresh."""
    network = network_of(CLASSES, variant="inception_v3", image_size=IMAGE_SIZE, auxiliary=auxiliary)
    for variable in network.weights:
        variable.assign(np.zeros(variable.shape))
    filled = load(written(v3, tmp_path, older), network)
    assert_same_answers(network, v3)
    assert len(filled.loaded) == 94 * 2 + 1
    assert all(name.startswith("aux_1.") for name in filled.fresh)
    assert len(filled.fresh) == (5 if auxiliary else 0)


def test_a_network_that_trains_with_fused_normalisation_takes_them_too(
    network_of: Callable[..., keras.Model], v3: keras.Model, tmp_path: Path
) -> None:
    """Its layers are of another class than the file's, and the same otherwise."""
    network = network_of(CLASSES, fused=True, variant="inception_v3", image_size=IMAGE_SIZE, auxiliary=False)
    for variable in network.weights:
        variable.assign(np.zeros(variable.shape))
    assert len(load(written(v3, tmp_path, older=False), network).loaded) == 94 * 2 + 1
    assert_same_answers(network, v3)


@pytest.mark.slow
@pytest.mark.parametrize("older", [True, False])
def test_inception_resnet_v2_answers_as_the_one_whose_weights_it_has(
    network_of: Callable[..., keras.Model], drawn: Draw, tmp_path: Path, older: bool
) -> None:
    """The residual blocks' biases included."""
    source = reference("inception_resnet_v2", drawn)
    network = network_of(CLASSES, variant="inception_resnet_v2", image_size=IMAGE_SIZE, auxiliary=True)
    load(written(source, tmp_path, older), network, "inception_resnet_v2")
    assert_same_answers(network, source)


@pytest.mark.parametrize("older", [True, False])
def test_weights_without_a_top_leave_the_classifier_fresh(
    network_of: Callable[..., keras.Model], drawn: Draw, tmp_path: Path, older: bool
) -> None:
    """They fill everything below it."""
    network = network_of(CLASSES, variant="inception_v3", image_size=IMAGE_SIZE, auxiliary=False)
    path = written(reference("inception_v3", drawn, top=False), tmp_path, older)
    assert load(path, network).fresh == {"head.logits": "the file has none"}


def last_convolution(path: Path, older: bool, change: Callable[[h5py.Group, str], None]) -> None:
    """Change the kernel of one of the convolutions in the file."""
    with h5py.File(path, "r+") as file:
        if older:
            layer = next(name for name in file.attrs["layer_names"][::-1] if name.startswith("conv2d"))
            change(file[layer][layer], "kernel")
        else:
            change(file["layers/conv2d_93/vars"], "0")


def take_out(group: h5py.Group, name: str) -> None:
    del group[name]


def reshape(group: h5py.Group, name: str) -> None:
    del group[name]
    group[name] = np.zeros((1, 1, 7, 192), "float32")


@pytest.mark.parametrize("older", [True, False])
@pytest.mark.parametrize("change", [take_out, reshape])
def test_a_kernel_that_is_not_there_or_has_another_shape_is_refused(
    network_of: Callable[..., keras.Model],
    v3: keras.Model,
    tmp_path: Path,
    older: bool,
    change: Callable[[h5py.Group, str], None],
) -> None:
    """The message names it."""
    network = network_of(CLASSES, variant="inception_v3", image_size=IMAGE_SIZE, auxiliary=False)
    path = written(v3, tmp_path, older)
    last_convolution(path, older, change)
    with pytest.raises(
        WeightsError, match=r"kernel of the layer conv2d|conv2d.*/kernel has|conv2d_93|conv/kernel is loaded"
    ):
        load(path, network)


def test_a_file_of_a_larger_network_is_refused(
    network_of: Callable[..., keras.Model], v3: keras.Model, tmp_path: Path
) -> None:
    """One layer more in the older format; one variable more in Keras 3's."""
    network = network_of(CLASSES, variant="inception_v3", image_size=IMAGE_SIZE, auxiliary=False)
    larger = keras.Sequential([v3, keras.layers.Dense(3), keras.layers.Dense(3)])
    with pytest.raises(WeightsError, match="holds 3 layers with weights, and inception_v3 has 189"):
        load(written(larger, tmp_path, older=True), network)
    path = written(v3, tmp_path, older=False)
    with h5py.File(path, "r+") as file:
        file["layers/conv2d_94/vars/0"] = np.zeros(3)
    with pytest.raises(WeightsError, match="holds conv2d_94/0, for which inception_v3 has no place"):
        load(path, network)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04" + bytes(100), None])
def test_a_file_that_is_none_is_refused(
    network_of: Callable[..., keras.Model], v3: keras.Model, tmp_path: Path, content: bytes | None
) -> None:
    """Empty, of another kind, or cut short."""
    network = network_of(CLASSES, variant="inception_v3", image_size=IMAGE_SIZE, auxiliary=False)
    path = written(v3, tmp_path, older=True)
    path.write_bytes(path.read_bytes()[:40_000_000] if content is None else content)
    with pytest.raises(WeightsError, match="cannot be read as a Keras weights file"):
        load(path, network)


def test_hdf5_without_layers_is_refused(network_of: Callable[..., keras.Model], tmp_path: Path) -> None:
    """Anybody may write HDF5."""
    network = network_of(CLASSES, variant="inception_v3", image_size=IMAGE_SIZE, auxiliary=False)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["numbers"] = [1, 2]
    with pytest.raises(WeightsError, match="it holds no layers"):
        load(tmp_path / "other.h5", network)
