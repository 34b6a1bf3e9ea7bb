"""Small real images and folders of them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainer.state import State

Photo = Callable[..., bytes]


def make_photo(seed: int, height: int = 24, width: int = 32, kind: str = "PNG") -> bytes:
    """An encoded image of noise; another one for every seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


@pytest.fixture
def photo() -> Photo:
    return make_photo


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State.open(tmp_path / "state")


@pytest.fixture
def images(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a folder of images: `images("a/1.png", "b/2.png", "b/notes.txt")`."""

    def write(*names: str, root: str = "images", first_seed: int = 0) -> Path:
        for seed, name in enumerate(names, start=first_seed):
            path = tmp_path / root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(make_photo(seed))
        return tmp_path / root

    return write
