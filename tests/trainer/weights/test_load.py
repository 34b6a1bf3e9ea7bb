"""From a recipe's `init` to a network that has begun with it, in a training too."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.legacy.saving import legacy_h5_format

from trainer import tracking, weights
from trainer.config import Model
from trainer.errors import WeightsError
from trainer.models import zoo
from trainer.state import State
from trainer.train import train
from trainer.training.learner import Learner
from trainer.weights import slim_checkpoint
from trainer.weights.content import units

Draw = Callable[[str, tuple[int, ...]], np.ndarray]


def loaded(model: Model, network: keras.Model, classes: int, cache: Path) -> weights.Loaded:
    assert model.init is not None
    return weights.load(network, zoo.resolve(model), model.init, classes, cache)


def test_what_was_loaded_is_told(network_of: Callable[..., keras.Model], drawn: Draw, tmp_path: Path) -> None:
    """Kind, address, checksum, what stayed fresh and why, and the scaling the weights go with."""
    source = keras.applications.InceptionV3(weights=None, include_top=False)
    path = tmp_path / "mine.h5"
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, source)
    model = Model(variant="inception_v3", init=f"keras:{path}", auxiliary=False)
    told = loaded(model, network_of(5, variant="inception_v3", auxiliary=False), 5, tmp_path / "cache")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert told == weights.Loaded("keras", str(path), digest, 188, {"head.logits": "the file has none"}, "symmetric")
    words = f"188 layers from {path} (sha256 {digest[:16]}…); head.logits fresh: the file has none"
    assert str(told) == words


@pytest.mark.parametrize("init", ["imagenet", "timm:inception_v4.tf_in1k", "slim:x"])
def test_a_network_that_scales_pixels_otherwise_is_refused(
    network_of: Callable[..., keras.Model], tmp_path: Path, init: str
) -> None:
    """All published weights here were trained on pixels from -1 to 1."""
    variant = "inception_v3" if init == "imagenet" else "inception_v4"
    options = replace(zoo.resolve(Model(variant=variant)), scaling="unit")
    with pytest.raises(WeightsError, match="scales pixels as 'unit'"):
        weights.load(network_of(1000, variant="inception_v4"), options, init, 1000, tmp_path)


def test_every_row_with_weights_scales_pixels_as_they_were_trained() -> None:
    """And normalises with their epsilon, which every publisher of them shares."""
    for name, row in zoo.VARIANTS.items():
        if row.weights:
            assert zoo.resolve(Model(variant=name)).scaling == weights.published.PREPROCESSING


def test_normalisation_has_the_epsilon_of_the_published_weights(network_of: Callable[..., keras.Model]) -> None:
    """1e-3, in Keras, TF-slim and timm alike."""
    norms = [
        layer
        for layer in network_of(1000, variant="inception_v4").layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert {layer.epsilon for layer in norms} == {1e-3}


def test_weights_of_a_kind_the_row_lacks_are_refused(network_of: Callable[..., keras.Model], tmp_path: Path) -> None:
    """Here too, whoever calls it without a recipe."""
    network = network_of(1000, variant="inception_v4")
    with pytest.raises(WeightsError, match="init 'imagenet' does not suit inception_v4"):
        weights.load(network, zoo.resolve(Model(variant="inception_v4")), "imagenet", 1000, tmp_path)


def checkpoint(path: Path, drawn: Draw) -> Path:
    """slim's Inception v2."""
    network = zoo.build(Model(variant="inception_v2", image_size=32), 1000)
    names = slim_checkpoint.names(units(network), "inception_v2")
    arrays = {
        names[f"{layer.name}/{v.name}"]: drawn(v.name, tuple(v.shape))
        for layer in network.layers
        for v in layer.weights
    }
    tensors = [tf.constant(array) for array in arrays.values()]
    tf.raw_ops.SaveV2(prefix=str(path), tensor_names=list(arrays), shape_and_slices=[""] * len(arrays), tensors=tensors)
    return path


@pytest.mark.slow
def test_a_training_begins_with_published_weights_and_resumes_without_them(
    digits_state: State,
    digits: Any,
    drawn: Draw,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The run in MLflow names them; what is resumed has its own weights and does not look for the file again."""
    path = checkpoint(tmp_path / "inception_v2.ckpt", drawn)
    recipe = digits.recipe(
        "model={variant='inception_v2',image_size=32,init='slim:" + str(path) + "'}",
        "train.epochs=2",
        "train.optimizer={name='sgd',learning_rate=1e-12}",
    )
    real = Learner.validate
    epochs = 0

    def killed_in_the_second(self: Learner, *arguments: Any) -> Any:
        nonlocal epochs
        epochs += 1
        if epochs == 2:
            raise KeyboardInterrupt
        return real(self, *arguments)

    monkeypatch.setattr(Learner, "validate", killed_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, digits.fingerprint, "k", digits_state)
    said = capsys.readouterr().out
    assert f"begun with 137 layers from {path}" in said
    assert "head.logits fresh: the file has 1000 classes, the network 10" in said

    files = [file for file in tmp_path.iterdir() if file.name.startswith("inception_v2.ckpt")]
    sha256 = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(files, reverse=True))).hexdigest()
    kernel = tf.train.load_checkpoint(str(path)).get_tensor("InceptionV2/Mixed_5c/Branch_1/Conv2d_0b_3x3/weights")
    for file in files:
        file.unlink()
    trained = train(recipe, digits.fingerprint, "k", digits_state)
    assert trained.resumed_from_epoch == 2
    assert "begun with" not in capsys.readouterr().out

    tracking.connect(digits_state)
    from mlflow import MlflowClient

    tags = MlflowClient().get_run(trained.mlflow_run_id).data.tags
    assert (tags["init"], tags["init_sha256"]) == (str(path), sha256)
    served = keras.saving.load_model(
        tracking.download(digits_state, trained.model_uri, tmp_path / "served") / "data" / "model.keras"
    )
    body = served.get_layer("inception_v2")
    np.testing.assert_allclose(np.asarray(body.get_layer("inception_5b.branch2.2_3x3.conv").kernel), kernel, atol=1e-6)
