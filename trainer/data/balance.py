"""Classes of which there are few images: shown more often, or weighing more in the loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.errors import RecipeError, nearest


def balanced_order(labels: NDArray[np.int32], seed: int, epoch: int, length: int) -> NDArray[np.int64]:
    """(length,) indices of examples, every class as often as any other (or once more, where they do not come out even).

    Of a class all images come once before one comes again.

    Args:
        labels: (n,) of all examples.
        seed, epoch: decide the order.
    """
    random = np.random.default_rng([seed, epoch])
    classes = random.permutation(np.unique(labels))
    taken = []
    for place, label in enumerate(classes):
        examples = np.flatnonzero(labels == label)
        quota = length // len(classes) + (place < length % len(classes))
        rounds = [random.permutation(examples) for _ in range(-(-quota // len(examples)))]
        taken.append(np.concatenate([examples[:0], *rounds])[:quota])
    return random.permutation(np.concatenate(taken))


def class_weights(
    counts: Sequence[int], setting: str | Mapping[str, float], classes: Sequence[str]
) -> NDArray[np.float32] | None:
    """(classes,): the factor on the loss of each class's images; None where all count alike.

    Args:
        counts: training images of each class.
        setting: the recipe's `train.class_weights`. `balanced`: n / (K · n_k), with which an epoch's weights have a
            mean of 1 and every class the same sum.
        classes: their names.

    Errors: RecipeError (a class that there is none of, or that was left out).
    """
    if setting == "none":
        return None
    if isinstance(setting, str):
        found = np.array(counts, np.float64)
        weights: NDArray[np.float32] = (found.sum() / (len(found) * found)).astype(np.float32)
        return weights
    for name in setting:
        if name not in classes:
            raise RecipeError(
                f"train.class_weights names the class {name!r}, which the images do not have.", nearest(name, classes)
            )
    missing = [name for name in classes if name not in setting]
    if missing:
        raise RecipeError(
            f"train.class_weights leaves out {', '.join(map(repr, missing))}.",
            "Give every class a factor; 1.0 leaves a class as it is.",
        )
    return np.array([setting[name] for name in classes], np.float32)
