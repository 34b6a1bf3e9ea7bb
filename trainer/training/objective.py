"""What a training minimises, and the optimiser that does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, assert_never

import keras
import numpy as np
from numpy.typing import NDArray

from trainer.config import AdamW, RmsProp, Sgd, Train

Logits = dict[str, Any]

SPARED = ("bias", "beta", "gamma")
"""Names of variables that no decay and no penalty touches."""


def objective(
    train: Train, classes: int, class_weights: NDArray[np.float32] | None = None
) -> Callable[[Logits, Any], tuple[Any, Any]]:
    """What a batch costs: `loss, cross_entropy = cost(logits, labels)`.

    The loss is the cross-entropy of the main classifier plus `auxiliary_weight` times that of each auxiliary one, all
    against the same smoothed targets: 1 - ε of the target plus ε/K on all K classes (Szegedy et al. 2016,
    arXiv:1512.00567, section 7). `class_weights` multiply the loss of each example, a mixed one's by the mixed weight,
    and the mean is over examples, not over weights: what Keras does with `class_weight`, and what lets the parts of a
    batch be added up.

    The second figure is that of the main classifier without any weights: whatever they are, guessing costs ln K in it.

    `logits` maps `main` and any auxiliary outputs to (batch, classes) float32; `labels` is (batch,) integers, or
    (batch, classes) float32 targets that sum to 1; `class_weights` is (classes,).
    """

    def cost(logits: Logits, labels: Any) -> tuple[Any, Any]:
        targets = labels if len(labels.shape) == 2 else keras.ops.one_hot(labels, classes, dtype="float32")
        factors = None if class_weights is None else keras.ops.matmul(targets, class_weights[:, None])[:, 0]
        targets = targets * (1.0 - train.label_smoothing) + train.label_smoothing / classes

        def mean(errors: Any) -> Any:
            return keras.ops.mean(errors if factors is None else factors * errors)

        errors = _cross_entropy(targets, logits["main"])
        total = mean(errors)
        for name, auxiliary in logits.items():
            if name != "main":
                total = total + train.auxiliary_weight * mean(_cross_entropy(targets, auxiliary))
        return total, keras.ops.mean(errors)

    return cost


def validation_loss(logits: Any, labels: Any) -> Any:
    """Unsmoothed cross-entropy per example, shape (batch,)."""
    return keras.ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)


def l2_penalty(variables: list[Any], strength: float) -> Any:
    """Half the squared norm of every kernel, times `strength`; biases and normalisation are spared."""
    kernels = [v for v in variables if v.path.endswith("kernel")]
    return 0.5 * strength * sum(keras.ops.sum(keras.ops.square(keras.ops.cast(k, "float32"))) for k in kernels)


def optimizer(train: Train) -> keras.optimizers.Optimizer:
    """The recipe's optimiser; its learning rate is assigned anew at every step."""
    made = _made(train)
    made.exclude_from_weight_decay(var_names=list(SPARED))
    return made


def _made(train: Train) -> keras.optimizers.Optimizer:
    chosen = train.optimizer
    common = {
        # Keras numbers optimisers per process, and checkpoints go by the names of variables.
        "name": chosen.name,
        "learning_rate": chosen.learning_rate,
        "weight_decay": chosen.weight_decay or None,
        "global_clipnorm": train.clip_norm,
    }
    match chosen:
        case Sgd():
            return keras.optimizers.SGD(momentum=chosen.momentum, nesterov=chosen.nesterov, **common)
        case RmsProp():
            return keras.optimizers.RMSprop(rho=chosen.rho, momentum=chosen.momentum, epsilon=chosen.epsilon, **common)
        case AdamW():
            # Keras' AdamW insists on a decay, and takes off nothing at every step where it is 0.
            kind = keras.optimizers.AdamW if chosen.weight_decay else keras.optimizers.Adam
            return kind(beta_1=chosen.beta_1, beta_2=chosen.beta_2, epsilon=chosen.epsilon, **common)
        case _:
            assert_never(chosen)


def _cross_entropy(targets: Any, logits: Any) -> Any:
    """Per example, shape (batch,)."""
    return keras.ops.categorical_crossentropy(targets, logits, from_logits=True)
