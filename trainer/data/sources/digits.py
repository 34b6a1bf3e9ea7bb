"""scikit-learn's handwritten digits: 1,797 real images of 8×8, inside the package, so they work offline.

The test set of E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
Repository, 1998.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from trainer.config import Data
from trainer.data.sources.base import RawExample, SourceIdentity, identify
from trainer.errors import DataError

NAME = "digits.csv.gz"
PUBLISHED = (57_523, "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22")
"""Size and checksum of the file in every scikit-learn release: `check` runs in an image without scikit-learn."""


class DigitsSource:
    def __init__(self, data: Data) -> None:
        self._data = data

    def fingerprint(self) -> SourceIdentity:
        size, digest = packaged() or PUBLISHED
        return identify(self._data, [("digits", NAME, size, digest)], {"address": "digits", "files": 1, "bytes": size})

    def classes(self) -> list[str]:
        return [str(digit) for digit in range(10)]

    def total(self) -> int | None:
        return 1797

    def examples(self) -> Iterator[RawExample]:
        import numpy as np
        from PIL import Image

        try:
            from sklearn.datasets import load_digits
        except ImportError:
            raise DataError(
                "The digits come with scikit-learn, which is not installed here.",
                "Install the training requirements: pip install 'inception-retrain[train]'.",
            ) from None
        images, labels = load_digits(return_X_y=True)
        # 0..16 to 0..255, so that the brightest ink is white.
        grey = np.rint(images.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
        for index, (pixels, label) in enumerate(zip(grey, labels, strict=True)):
            file = io.BytesIO()
            Image.fromarray(pixels).convert("RGB").save(file, "PNG", compress_level=1)
            yield RawExample(f"digits/{index:04d}", int(label), None, file.getvalue())


@cache
def packaged() -> tuple[int, str] | None:
    """Size and checksum of the installed file, found without importing scikit-learn."""
    spec = find_spec("sklearn")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "datasets" / "data" / NAME
    if not path.is_file():
        return None
    content = path.read_bytes()
    return len(content), sha256(content).hexdigest()
