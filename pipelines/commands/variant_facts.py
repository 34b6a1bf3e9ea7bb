"""What `inception variants` tells of a network, as plain values: its answer in JSON, and what its tables print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainer.models import cost, zoo
from trainer.sections import Section

if TYPE_CHECKING:
    import keras

    from trainer.config import Model

Facts = dict[str, Any]


def all_variants(classes: int) -> list[Facts]:
    """`describe` of every row of the zoo, in its order. Outlines them all: some seconds."""
    from trainer import config

    models = [config.model(name) for name in zoo.VARIANTS]
    return [describe(model, classes, zoo.outline(model, classes)) for model in models]


def describe(model: Model, classes: int, network: keras.Model) -> Facts:
    """A network on the whole. `network` is what `zoo.build` or `zoo.outline` gave."""
    row, chosen = zoo.variant(model.variant), zoo.resolve(model)
    of_training = cost.of(network)
    exported = _without_auxiliary(of_training)
    return {
        "name": row.name,
        "classes": classes,
        "training_parameters": of_training.parameters,
        "parameters": exported.parameters,
        "trainable_parameters": exported.trainable,
        "multiply_adds": exported.multiply_adds,
        "image_size": chosen.image_size,
        "smallest_image": row.smallest_image,
        "small_stem": row.has_small_stem,
        "width": chosen.width,
        "options": {name: _plain(getattr(chosen, name)) for name in sorted(row.options)},
        "weights": [weights.kind for weights in row.weights],
        "paper": str(row.paper),
        "arxiv": row.paper.arxiv,
        "note": row.note,
    }


def stages(network: keras.Model) -> Facts:
    """What every stage costs in training, auxiliary classifiers included, and the sum. Shares are of that sum."""
    whole = cost.of(network)
    return {
        "stages": [
            {"name": stage.name, "output_shape": list(stage.output_shape)} | _figures(stage, whole)
            for stage in whole.stages
        ],
        "total": _figures(whole, whole),
    }


def bottlenecks(network: keras.Model) -> Facts:
    """What every 1×1 reduction saves, in multiply-adds for one image."""
    found = cost.bottlenecks(network)
    return {
        "bottlenecks": [
            {
                "name": one.name,
                "grid": list(one.grid),
                "kernel": list(one.kernel),
                "channels": list(one.channels),
                "direct": one.direct,
                "reduction": one.reduction,
                "convolution": one.convolution,
                "saved": one.saved,
            }
            for one in found
        ],
        "saved": sum(one.saved for one in found),
    }


def _plain(value: Any) -> Any:
    """An option that is a table of its own, as one."""
    return value.model_dump() if isinstance(value, Section) else value


def _without_auxiliary(whole: cost.Cost) -> cost.Cost:
    return cost.Cost(tuple(layer for layer in whole.layers if not layer.name.startswith("aux")))


def _figures(part: cost.Row | cost.Cost, whole: cost.Cost) -> Facts:
    return {
        "parameters": part.parameters,
        "multiply_adds": part.multiply_adds,
        "activation_bytes": part.activation_bytes,
        "share_of_parameters": part.parameters / whole.parameters,
        "share_of_multiply_adds": part.multiply_adds / whole.multiply_adds,
        "share_of_activations": part.activation_bytes / whole.activation_bytes,
    }
