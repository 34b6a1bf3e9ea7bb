"""What a training minimises, against Keras' own losses and plain NumPy; and the optimiser that does it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from trainer.config import AdamW, Optimizer, RmsProp, Sgd, Train
from trainer.training import objective

CLASSES = 5
RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(0, CLASSES, 32).astype(np.int32)
MIXED = RANDOM.dirichlet(np.ones(CLASSES), 32).astype(np.float32)
MAIN, FIRST, SECOND = (RANDOM.normal(0, 4, (32, CLASSES)).astype(np.float32) for _ in range(3))


def settings(**changes: Any) -> Train:
    return Train(epochs=1, batch_size=1, **{"optimizer": Sgd(name="sgd"), **changes})


def network() -> keras.Model:
    """One of each kind of variable: kernels (plain, depthwise, pointwise), biases, gamma, beta, statistics."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3),
            keras.layers.BatchNormalization(),
            keras.layers.SeparableConv2D(4, 3),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(CLASSES),
        ]
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_label_smoothing_is_that_of_keras(smoothing: float) -> None:
    """(1 - ε) of the target and ε/K on all; what Keras offers for targets only. Of labels and of mixed targets."""
    twin = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    cost = objective.objective(settings(label_smoothing=smoothing), CLASSES)
    for labels, targets in ((LABELS, np.eye(CLASSES, dtype=np.float32)[LABELS]), (MIXED, MIXED)):
        expected = pytest.approx(float(twin(targets, MAIN)), rel=1e-6)
        assert [float(figure) for figure in cost({"main": MAIN}, labels)] == [expected, expected]


@pytest.mark.parametrize("weight", [0.3, 0.0, 1.0])
def test_each_auxiliary_loss_has_its_weight(weight: float) -> None:
    """Total = main + weight · (first + second), all against the same smoothed targets."""
    twin = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    main, first, second = (float(twin(np.eye(CLASSES)[LABELS], logits)) for logits in (MAIN, FIRST, SECOND))
    loss = objective.objective(settings(label_smoothing=0.1, auxiliary_weight=weight), CLASSES)
    total, alone = loss({"main": MAIN, "aux_1": FIRST, "aux_2": SECOND}, LABELS)
    assert float(total) == pytest.approx(main + weight * (first + second), rel=1e-6)
    assert float(alone) == pytest.approx(main, rel=1e-6)


WEIGHTS = np.array([0.5, 1.0, 2.0, 4.0, 0.25], np.float32)


def test_class_weights_are_those_of_keras() -> None:
    """`class_weight` of `train_on_batch`: factors on each example's loss, and a mean over examples, not weights."""
    model = keras.Sequential([keras.Input((CLASSES,)), keras.layers.Activation("linear")])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    expected = model.train_on_batch(MAIN, LABELS, class_weight=dict(enumerate(WEIGHTS.tolist())))
    loss, unweighted = objective.objective(settings(), CLASSES, WEIGHTS)({"main": MAIN}, LABELS)
    assert float(loss) == pytest.approx(float(expected), rel=1e-6)
    assert float(unweighted) == pytest.approx(float(np.mean(objective.validation_loss(MAIN, LABELS))), rel=1e-6)


def test_a_mixed_example_has_the_mixed_weight() -> None:
    """The factor is that of the targets before they are smoothed, on auxiliary classifiers too."""
    twin = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    cost = objective.objective(settings(label_smoothing=0.1, auxiliary_weight=0.5), CLASSES, WEIGHTS)
    loss, _ = cost({"main": MAIN, "aux_1": FIRST}, MIXED)
    main, auxiliary = (float(twin(MIXED, logits, sample_weight=MIXED @ WEIGHTS)) for logits in (MAIN, FIRST))
    assert float(loss) == pytest.approx(main + 0.5 * auxiliary, rel=1e-6)


def test_the_validation_loss_is_unsmoothed_and_per_example() -> None:
    """-log of the softmax at the label."""
    odds = np.exp(MAIN.astype(np.float64))
    expected = -np.log(odds[np.arange(32), LABELS] / odds.sum(axis=1))
    np.testing.assert_allclose(objective.validation_loss(MAIN, LABELS), expected, rtol=1e-5, atol=1e-6)


def test_the_penalty_is_on_kernels_alone() -> None:
    """Half the squared norm, times the strength; biases, gamma and beta are spared."""
    model = network()
    for variable in model.trainable_variables:
        variable.assign(RANDOM.normal(0, 1, variable.shape))
    kernels = [v for v in model.trainable_variables if v.name.endswith("kernel")]
    assert len(kernels) == 4
    assert len(model.trainable_variables) == 9
    expected = 0.5 * 0.01 * sum((kernel.numpy() ** 2).sum() for kernel in kernels)
    assert float(objective.l2_penalty(model.trainable_variables, 0.01)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", [Sgd, RmsProp, AdamW])
def test_weight_decay_is_on_kernels_alone(kind: type[Sgd | RmsProp | AdamW]) -> None:
    """With gradients of nothing, kernels shrink by rate · decay and every other variable stays as it was."""
    model = network()
    for variable in model.trainable_variables:
        variable.assign(np.ones(variable.shape))
    name = kind.model_fields["name"].annotation.__args__[0]  # type: ignore[union-attr]
    optimizer = objective.optimizer(settings(optimizer=kind(name=name, learning_rate=0.1, weight_decay=0.5)))
    optimizer.apply([np.zeros(v.shape, np.float32) for v in model.trainable_variables], model.trainable_variables)
    after = {v.path: np.unique(v.numpy()) for v in model.trainable_variables}
    for path, values in after.items():
        np.testing.assert_allclose(values, [0.95 if path.endswith("kernel") else 1.0], rtol=1e-6, err_msg=path)


def test_weight_decay_keeps_out_of_momentum() -> None:
    """Decoupled: a second step shrinks by the same share again, where L2 in the gradient would have sped up."""
    weight = keras.Variable([1.0], name="kernel")
    optimizer = objective.optimizer(
        settings(optimizer=Sgd(name="sgd", learning_rate=0.1, momentum=0.9, weight_decay=0.5))
    )
    for _ in range(2):
        optimizer.apply([keras.ops.array([0.0])], [weight])
    np.testing.assert_allclose(weight, [0.95**2], rtol=1e-6)


@pytest.mark.parametrize(
    ("chosen", "kind", "expected"),
    [
        (
            Sgd(name="sgd", learning_rate=0.25, momentum=0.5, nesterov=True, weight_decay=0.0625),
            keras.optimizers.SGD,
            {"learning_rate": 0.25, "momentum": 0.5, "nesterov": True, "weight_decay": 0.0625},
        ),
        (
            RmsProp(name="rmsprop", learning_rate=0.25, rho=0.75, momentum=0.5, epsilon=0.125, weight_decay=0.0625),
            keras.optimizers.RMSprop,
            {
                "learning_rate": 0.25,
                "rho": 0.75,
                "momentum": 0.5,
                "epsilon": 0.125,
                "weight_decay": 0.0625,
                "centered": False,
            },
        ),
        (
            AdamW(name="adamw", learning_rate=0.25, beta_1=0.5, beta_2=0.75, epsilon=0.125, weight_decay=0.0625),
            keras.optimizers.AdamW,
            {"learning_rate": 0.25, "beta_1": 0.5, "beta_2": 0.75, "epsilon": 0.125, "weight_decay": 0.0625},
        ),
    ],
    ids=["sgd", "rmsprop", "adamw"],
)
def test_every_setting_arrives(chosen: Optimizer, kind: type, expected: dict[str, Any]) -> None:
    """In the optimiser of that name; nothing is clipped or averaged unless asked for."""
    optimizer = objective.optimizer(settings(optimizer=chosen, clip_norm=2.0))
    assert type(optimizer) is kind
    config = optimizer.get_config()
    assert {key: config[key] for key in expected} == expected
    assert set(type(chosen).model_fields) - {"name"} <= expected.keys()
    assert (config["global_clipnorm"], config["clipnorm"], config["clipvalue"]) == (2.0, None, None)
    assert not config["use_ema"]
    assert objective.optimizer(settings(optimizer=chosen)).get_config()["global_clipnorm"] is None


@pytest.mark.parametrize(
    "chosen", [Sgd(name="sgd"), RmsProp(name="rmsprop"), AdamW(name="adamw")], ids=lambda o: o.name
)
def test_no_decay_costs_nothing(chosen: Optimizer) -> None:
    """Without it the optimiser does not take nothing off every kernel at every step."""
    assert objective.optimizer(settings(optimizer=chosen)).weight_decay is None


def test_gradients_are_scaled_down_to_the_norm_together() -> None:
    """(3, 4) with a norm of 5 becomes (0.6, 0.8); a gradient below the norm stays as it is."""
    optimizer = objective.optimizer(settings(optimizer=Sgd(name="sgd", learning_rate=1.0), clip_norm=1.0))
    first, second = keras.Variable([0.0]), keras.Variable([0.0])
    optimizer.apply([keras.ops.array([3.0]), keras.ops.array([4.0])], [first, second])
    np.testing.assert_allclose([first[0], second[0]], [-0.6, -0.8], rtol=1e-6)
    optimizer.apply([keras.ops.array([0.3]), keras.ops.array([0.4])], [first, second])
    np.testing.assert_allclose([first[0], second[0]], [-0.9, -1.2], rtol=1e-6)
