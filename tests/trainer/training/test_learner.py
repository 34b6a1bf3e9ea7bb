"""The compiled step: what it changes, what it sums, and that a restored learner goes on to the same bit."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from trainer.config import Augment, Sgd, Train
from trainer.data.feed import Feed, ordered
from trainer.data.prepared import PreparedDataset, open_prepared
from trainer.errors import TrainingError
from trainer.models import classifier
from trainer.training.learner import Learner

CLASSES = 10


@pytest.fixture(scope="module")
def dataset(digits: Any) -> PreparedDataset:
    return open_prepared(digits.source.data(digits.fingerprint))


def learner(digits: Any, *overrides: str, seed: int = 5) -> Learner:
    recipe = digits.recipe(*overrides)
    keras.utils.set_random_seed(seed)
    return Learner(classifier.for_training(recipe.model, CLASSES, (8, 8)), recipe.train, CLASSES)


def batch(seed: int = 0, size: int = 16) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (size, 8, 8, 3), np.uint8), random.integers(0, CLASSES, size).astype(np.int32)


def weights(of: Learner) -> list[np.ndarray]:
    return [v.numpy() for v in of.model.trainable_variables]


def logits(of: Learner, images: np.ndarray) -> np.ndarray:
    return np.asarray(of.model(images, training=False)["main"])


def test_one_step_moves_every_weight_against_its_gradient(digits: Any) -> None:
    """By the rate the step is given, not by the recipe's; at a rate of 0 nothing moves."""
    one = learner(digits, 'train.optimizer={name="sgd", learning_rate=0.5}', "model.dropout=0.0")
    before = weights(one)
    one.step(*batch(), 0.0)
    assert all(np.array_equal(a, b) for a, b in zip(before, weights(one), strict=True))
    one.step(*batch(), 0.125)
    after = weights(one)
    assert all(not np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    two = learner(digits, 'train.optimizer={name="sgd", learning_rate=0.5}', "model.dropout=0.0")
    two.step(*batch(), 0.25)
    for start, once, twice in zip(before, after, weights(two), strict=True):
        np.testing.assert_allclose(twice - start, 2 * (once - start), rtol=1e-3, atol=1e-6)


def test_a_few_steps_on_one_batch_learn_it(digits: Any) -> None:
    """The loss falls below a tenth: gradients point the right way through the whole network."""
    one = learner(digits, "model.dropout=0.0")
    one.step(*batch(), 0.003)
    first = one.score().loss
    for _ in range(60):
        one.step(*batch(), 0.003)
    one.reset()
    one.step(*batch(), 0.0)
    assert one.score().loss < first / 10
    assert one.score().accuracy == 1.0


def test_scores_are_averages_over_examples_since_the_reset(digits: Any) -> None:
    """Batches of different sizes count by their examples; penalties are in the loss."""
    one = learner(digits, "model.dropout=0.0", "train.label_smoothing=0.1", "train.l2=0.001")
    assert one.score() == (0.0, 0.0, 0)
    batches = [batch(1, 16), batch(2, 4)]
    for images, labels in batches:
        one.step(images, labels, 0.0)
    twin = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1, reduction="sum")
    answers = [logits(one, images) for images, _ in batches]
    kernels = [v.numpy() for v in one.model.trainable_variables if v.path.endswith("kernel")]
    penalty = 0.5 * 0.001 * sum((kernel**2).sum() for kernel in kernels)
    loss = sum(
        float(twin(np.eye(CLASSES)[labels], answer)) for (_, labels), answer in zip(batches, answers, strict=True)
    )
    hits = sum(int((answer.argmax(1) == labels).sum()) for (_, labels), answer in zip(batches, answers, strict=True))
    score = one.score()
    assert score.loss == pytest.approx(loss / 20 + penalty, rel=1e-4)
    assert score.accuracy == pytest.approx(hits / 20)
    assert score.examples == 20
    one.reset()
    assert one.score() == (0.0, 0.0, 0)


def test_validation_is_unsmoothed_without_dropout_and_counts_a_part_batch(
    digits: Any, dataset: PreparedDataset
) -> None:
    """On 96 examples in batches of 40: plain cross-entropy and accuracy of the main classifier; nothing moves."""
    one = learner(digits, "train.label_smoothing=0.1", "train.l2=0.1", "model.dropout=0.5")
    before = one.state()
    score = one.validate(ordered(dataset.split("validation"), 40, 32))
    images, labels = next(iter(ordered(dataset.split("validation"), 96, 32)))
    answer = logits(one, images)
    log_odds = answer - np.log(np.exp(answer.astype(np.float64)).sum(axis=1, keepdims=True))
    assert score.examples == 96
    assert score.loss == pytest.approx(-log_odds[np.arange(96), labels].mean(), rel=1e-5)
    assert score.accuracy == pytest.approx((answer.argmax(1) == np.asarray(labels)).mean())
    after = one.state()
    assert all(np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    ("policy", "changes"),
    [
        ("float32", ['train.optimizer={name="adamw", weight_decay=0.01}']),
        ("mixed_bfloat16", ['train.optimizer={name="sgd", momentum=0.9}', "train.l2=0.001"]),
        ("mixed_bfloat16", ["model.variant=inception_v2", "model.stem=small", 'train.optimizer={name="rmsprop"}']),
    ],
    ids=["float32, adamw", "mixed_bfloat16, sgd", "mixed_bfloat16, rmsprop, batch normalisation"],
)
def test_a_restored_learner_goes_on_to_the_same_bit(
    digits: Any, dataset: PreparedDataset, policy: str, changes: list[str]
) -> None:
    """With dropout and augmentation, from the middle of an epoch: weights, optimiser, statistics and sums."""
    keras.config.set_dtype_policy(policy)
    augment = Augment(shift=0.2, rotation=20.0, flip=True)
    feed = Feed(dataset.split("train"), 16, 3, augment, 32)
    whole = learner(digits, *changes)
    for step, (images, labels) in enumerate(feed.batches(0, 10)):
        if step == 4:
            state = whole.state()
        whole.step(images, labels, 0.01)
    resumed = learner(digits, *changes, seed=99)
    resumed.restore(state)
    for images, labels in feed.batches(4, 10):
        resumed.step(images, labels, 0.01)
    expected, found = whole.state(), resumed.state()
    assert expected.keys() == found.keys()
    assert [name for name in expected if expected[name].tobytes() != found[name].tobytes()] == []
    assert whole.score() == resumed.score()
    assert [name for name in expected if np.array_equal(expected[name], state[name])] == unchanging(expected)


def unchanging(state: dict[str, np.ndarray]) -> list[str]:
    """The rate is assigned at every step; everything else moves with the steps."""
    return [name for name in state if name.endswith("learning_rate")]


def test_dropout_is_part_of_the_state(digits: Any) -> None:
    """Without its generator a resumed training would draw other units: the state names it, and it moves."""
    one = learner(digits)
    before = one.state()
    seeds = [name for name in before if name.endswith("/seed")]
    assert seeds
    one.step(*batch(), 0.0)
    assert all(not np.array_equal(before[name], one.state()[name]) for name in seeds)


@pytest.mark.parametrize(
    ("other", "names"),
    [
        (["model.width=0.2"], "kernel"),
        (['train.optimizer={name="sgd", momentum=0.9}'], "optimizer/"),
        (["model.variant=googlenet", "model.stem=small"], "variables differ"),
        (["model.dropout=0.0"], "model/"),
    ],
    ids=["wider", "another optimiser", "another network", "no dropout"],
)
def test_the_state_of_another_network_or_optimiser_is_refused(digits: Any, other: list[str], names: str) -> None:
    """The first variable that differs is named, and nothing was restored."""
    one = learner(digits)
    before = one.state()
    with pytest.raises(TrainingError, match="belongs to another network or optimiser") as caught:
        one.restore(learner(digits, *other).state())
    assert names in caught.value.message
    assert "Remove the checkpoint folder" in caught.value.remedy
    after = one.state()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_clipping_and_the_penalty_reach_the_step(digits: Any) -> None:
    """A step at a rate of 1 is no longer than the norm; with a penalty alone, kernels shrink."""
    clipped = learner(digits, 'train.optimizer={name="sgd"}', "train.clip_norm=0.001", "model.dropout=0.0")
    before = weights(clipped)
    clipped.step(*batch(), 1.0)
    moved = np.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(before, weights(clipped), strict=True)))
    assert moved == pytest.approx(0.001, rel=1e-2)
    punished = learner(digits, 'train.optimizer={name="sgd"}', "train.l2=10.0", "model.dropout=0.0")
    before = weights(punished)
    punished.step(*batch(), 0.05)
    kernels = [i for i, v in enumerate(punished.model.trainable_variables) if v.path.endswith("kernel")]
    after = weights(punished)
    for index in kernels:
        assert np.linalg.norm(after[index]) < 0.9 * np.linalg.norm(before[index])


def test_float16_scales_its_loss() -> None:
    """Gradients that float16 would lose survive, and the rate reaches the optimiser inside."""
    keras.config.set_dtype_policy("mixed_float16")
    images = keras.Input((8, 8, 3), dtype="uint8")
    scaled = keras.layers.Rescaling(1 / 255)(keras.layers.Flatten()(images))
    model = keras.Model(images, {"main": keras.layers.Dense(CLASSES, dtype="float32")(scaled)})
    one = Learner(model, Train(epochs=1, batch_size=1, optimizer=Sgd(name="sgd")), CLASSES)
    assert isinstance(one.optimizer, keras.optimizers.LossScaleOptimizer)
    before = weights(one)
    one.step(*batch(), 0.25)
    assert float(one.optimizer.inner_optimizer.learning_rate) == 0.25
    assert not np.array_equal(before[0], weights(one)[0])
    assert one.score().loss < 10


def test_a_batch_in_parts_has_the_gradients_of_the_whole(digits: Any) -> None:
    """micro_batch_size saves memory and changes nothing else: same weights, same sums."""
    # Not AdamW: its first step is the sign of a gradient, whatever its size, and so of a rounding error.
    sgd = 'train.optimizer={name="sgd"}'
    whole = learner(digits, "model.dropout=0.0", "train.l2=0.01", sgd)
    parts = learner(digits, "model.dropout=0.0", "train.l2=0.01", sgd, "train.micro_batch_size=4")
    images, labels = batch()
    for one in (whole, parts):
        one.step(images, labels, 0.01)
    for a, b in zip(weights(whole), weights(parts), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert parts.score() == pytest.approx(whole.score(), rel=1e-5)


def test_every_part_of_a_batch_drops_other_features(digits: Any) -> None:
    """The dropout state moves on from part to part."""
    images, labels = batch()
    once, twice = (learner(digits, "model.dropout=0.5", f"train.micro_batch_size={size}") for size in (16, 8))
    for one in (once, twice):
        one.step(images, labels, 0.0)
    moved = [
        name
        for name, value in twice.state().items()
        if "seed" in name and not np.array_equal(value, once.state()[name])
    ]
    assert moved
