"""Several trained networks in one served model."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from trainer.config import Model, Views
from trainer.models import classifier

SMALL = Model(variant="googlenet", stem="small", width=0.1, image_size=32, auxiliary=True)
NORMALISED = Model(variant="inception_small", width=0.1, image_size=32)
MODULE = Model(variant="inception_module", width=0.1, image_size=8)


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (*shape, 3), np.uint8)


def trained(model: Model, seed: int) -> dict[str, Any]:
    """Weights as different trainings would leave them: answers that are neither alike nor certain."""
    keras.utils.set_random_seed(seed)
    network = classifier.for_training(model, 4, (8, 8))
    weights = classifier.weights_of(network)
    return weights | {"head.logits/bias": np.random.default_rng(seed).normal(0, 1, 4).astype("float32")}


@pytest.mark.parametrize("model", [MODULE, SMALL, NORMALISED], ids=lambda model: model.variant)
def test_an_ensemble_averages_its_members_probabilities(model: Model) -> None:
    """The arithmetic mean (arXiv:1409.4842, section 7), with the parameters of all; auxiliary classifiers vanish."""
    members = [trained(model, seed) for seed in range(3)]
    alone = [classifier.for_serving([member], model, 4) for member in members]
    together = classifier.for_serving(members, model, 4)
    batch = images(3, 20, 31)
    answers = [np.asarray(one(batch)) for one in alone]
    np.testing.assert_allclose(np.asarray(together(batch)), np.mean(answers, axis=0), atol=1e-6)
    assert np.abs(answers[0] - answers[1]).max() > 1e-3
    assert together.count_params() == sum(one.count_params() for one in alone)


def test_members_are_layers_of_their_own() -> None:
    """Each holds its network and its weights; the order is that of the members."""
    members = [trained(MODULE, seed) for seed in (5, 6)]
    served = classifier.for_serving(members, MODULE, 4)
    assert served.name == "inception_module"
    for number, weights in enumerate(members, start=1):
        network = served.get_layer(f"member_{number}").get_layer("inception_module")
        for variable in network.weights:
            assert np.array_equal(variable.numpy(), weights[variable.path])


def test_one_member_is_served_as_before_there_were_any() -> None:
    """The graph of a single network has no trace of an ensemble."""
    names = [layer.name for layer in classifier.for_serving([trained(SMALL, 1)], SMALL, 4).layers]
    assert names == ["images", "scale", "resize", "googlenet", "probabilities"]


def test_an_ensemble_looks_at_views() -> None:
    """Averaged over both: members and views."""
    asked = MODULE.model_copy(update={"test_time": Views(flip=True)})
    members = [trained(MODULE, seed) for seed in range(2)]
    batch = images(2, 9, 12)
    alone = [np.asarray(classifier.for_serving([member], asked, 4)(batch)) for member in members]
    np.testing.assert_allclose(classifier.for_serving(members, asked, 4)(batch), np.mean(alone, axis=0), atol=1e-6)


def test_the_policy_of_the_training_is_left_alone() -> None:
    """Members compute in float32 where they were trained in bfloat16."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    members = [trained(MODULE, seed) for seed in range(2)]
    served = classifier.for_serving(members, MODULE, 4)
    assert keras.config.dtype_policy().name == "mixed_bfloat16"
    assert {layer.compute_dtype for layer in served._flatten_layers() if layer.weights} == {"float32"}


def test_weights_of_another_network_are_no_member() -> None:
    """A variable that is missing is named."""
    with pytest.raises(KeyError, match=r"module\.branch1"):
        classifier.for_serving([trained(NORMALISED, 1)], MODULE, 4)
