"""The compiled step: what it changes, what it sums, and that a restored learner goes on to the same bit."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.config import Ema, Sgd, Train
from trainer.data.feed import Feed, ordered
from trainer.data.prepared import PreparedDataset, open_prepared
from trainer.errors import TrainingError
from trainer.models import classifier
from trainer.training import divergence
from trainer.training.learner import Learner, Score

CLASSES = 10
RATES = [0.01 - 0.001 * step for step in range(10)]


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


def step(one: Learner, images: np.ndarray, labels: np.ndarray, rate: float) -> None:
    one.advance(iter(tf.data.Dataset.from_tensors((images, labels))), [rate])


def weights(of: Learner) -> list[np.ndarray]:
    return [v.numpy() for v in of.model.trainable_variables]


def logits(of: Learner, images: np.ndarray) -> np.ndarray:
    return np.asarray(of.model(images, training=False)["main"])


def test_one_step_moves_every_weight_against_its_gradient(digits: Any) -> None:
    """By the rate the step is given, not by the recipe's; at a rate of 0 nothing moves."""
    one = learner(digits, 'train.optimizer={name="sgd", learning_rate=0.5}', "model.dropout=0.0")
    before = weights(one)
    step(one, *batch(), 0.0)
    assert all(np.array_equal(a, b) for a, b in zip(before, weights(one), strict=True))
    step(one, *batch(), 0.125)
    after = weights(one)
    assert all(not np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    two = learner(digits, 'train.optimizer={name="sgd", learning_rate=0.5}', "model.dropout=0.0")
    step(two, *batch(), 0.25)
    for start, once, twice in zip(before, after, weights(two), strict=True):
        np.testing.assert_allclose(twice - start, 2 * (once - start), rtol=1e-3, atol=1e-6)


def test_a_few_steps_on_one_batch_learn_it(digits: Any) -> None:
    """The loss falls below a tenth: gradients point the right way through the whole network."""
    one = learner(digits, "model.dropout=0.0")
    step(one, *batch(), 0.003)
    first = one.score().loss
    for _ in range(60):
        step(one, *batch(), 0.003)
    one.reset()
    step(one, *batch(), 0.0)
    assert one.score().loss < first / 10
    assert one.score().accuracy == 1.0


def test_scores_are_averages_over_examples_since_the_reset(digits: Any) -> None:
    """Batches of different sizes count by their examples; penalties are in the loss."""
    one = learner(digits, "model.dropout=0.0", "train.label_smoothing=0.1", "train.l2=0.001")
    assert one.score() == (0.0, 0.0, 0.0, 0, 0.0)
    batches = [batch(1, 16), batch(2, 4)]
    for images, labels in batches:
        step(one, images, labels, 0.0)
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
    assert score.cross_entropy == pytest.approx(loss / 20, rel=1e-4)
    assert score.accuracy == pytest.approx(hits / 20)
    assert score.examples == 20
    one.reset()
    assert one.score() == (0.0, 0.0, 0.0, 0, 0.0)


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
        ("float32", ['train.optimizer={name="adamw", weight_decay=0.01}', "train.ema={decay=0.9, every=3}"]),
        ("mixed_bfloat16", ['train.optimizer={name="sgd", momentum=0.9}', "train.l2=0.001"]),
        (
            "mixed_bfloat16",
            ["model.variant=inception_small", 'train.optimizer={name="rmsprop"}', "train.ema={}"],
        ),
    ],
    ids=["float32, adamw, average", "mixed_bfloat16, sgd", "mixed_bfloat16, rmsprop, batch normalisation, average"],
)
def test_a_restored_learner_goes_on_to_the_same_bit(
    digits: Any, dataset: PreparedDataset, policy: str, changes: list[str]
) -> None:
    """With dropout and augmentation, from the middle of an epoch, and however many steps go into one call."""
    keras.config.set_dtype_policy(policy)
    settings = digits.recipe(*changes, "train.augment={shift=0.2, rotation=20.0, flip=true}").train
    feed = Feed(dataset.split("train"), settings, 32)
    whole = learner(digits, *changes)
    batches = iter(feed.batches(0, 10))
    whole.advance(batches, RATES[:4])
    state = whole.state()
    whole.advance(batches, RATES[4:])
    resumed = learner(digits, *changes, seed=99)
    resumed.restore(state)
    batches = iter(feed.batches(4, 10))
    for first, last in ((4, 5), (5, 8), (8, 10)):
        resumed.advance(batches, RATES[first:last])
    expected, found = whole.state(), resumed.state()
    assert expected.keys() == found.keys()
    assert [name for name in expected if expected[name].tobytes() != found[name].tobytes()] == []
    assert whole.score()._replace(waited=0) == resumed.score()._replace(waited=0)
    assert [name for name in expected if np.array_equal(expected[name], state[name])] == []


def test_dropout_is_part_of_the_state(digits: Any) -> None:
    """Without its generator a resumed training would draw other units: the state names it, and it moves."""
    one = learner(digits)
    before = one.state()
    seeds = [name for name in before if name.endswith("/seed")]
    assert seeds
    step(one, *batch(), 0.0)
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
    step(clipped, *batch(), 1.0)
    moved = np.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(before, weights(clipped), strict=True)))
    assert moved == pytest.approx(0.001, rel=1e-2)
    punished = learner(digits, 'train.optimizer={name="sgd"}', "train.l2=10.0", "model.dropout=0.0")
    before = weights(punished)
    step(punished, *batch(), 0.05)
    kernels = [i for i, v in enumerate(punished.model.trainable_variables) if v.path.endswith("kernel")]
    after = weights(punished)
    for index in kernels:
        assert np.linalg.norm(after[index]) < 0.9 * np.linalg.norm(before[index])


def plain(pause: float = 0.0, **changes: Any) -> Learner:
    """A network of one layer, the same one every time, that takes `pause` seconds for a batch."""
    keras.utils.set_random_seed(5)
    images = keras.Input((8, 8, 3), dtype="uint8")
    features = keras.layers.Rescaling(1 / 255)(keras.layers.Flatten()(images))
    if pause:
        features = keras.layers.Lambda(lambda x: paused(x, pause), output_shape=features.shape[1:])(features)
    model = keras.Model(images, {"main": keras.layers.Dense(CLASSES, dtype="float32", name="logits")(features)})
    settings = {"epochs": 1, "batch_size": 16, "optimizer": Sgd(name="sgd", momentum=0.5), **changes}
    return Learner(model, Train(**settings), CLASSES)


def paused(x: Any, seconds: float) -> Any:
    def sleep(given: np.ndarray) -> np.ndarray:
        time.sleep(seconds)
        return given

    return tf.ensure_shape(tf.numpy_function(sleep, [x], x.dtype), x.shape)


def test_the_wait_for_batches_is_measured_and_nothing_else() -> None:
    """A feed and a step that both take their time, one after the other: only the feed's counts, and all of it."""
    pause, steps = 0.05, 4
    images, labels = batch()
    slow = tf.data.Dataset.from_tensors(images).repeat().map(lambda x: (paused(x, pause), labels))
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False  # one of them makes batches in advance
    batches = iter(slow.with_options(options))
    one = plain(pause)
    one.advance(batches, [0.0] * steps)
    one.reset()
    assert one.score().waited == 0.0
    begun = time.perf_counter()
    one.advance(batches, [0.0] * steps)
    took = time.perf_counter() - begun
    assert pause * steps <= one.score().waited <= took - pause * steps


def test_one_program_is_made_for_any_number_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network is traced once, and so is the loop around it: for large ones either takes many seconds."""
    one, traced = plain(), []

    def counted(real: Any, *arguments: Any) -> Any:
        traced.append(real.__name__)
        return real(*arguments)

    for owner, name in ((one.optimizer, "apply"), (one, "_next")):
        monkeypatch.setattr(owner, name, partial(counted, getattr(owner, name)))
    batches = iter(tf.data.Dataset.from_tensors(batch()).repeat())
    for steps in (1, 3, 2, 5):
        one.advance(batches, [0.01] * steps)
    assert one.score().examples == 11 * 16
    assert sorted(traced) == ["_next", "apply"]


def test_a_feed_that_ends_early_is_an_error_after_its_last_step() -> None:
    """Two batches for three steps: two are done."""
    one = plain()
    with pytest.raises(tf.errors.OutOfRangeError):
        one.advance(iter(tf.data.Dataset.from_tensors(batch()).repeat(2)), [0.1, 0.1, 0.1])
    assert one.score().examples == 32


def test_a_loss_that_is_no_number_stays_none() -> None:
    """Whoever looks only now and then still sees it: sums do not recover."""
    one = plain()
    images, labels = batch()
    step(one, images, labels, 1e38)
    assert not divergence.exploded(one.score(), CLASSES, 10.0)
    step(one, images, labels, 1e38)
    before = one.score()
    assert divergence.exploded(before, CLASSES, 10.0)
    one.restore(plain().state() | {"sums": one.state()["sums"]})
    step(one, images, labels, 0.0)
    assert divergence.exploded(one.score(), CLASSES, 10.0)
    assert divergence.exploded(one.score().since(before), CLASSES, 10.0)


def test_a_score_since_another_is_of_the_examples_between_them() -> None:
    """Averages of averages, weighted by their examples."""
    one = plain()
    scores = []
    for seed, size in ((1, 16), (2, 4)):
        step(one, *batch(seed, size), 0.0)
        scores.append(one.score())
    one.reset()
    step(one, *batch(2, 4), 0.0)
    since, alone = scores[1].since(scores[0]), one.score()
    assert since._replace(waited=0) == pytest.approx(alone._replace(waited=0))
    assert since.waited == pytest.approx(scores[1].waited - scores[0].waited)
    assert scores[1].since(Score(0.0, 0.0, 0.0, 0, 0.0)) == pytest.approx(scores[1])
    assert alone.since(alone)[:4] == (0.0, 0.0, 0.0, 0)


@pytest.mark.parametrize("changes", [{}, {"micro_batch_size": 4}], ids=["whole", "in parts"])
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_targets_of_one_class_are_its_label(policy: str, changes: dict[str, Any]) -> None:
    """The same step to the bit, smoothing included."""
    keras.config.set_dtype_policy(policy)
    by_label, by_target = plain(label_smoothing=0.1, **changes), plain(label_smoothing=0.1, **changes)
    images, labels = batch()
    step(by_label, images, labels, 0.1)
    step(by_target, images, np.eye(CLASSES, dtype=np.float32)[labels], 0.1)
    for a, b in zip(by_label.state().values(), by_target.state().values(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_mixed_image_is_right_where_its_greater_part_is() -> None:
    """The loss is the mixture of both losses; the answer counts for the class of the greater part."""
    images, labels = batch()
    other = (labels + 1) % CLASSES
    one = plain()
    losses, accuracies = [], []
    for mixed in (0.7, 1.0, 0.0):
        one.reset()
        eye = np.eye(CLASSES, dtype=np.float32)
        step(one, images, (mixed * eye[labels] + (1 - mixed) * eye[other]).astype(np.float32), 0.0)
        losses.append(one.score().loss)
        accuracies.append(one.score().accuracy)
    assert losses[0] == pytest.approx(0.7 * losses[1] + 0.3 * losses[2], rel=1e-5)
    assert accuracies[0] == accuracies[1] != accuracies[2]


def test_float16_scales_its_loss() -> None:
    """Gradients that float16 would lose survive, and the rate reaches the optimiser inside."""
    keras.config.set_dtype_policy("mixed_float16")
    one = plain()
    assert isinstance(one.optimizer, keras.optimizers.LossScaleOptimizer)
    before = weights(one)
    step(one, *batch(), 0.25)
    assert float(one.optimizer.inner_optimizer.learning_rate) == 0.25
    assert not np.array_equal(before[0], weights(one)[0])
    assert one.score().loss < 10


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_xla_computes_the_same_step(policy: str) -> None:
    """In parts, with a penalty, clipping and an average; from one to the other within a training."""
    keras.config.set_dtype_policy(policy)
    changes = {"micro_batch_size": 4, "l2": 0.01, "clip_norm": 1.0, "ema": Ema(every=2)}
    graph, xla = plain(**changes), plain(**changes)
    for one, second in ((graph, "graph"), (xla, "xla")):
        batches = iter(tf.data.Dataset.from_tensors(batch()).repeat())
        one.advance(batches, [0.1])
        one.compile(second)
        one.advance(batches, [0.1, 0.05])
    for name, expected in graph.state().items():
        np.testing.assert_allclose(xla.state()[name], expected, rtol=1e-4, atol=1e-5, err_msg=name)
    assert xla.score()._replace(waited=0) == pytest.approx(graph.score()._replace(waited=0), rel=1e-4)


def test_the_average_is_judged_and_training_goes_on_from_the_weights(dataset: PreparedDataset) -> None:
    """Validation is that of a model with averaged weights; before and after it the model has its own."""
    one, twin = plain(ema=Ema(decay=0.9)), plain()
    held_out = ordered(dataset.split("validation"), 96, 32)
    for learner in (one, twin):
        learner.advance(iter(tf.data.Dataset.from_tensors(batch()).repeat()), [0.5] * 4)
    trained = weights(one)
    assert one.validate(held_out) != twin.validate(held_out)
    for own, same, unaveraged in zip(trained, weights(one), weights(twin), strict=True):
        np.testing.assert_array_equal(own, same)
        np.testing.assert_array_equal(own, unaveraged)
    with one.averaged():
        averaged = weights(one)
        inside = one.validate(held_out)
        assert all(np.array_equal(a, b) for a, b in zip(weights(one), averaged, strict=True))
    for variable, value in zip(twin.model.trainable_variables, averaged, strict=True):
        variable.assign(value)
    assert one.validate(held_out) == inside == twin.validate(held_out)


def test_without_an_average_the_model_keeps_its_weights() -> None:
    """`averaged` is there all the same."""
    one = plain()
    before = weights(one)
    with one.averaged():
        assert all(np.array_equal(a, b) for a, b in zip(weights(one), before, strict=True))
        assert one.state()


def test_no_step_and_no_checkpoint_is_made_of_averaged_weights() -> None:
    """Training would go on from them, and not be what it is without the look at them."""
    one = plain(ema=Ema())
    state = one.state()
    with one.averaged():
        for forbidden in (one.state, lambda: one.restore(state), lambda: step(one, *batch(), 0.1)):
            with pytest.raises(RuntimeError, match="averaged weights"):
                forbidden()
    step(one, *batch(), 0.1)


def test_another_phase_takes_up_weights_and_their_average() -> None:
    """And neither optimiser nor sums."""
    first = plain(ema=Ema())
    first.advance(iter(tf.data.Dataset.from_tensors(batch()).repeat()), [0.5] * 3)
    left = first.state()
    second = plain(ema=Ema())
    fresh = second.state()
    second.restore(left, weights_only=True)
    for name, found in second.state().items():
        carried = name.startswith(("model/", "average/"))
        np.testing.assert_array_equal(found, (left if carried else fresh)[name], err_msg=name)
    assert left["average/steps"] == 3


def test_a_batch_in_parts_has_the_gradients_of_the_whole(digits: Any) -> None:
    """micro_batch_size saves memory and changes nothing else: same weights, same sums."""
    # Not AdamW: its first step is the sign of a gradient, whatever its size, and so of a rounding error.
    sgd = 'train.optimizer={name="sgd"}'
    whole = learner(digits, "model.dropout=0.0", "train.l2=0.01", sgd)
    parts = learner(digits, "model.dropout=0.0", "train.l2=0.01", sgd, "train.micro_batch_size=4")
    images, labels = batch()
    for one in (whole, parts):
        step(one, images, labels, 0.01)
    for a, b in zip(weights(whole), weights(parts), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert parts.score()._replace(waited=0) == pytest.approx(whole.score()._replace(waited=0), rel=1e-5)


def test_every_part_of_a_batch_drops_other_features(digits: Any) -> None:
    """The dropout state moves on from part to part."""
    images, labels = batch()
    once, twice = (learner(digits, "model.dropout=0.5", f"train.micro_batch_size={size}") for size in (16, 8))
    for one in (once, twice):
        step(one, images, labels, 0.0)
    moved = [
        name
        for name, value in twice.state().items()
        if "seed" in name and not np.array_equal(value, once.state()[name])
    ]
    assert moved
