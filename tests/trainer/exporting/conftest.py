"""Networks as they are registered, small ones, with random weights."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from trainer import config
from trainer.exporting.answers import answering
from trainer.exporting.source import Source
from trainer.registry.lookup import Found

CLASSES = [f"digit {number}" for number in range(10)]
MODELS: dict[str, tuple[int, dict[str, Any]]] = {
    "single module": (1, {"variant": "inception_module", "image_size": 32, "width": 0.1}),
    "two members, five views and their mirrors": (
        2,
        {
            "variant": "inception_module",
            "image_size": 16,
            "width": 0.1,
            "test_time": {"crops": "five", "flip": True},
        },
    ),
    "the paper's views": (
        1,
        {"variant": "inception_module", "image_size": 16, "width": 0.1, "test_time": {"crops": "paper"}},
    ),
    "mirrored": (
        1,
        {"variant": "inception_module", "image_size": 16, "width": 0.1, "test_time": {"flip": True}},
    ),
    "googlenet": (1, {"variant": "googlenet", "stem": "small", "image_size": 32, "width": 0.1}),
}
"""Members and `[model]` sections by name."""

MakeSource = Callable[[str], Source]


@pytest.fixture(scope="session")
def make_source(tmp_path_factory: pytest.TempPathFactory, real_images: list[Any]) -> MakeSource:
    """A function from a name in MODELS to the model, as it would come from the registry."""

    @functools.cache
    def make(name: str) -> Source:
        import keras

        from trainer.models import classifier, zoo

        members, options = MODELS[name]
        section = config.Model.model_validate(options)
        networks = section.model_copy(update={"auxiliary": None if "module" in section.variant else False})
        weights = []
        for seed in range(members):
            keras.utils.set_random_seed(seed)
            weights.append(classifier.weights_of(zoo.build(networks, len(CLASSES))))
        model = classifier.for_serving(weights, section, len(CLASSES))
        # Fresh networks say much the same of every image: the last layer makes the most of the difference.
        logits = np.log(answering(model)(np.stack(real_images)))
        factor = 0.5 / np.ptp(logits, axis=0).max()
        for one in weights:
            one["head.logits/kernel"] = one["head.logits/kernel"] * factor
            one["head.logits/bias"] = -logits.mean(axis=0) * factor
        model = classifier.for_serving(weights, section, len(CLASSES))
        file = tmp_path_factory.mktemp("source") / "model.keras"
        model.save(file)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        return Source(found(), file, model, CLASSES, {"variant": section.variant}, digest, answering(model))

    return make


def found() -> Found:
    return Found(
        name="digits",
        version="3",
        aliases=["champion"],
        model_uri="models:/m-1",
        load_uri="models:/digits/3",
        accuracy=0.5,
        verdict="promoted",
        verdict_reason=None,
        verdict_digest=None,
        fingerprint="f1",
        run_key="k1",
        run_id="r1",
        tags={},
        created_at=datetime(2026, 11, 21, tzinfo=UTC),
    )


@pytest.fixture(scope="session")
def real_images() -> list[Any]:
    """Handwritten digits, 8×8."""
    from sklearn.datasets import load_digits

    grey = np.asarray(load_digits().images[:4] * 15.9, np.uint8)
    return [np.repeat(image[..., None], 3, axis=-1) for image in grey]
