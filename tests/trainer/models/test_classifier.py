"""From raw images to logits in training, and to probabilities in what users load."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from trainer.config import Model
from trainer.data.images import resize
from trainer.models import classifier, zoo

SMALL = Model(variant="googlenet", stem="small", width=0.1, image_size=32, auxiliary=True, dropout=0.5)
NORMALISED = Model(variant="inception_small", width=0.1, image_size=32)
MODULE = Model(variant="inception_module", width=0.1)


def images(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)


def softmax(logits: np.ndarray) -> np.ndarray:
    odds = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def trained() -> keras.Model:
    """A network with two auxiliary classifiers, computing in bfloat16 as a training would."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = classifier.for_training(SMALL, 10, (8, 8))
    keras.config.set_dtype_policy("float32")
    return model


@pytest.fixture(scope="module")
def served(trained: keras.Model) -> keras.Model:
    return classifier.for_serving([classifier.weights_of(trained)], SMALL, 10)


def test_what_is_trained_gives_logits_for_every_classifier(trained: keras.Model) -> None:
    """float32, whatever is computed in between."""
    answer = trained(images(4, 8, 8), training=True)
    assert sorted(answer) == ["aux_1", "aux_2", "main"]
    for logits in answer.values():
        assert logits.shape == (4, 10)
        assert logits.dtype == "float32"
        assert not np.allclose(np.asarray(logits).sum(axis=1), 1)


def test_auxiliary_classifiers_vanish_from_what_is_served(trained: keras.Model, served: keras.Model) -> None:
    """It has the parameters of the network that was never given any, and one output."""
    without = zoo.build(SMALL.model_copy(update={"auxiliary": False}), 10)
    assert served.count_params() == without.count_params()
    assert served.count_params() < trained.count_params()
    assert not [v.path for v in served.weights if "aux" in v.path]
    assert [v.path for v in trained.weights if "aux" in v.path]
    assert served(images(1, 8, 8)).shape == (1, 10)


def test_what_is_served_has_the_weights_that_were_trained(trained: keras.Model, served: keras.Model) -> None:
    """Every one of them, to the bit."""
    known = {v.path: v.numpy() for v in trained.weights}
    assert len(served.weights) > 50
    for variable in served.weights:
        assert np.array_equal(known[variable.path], variable.numpy())


@pytest.mark.parametrize("model", [MODULE, SMALL, NORMALISED], ids=lambda model: model.variant)
@pytest.mark.parametrize("shape", [(8, 8), (32, 32), (20, 13)])
def test_what_is_served_answers_as_what_was_trained(model: Model, shape: tuple[int, int]) -> None:
    """The softmax of the main logits in inference mode, asked plainly: same scaling, same resizing, no dropout."""
    network = classifier.for_training(model, 10, shape)
    batch = images(5, *shape)
    expected = softmax(np.asarray(network(batch, training=False)["main"]))
    served = classifier.for_serving([classifier.weights_of(network)], model, 10)
    before = served.get_weights()
    answer = np.asarray(served(batch))
    assert answer.dtype == np.float32
    assert all(np.array_equal(a, b) for a, b in zip(before, served.get_weights(), strict=True))
    np.testing.assert_allclose(answer, expected, atol=1e-5)
    np.testing.assert_allclose(answer.sum(axis=1), 1, atol=1e-5)


def test_large_images_are_shrunk_as_the_training_feed_shrank_them() -> None:
    """A 150-pixel picture, all noise, gives what its 32-pixel copy gave in training, up to the copy's rounding."""
    network = classifier.for_training(MODULE, 10, (32, 32))
    [picture] = images(1, 150, 150)
    in_training = softmax(np.asarray(network(resize(picture, 32)[None], training=False)["main"]))
    served = classifier.for_serving([classifier.weights_of(network)], MODULE, 10)
    np.testing.assert_allclose(np.asarray(served(picture[None])), in_training, atol=1e-3)
    picked = np.asarray(served(picture[2::5, 2::5][None]))  # what shrinking without averaging would see
    assert np.abs(picked - in_training).max() > 1e-2


def test_images_of_any_size_are_taken(served: keras.Model) -> None:
    """One pixel, a strip, a photograph: probabilities for each."""
    for shape in ((1, 1), (7, 64), (300, 211)):
        answer = np.asarray(served(images(2, *shape)))
        assert answer.shape == (2, 10)
        np.testing.assert_allclose(answer.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(("model", "lowest", "highest"), [(MODULE, 0.0, 1.0), (NORMALISED, -1.0, 1.0)])
def test_pixels_are_scaled_as_the_row_says(model: Model, lowest: float, highest: float) -> None:
    """Black and white arrive as 0 and 1, or as -1 and 1."""
    network = classifier.for_training(model, 10, (32, 32))
    scaled = keras.Model(network.input, network.get_layer("scale").output)
    assert np.unique(scaled(np.zeros((1, 32, 32, 3), np.uint8))) == pytest.approx([lowest])
    assert np.unique(scaled(np.full((1, 32, 32, 3), 255, np.uint8))) == pytest.approx([highest])


def test_images_of_the_right_size_are_not_resized() -> None:
    """There is no layer for it in the training graph."""
    names = [layer.name for layer in classifier.for_training(MODULE, 10, (32, 32)).layers]
    assert "resize" not in names
    assert "resize" in [layer.name for layer in classifier.for_training(MODULE, 10, (32, 31)).layers]


def computed(model: keras.Model) -> set[str]:
    """Number formats of the layers that compute something."""
    containers = keras.Model | keras.layers.InputLayer
    return {layer.compute_dtype for layer in model._flatten_layers() if not isinstance(layer, containers)}


def test_what_is_served_computes_in_float32() -> None:
    """A processor without bfloat16 runs it at full speed; the policy in force is left as it was."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    network = classifier.for_training(MODULE, 3, (8, 8))
    served = classifier.for_serving([classifier.weights_of(network)], MODULE, 3)
    assert keras.config.dtype_policy().name == "mixed_bfloat16"
    assert "bfloat16" in computed(network)
    assert computed(served) == {"float32"}


def test_what_is_served_loads_without_this_project(
    served: keras.Model, tmp_path: Path, run_python: Callable[..., Any]
) -> None:
    """In Keras' safe mode, where nothing of ours can be imported: layers that ship with Keras, and no code."""
    served.save(tmp_path / "m.keras")
    batch = images(3, 20, 30)
    np.save(tmp_path / "batch.npy", batch)
    code = (
        "import sys\n"
        "class Wall:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name.split('.')[0] in ('trainer', 'pipelines', 'components'): raise ImportError(name)\n"
        "sys.meta_path.insert(0, Wall())\n"
        "import keras, numpy as np\n"
        "model = keras.saving.load_model(sys.argv[1] + '/m.keras', safe_mode=True)\n"
        "np.save(sys.argv[1] + '/answer.npy', model(np.load(sys.argv[1] + '/batch.npy')))\n"
        "print('trainer' in sys.modules)\n"
    )
    done = run_python(code, str(tmp_path))
    assert done.stdout.strip() == "False", done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "answer.npy"), np.asarray(served(batch)), atol=1e-6)


def test_a_variant_without_auxiliary_classifiers_is_served_too() -> None:
    """An option the row lacks is not asked of it."""
    network = classifier.for_training(MODULE, 2, (8, 8))
    assert classifier.for_serving([classifier.weights_of(network)], MODULE, 2).count_params() == network.count_params()
