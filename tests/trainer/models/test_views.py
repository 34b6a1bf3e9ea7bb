"""Test-time augmentation: which parts of an image a served model looks at, and that it averages over them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from trainer.config import Model, Views
from trainer.models import archive, classifier, views

SIZE = 8
NETWORK: dict[str, Any] = {"variant": "inception_module", "width": 0.1, "image_size": SIZE}
ASKED = [Views(flip=flip, crops=crops) for crops in ("whole", "center", "five", "paper") for flip in (False, True)]
COUNTS = {"whole": 1, "center": 1, "five": 5, "paper": 72}
DIFFERENT = [asked for asked in ASKED if asked != Views()]

Answers = Callable[..., keras.Model]


def name(asked: Views) -> str:
    return f"{asked.crops}{'-flip' if asked.flip else ''}"


def images(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)


@pytest.fixture(scope="module")
def weights() -> dict[str, Any]:
    keras.utils.set_random_seed(4)
    network = classifier.for_training(Model(**NETWORK), 3, (SIZE, SIZE))
    return {path: 3 * array for path, array in classifier.weights_of(network).items()}  # answers that are not all alike


@pytest.fixture(scope="module")
def served(weights: dict[str, Any]) -> Answers:
    """The served network by its views, each built once."""
    built: dict[str, keras.Model] = {}

    def build(asked: Views) -> keras.Model:
        if name(asked) not in built:
            built[name(asked)] = classifier.for_serving([weights], Model(**NETWORK, test_time=asked), 3)
        return built[name(asked)]

    return build


def cut(batch: np.ndarray, top: int, left: int, height: int, width: int) -> np.ndarray:
    return batch[:, top : top + height, left : left + width]


def looked_at(asked: Views, batch: np.ndarray) -> list[np.ndarray]:
    """Every view of a batch, cut out with NumPy: the definition, without any of the arithmetic under test."""
    _, height, width, _ = batch.shape
    if asked.crops == "whole":
        seen = [batch]
    elif asked.crops == "paper":
        side = min(height, width)
        squares = [
            cut(batch, place * (height - side) // 2, place * (width - side) // 2, side, side) for place in (0, 1, 2)
        ]
        seen = [
            crop
            for square in squares
            for size in (256, 288, 320, 352)
            for crop in [*corners_and_center(square, 224 / size), square]
        ]
    else:
        crops = corners_and_center(batch, 0.875)
        seen = crops if asked.crops == "five" else crops[-1:]
    return seen + [view[:, :, ::-1] for view in seen] * asked.flip


def corners_and_center(batch: np.ndarray, share: float) -> list[np.ndarray]:
    _, height, width, _ = batch.shape

    def sides(start: float, whole: int) -> tuple[int, int]:
        first = int(start * whole + 0.5)
        return first, int((start + share) * whole + 0.5) - first

    far = 1 - share
    found = []
    for down, right in ((0, 0), (0, far), (far, 0), (far, far), (far / 2, far / 2)):
        (top, high), (left, wide) = sides(down, height), sides(right, width)
        found.append(cut(batch, top, left, high, wide))
    return found


@pytest.mark.parametrize("asked", ASKED, ids=name)
def test_views_are_counted(asked: Views) -> None:
    """144 of the paper, as its section 7 says; few of them are in memory at once."""
    assert (
        views.count(asked) == COUNTS[asked.crops] * (2 if asked.flip else 1) == len(looked_at(asked, images(1, 9, 9)))
    )
    assert views.at_once(asked) <= 14


@pytest.mark.parametrize("asked", DIFFERENT, ids=name)
def test_the_answer_is_the_average_over_the_views(served: Answers, asked: Views) -> None:
    """Of probabilities; each view is what NumPy cuts out, answered by the model that looks at whole images."""
    batch = images(2, 41, 67)
    plain = served(Views())
    expected = np.mean([np.asarray(plain(view)) for view in looked_at(asked, batch)], axis=0)
    np.testing.assert_allclose(np.asarray(served(asked)(batch)), expected, atol=1e-5)
    assert np.abs(expected - np.asarray(plain(batch))).max() > 1e-4


@pytest.mark.parametrize("asked", DIFFERENT, ids=name)
def test_images_of_any_size_are_looked_at(served: Answers, asked: Views) -> None:
    """One pixel, a strip, something smaller than the network's input: probabilities for each."""
    for shape in ((1, 1), (2, 19), (5, 3)):
        answer = np.asarray(served(asked)(images(1, *shape)))
        assert answer.shape == (1, 3)
        np.testing.assert_allclose(answer.sum(axis=1), 1, atol=1e-5)


def test_an_image_and_its_mirror_image_get_one_answer(served: Answers) -> None:
    """With `flip` there is no left and right; without it there is."""
    batch = images(2, 12, 16)
    both = served(Views(flip=True))
    np.testing.assert_allclose(both(batch), both(batch[:, :, ::-1]), atol=1e-6)
    plain = served(Views())
    assert np.abs(np.asarray(plain(batch)) - np.asarray(plain(batch[:, :, ::-1]))).max() > 1e-4


def test_an_answer_does_not_depend_on_the_rest_of_the_batch(served: Answers) -> None:
    """Views of different images are never mixed up."""
    batch = images(3, 16, 12)
    model = served(Views(flip=True, crops="five"))
    together = np.asarray(model(batch))
    alone = [np.asarray(model(batch[index : index + 1]))[0] for index in range(3)]
    np.testing.assert_allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize("asked", DIFFERENT, ids=name)
def test_views_add_no_weights(served: Answers, asked: Views) -> None:
    """There is one network, however many views it is shown."""
    model, plain = served(asked), served(Views())
    assert [v.path for v in model.weights] == [v.path for v in plain.weights]
    assert model.output_names == ["probabilities"]


def test_a_model_without_views_is_the_network_alone(served: Answers) -> None:
    """Nothing that makes no difference is in the graph."""
    names = [layer.name for layer in served(Views()).layers]
    assert names == ["images", "scale", "resize", "inception_module", "probabilities"]


LOADED = """
import sys
class Wall:
    def find_spec(self, name, *rest):
        if name.split('.')[0] in ('trainer', 'pipelines', 'components'): raise ImportError(name)
sys.meta_path.insert(0, Wall())
import keras, numpy as np
folder = sys.argv[1]
batch = np.load(folder + '/batch.npy')
for name in sys.argv[2:]:
    model = keras.saving.load_model(f'{folder}/{name}.keras', safe_mode=True)
    np.save(f'{folder}/{name}.npy', model.predict(batch, verbose=0))
"""


def reloaded(models: dict[str, keras.Model], folder: Path, run_python: Callable[..., Any]) -> None:
    """Save the models, ask them in a process that cannot import this project, compare the answers."""
    batch = images(2, 20, 13)
    np.save(folder / "batch.npy", batch)
    for one, model in models.items():
        model.save(folder / f"{one}.keras")
        archive.expect_harmless(folder / f"{one}.keras")
    done = run_python(LOADED, str(folder), *models)
    assert done.returncode == 0, done.stderr
    for one, model in models.items():
        np.testing.assert_allclose(np.load(folder / f"{one}.npy"), np.asarray(model(batch)), atol=1e-5)


def test_an_ensemble_with_all_views_loads_without_this_project(
    weights: dict[str, Any], tmp_path: Path, run_python: Callable[..., Any]
) -> None:
    """In Keras' safe mode, with the weights of both networks, and it answers as before."""
    other = {path: -array for path, array in weights.items()}
    most = Model(**NETWORK, test_time=Views(flip=True, crops="paper"))
    reloaded({"ensemble": classifier.for_serving([weights, other], most, 3)}, tmp_path, run_python)


@pytest.mark.slow
def test_models_with_views_load_without_this_project(
    served: Answers, tmp_path: Path, run_python: Callable[..., Any]
) -> None:
    """Every kind of views."""
    reloaded({name(asked): served(asked) for asked in DIFFERENT}, tmp_path, run_python)
