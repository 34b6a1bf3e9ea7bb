"""Does an export, loaded again in its own runtime, answer as the model does?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from trainer.data.images import Pixels
from trainer.errors import EvaluationError

if TYPE_CHECKING:
    from trainer.exporting.formats import Answer, Size

TOLERANCE = 1e-3
"""Between two runtimes' probabilities, both in float32 on the processor: they sum in another order, and a deep network
passes that on. A trained network of one module has been seen to differ by 1e-6, a fresh GoogLeNet whose logits were
stretched by 1e-4."""


@dataclass(frozen=True)
class Compared:
    images: int
    which: str
    """In words."""
    difference: float
    """The greatest between two probabilities."""
    tolerance: float = TOLERANCE


def compare(
    export: Answer, model: Answer, images: Sequence[Pixels], which: str, size: Size | None, name: str
) -> Compared:
    """Ask both the same images.

    Args:
        export: the one.
        model: the other.
        images: real ones. Each is asked at its own size, and all together at another size; where `size` is given, each
            at that.
        which: what they are, in words.
        size: the only one that the export takes.
        name: of the format.

    Errors: EvaluationError (they differ by more than the tolerance, or the export does not answer).
    """
    differences = []
    for batch in _asked(images, size):
        expected = model(batch)
        try:
            answered = export(batch)
        except Exception as error:  # every runtime has its own
            raise EvaluationError(
                f"The export as {name} does not answer {len(batch)} images of {batch.shape[1]}×{batch.shape[2]}: "
                f"{_first_line(error)}.",
                "Nothing was written. Choose another format.",
            ) from error
        unlike = answered.shape != expected.shape
        differences.append(float("inf") if unlike else float(np.abs(answered - expected).max()))
    difference = float(np.max(differences))  # one that is no number stays it
    if not difference <= TOLERANCE:
        raise EvaluationError(
            f"The export as {name} answers the {which} ({len(images)}) otherwise than the model: probabilities differ "
            f"by up to {difference:.2g}, where {TOLERANCE:g} is allowed.",
            "Nothing was written. Choose another format, or other versions of the packages that convert it.",
        )
    return Compared(len(images), which, difference)


def _asked(images: Sequence[Pixels], size: Size | None) -> list[Any]:
    if size is not None:
        return [np.stack([_resized(image, size) for image in images])]
    height, width, _ = images[0].shape
    together = np.stack([_resized(image, (height + 3, 2 * width)) for image in images])
    return [*(image[None] for image in images), together]


def _resized(image: Pixels, size: Size) -> Pixels:
    height, width = size
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
