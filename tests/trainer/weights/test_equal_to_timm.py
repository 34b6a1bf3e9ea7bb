"""Inception-v4 and Inception-ResNet-v2 are timm's networks: its own weights file gives its own logits.

Needs PyTorch and timm, which the project does without. To run these tests, install both into an environment of their
own beside the development one; `benchmarks/results/networks_cpu_202611.md` says which versions and what was measured.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

from trainer import weights
from trainer.config import Model
from trainer.models import zoo

torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed: it is no dependency", exc_type=ImportError)
timm: Any = pytest.importorskip("timm", reason="timm is not installed: it is no dependency", exc_type=ImportError)

CLASSES = 1000
TOLERANCE = 1e-5
"""Of the largest logit."""


def drawn(random: np.random.Generator, name: str, value: Any, gamma: bool) -> Any:
    """Numbers for an entry of a `state_dict` under which signals neither fade nor grow; running counts stay.

    Without `gamma` the scales are ones, as in the weights that came from TensorFlow.
    """
    shape = tuple(value.shape)
    if not value.is_floating_point():
        return value
    if len(shape) > 1:
        numbers = random.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
    elif name.endswith("running_var"):
        numbers = random.uniform(0.5, 1.5, shape)
    elif name.endswith("bn.weight"):
        numbers = random.uniform(0.8, 1.2, shape) if gamma else np.ones(shape)
    else:
        numbers = random.normal(0, 0.1, shape)
    return torch.tensor(numbers.astype("float32"))


@pytest.mark.parametrize("gamma", [False, True], ids=["no gamma", "gamma"])
@pytest.mark.parametrize(("variant", "image_size"), [("inception_v4", 299), ("inception_resnet_v2", 139)])
def test_logits_equal_timms(tmp_path: Path, record_property: Any, variant: str, image_size: int, gamma: bool) -> None:
    """A network that timm made and saved, loaded by `init = "timm:<file>"`, answers as timm's does."""
    random = np.random.default_rng(5)
    reference = timm.create_model(variant, pretrained=False, num_classes=CLASSES).eval()
    fresh = {name: drawn(random, name, value, gamma) for name, value in reference.state_dict().items()}
    reference.load_state_dict(fresh)
    file = tmp_path / f"{variant}.safetensors"
    save_file({name: value.numpy() for name, value in fresh.items()}, file)

    model = Model(variant=variant, image_size=image_size, auxiliary=False, bn_gamma=gamma)
    network = zoo.build(model, CLASSES)
    loaded = weights.load(network, zoo.resolve(model), f"timm:{file}", CLASSES, tmp_path)
    assert loaded.layers_fresh == {}

    images = random.uniform(-1, 1, (2, image_size, image_size, 3)).astype("float32")
    with torch.no_grad():
        expected = reference(torch.tensor(images.transpose(0, 3, 1, 2).copy())).numpy()
    found = keras.ops.convert_to_numpy(network(images, training=False)["main"])
    assert np.ptp(expected[0] - expected[1]) > 0.01 * np.abs(expected).max()  # the images are told apart
    difference = float(np.abs(found - expected).max() / np.abs(expected).max())
    record_property("relative_difference", difference)
    assert difference < TOLERANCE
