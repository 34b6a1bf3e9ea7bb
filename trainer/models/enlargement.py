"""A network that takes far larger images than the data has: what it costs, and what fits instead.

Free of TensorFlow and Keras.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.models import zoo
from trainer.weights import published

if TYPE_CHECKING:
    from trainer.config import Model
    from trainer.data.prepared import Split

FACTOR = 2.0
"""Times a side from which images are enlarged far."""
CHEAP = zoo.SMALL_STEM_IMAGES[-1]
"""Pixels a side up to which a network costs too little to speak of."""


def mismatch(model: Model, source_shape: tuple[int, int]) -> str | None:
    """What happens to images of that height and width, and what fits them; None where nothing is amiss."""
    row, options = zoo.variant(model.variant), zoo.resolve(model)
    side = max(1, min(source_shape))
    factor = options.image_size / side
    if factor < FACTOR or options.image_size <= CHEAP:
        return None
    height, width = source_shape
    found = (
        f"the images have {height}×{width} pixels and {row.name} takes {options.image_size}: each is "
        f"enlarged ×{factor:.1f} a side, which makes every step cost ×{factor**2:.0f} and adds no detail"
    )
    fitting = _fitting(model, row, options.image_size, side)
    return f"{found}; {fitting}" if fitting else found


def _fitting(model: Model, row: zoo.Variant, size: int, side: int) -> str | None:
    sizes = zoo.SMALL_STEM_IMAGES
    published_weights = model.init is not None and model.init.partition(":")[0] not in published.MODELS
    if row.has_small_stem and side <= sizes[-1] and not published_weights:
        return f'model.stem = "small" with model.image_size = {max(side, sizes[0])} fits them'
    smaller = max(side, row.smallest_image)
    return f"model.image_size = {smaller} is the nearest that fits them" if smaller < size else None


def typical_shape(split: Split) -> tuple[int, int]:
    """Height and width of a split's images, the medians where they differ. Errors: StateError."""
    if split.shape is not None:
        return split.shape
    height, width = (sorted(split.table[side].to_pylist())[len(split) // 2] for side in ("height", "width"))
    return height, width
