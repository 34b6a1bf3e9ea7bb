"""What a training minimises, and the optimiser that does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, assert_never

import keras

from trainer.config import AdamW, RmsProp, Sgd, Train

Logits = dict[str, Any]


def objective(train: Train, classes: int) -> Callable[[Logits, Any], Any]:
    """The loss of a batch: `loss(logits, labels)`.

    Cross-entropy of the main classifier plus `auxiliary_weight` times that of each auxiliary one, all against the same
    smoothed targets: (1 - ε) on the true class plus ε/K on all K (Szegedy et al. 2016, arXiv:1512.00567, section 7).

    `logits` maps `main` and any auxiliary outputs to (batch, classes) float32; `labels` is (batch,) integers.
    """

    def loss(logits: Logits, labels: Any) -> Any:
        targets = keras.ops.one_hot(labels, classes, dtype="float32")
        targets = targets * (1.0 - train.label_smoothing) + train.label_smoothing / classes
        total = _cross_entropy(targets, logits["main"])
        for name, auxiliary in logits.items():
            if name != "main":
                total = total + train.auxiliary_weight * _cross_entropy(targets, auxiliary)
        return total

    return loss


def validation_loss(logits: Any, labels: Any) -> Any:
    """Unsmoothed cross-entropy per example, shape (batch,)."""
    return keras.ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)


def l2_penalty(variables: list[Any], strength: float) -> Any:
    """Half the squared norm of every kernel, times `strength`; biases and normalisation are spared."""
    kernels = [v for v in variables if v.path.endswith("kernel")]
    return 0.5 * strength * sum(keras.ops.sum(keras.ops.square(keras.ops.cast(k, "float32"))) for k in kernels)


def optimizer(train: Train) -> keras.optimizers.Optimizer:
    """The recipe's optimiser; its learning rate is assigned anew at every step."""
    chosen = train.optimizer
    # Named, because Keras numbers optimisers per process, and checkpoints go by the names of variables.
    common = {"name": chosen.name, "learning_rate": chosen.learning_rate, "global_clipnorm": train.clip_norm}
    match chosen:
        case Sgd():
            return keras.optimizers.SGD(momentum=chosen.momentum, nesterov=chosen.nesterov, **common)
        case RmsProp():
            return keras.optimizers.RMSprop(rho=chosen.rho, momentum=chosen.momentum, epsilon=chosen.epsilon, **common)
        case AdamW():
            adam = keras.optimizers.AdamW(
                beta_1=chosen.beta_1,
                beta_2=chosen.beta_2,
                epsilon=chosen.epsilon,
                weight_decay=chosen.weight_decay,
                **common,
            )
            adam.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
            return adam
        case _:
            assert_never(chosen)


def _cross_entropy(targets: Any, logits: Any) -> Any:
    return keras.ops.mean(keras.ops.categorical_crossentropy(targets, logits, from_logits=True))
