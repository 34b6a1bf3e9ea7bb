"""The recipes for the published set-ups, and for CIFAR-10 at 32 pixels, say what they claim to say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainer import config
from trainer.models import zoo

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
FAMILY = sorted(name for name, row in zoo.VARIANTS.items() if row.has_small_stem)
FOR_IMAGENET = [name for name in FAMILY if name != "inception_small"]
"""That one is for CIFAR-10 in its paper too."""

RMSPROP = {"name": "rmsprop", "learning_rate": 0.045, "rho": 0.9, "momentum": 0.9, "epsilon": 1.0}
EVERY_TWO = {"name": "step", "factor": 0.94, "every_epochs": 2}

# What the papers say, or the code released with them where they are silent.
PUBLISHED: dict[str, dict[str, Any]] = {
    "googlenet": {
        "optimizer": {"name": "sgd", "learning_rate": 0.01, "momentum": 0.9},
        "schedule": {"name": "step", "factor": 0.96, "every_epochs": 8},
        "train": {"batch_size": 32, "auxiliary_weight": 0.3, "l2": 2e-4, "label_smoothing": 0.0},
        "options": {"auxiliary": True, "dropout": 0.4, "lrn": True},
    },
    "inception_v2": {
        "optimizer": {"name": "sgd", "learning_rate": 0.045, "momentum": 0.9},
        "schedule": {"name": "step", "factor": pytest.approx(0.96**6, abs=1e-3), "every_epochs": 8},
        "train": {"batch_size": 32, "l2": pytest.approx(2e-4 / 5), "label_smoothing": 0.0},
        "options": {"dropout": 0.0, "bn_momentum": 0.9997, "bn_gamma": False},
    },
    "inception_v3": {
        "optimizer": RMSPROP,
        "schedule": EVERY_TWO,
        "train": {"batch_size": 32, "epochs": 100, "clip_norm": 2.0, "label_smoothing": 0.1, "auxiliary_weight": 0.4},
        "options": {"auxiliary": True, "dropout": 0.2, "bn_momentum": 0.9997, "bn_gamma": False},
    },
    "inception_v3_batch256": {
        "optimizer": RMSPROP | {"learning_rate": 0.1},
        "schedule": {"name": "step", "factor": 0.16, "every_epochs": 30},
        "train": {"batch_size": 256, "label_smoothing": 0.1, "auxiliary_weight": 0.4, "l2": 4e-5},
        "options": {"auxiliary": True, "dropout": 0.2, "bn_momentum": 0.9997},
    },
    "inception_v4": {
        "optimizer": RMSPROP,
        "schedule": EVERY_TWO,
        "train": {"batch_size": 32, "clip_norm": 2.0},
        "options": {"auxiliary": False, "dropout": 0.2},
    },
    "inception_resnet_v1": {
        "optimizer": RMSPROP,
        "schedule": EVERY_TWO | {"warmup_epochs": 1.0},
        "train": {"batch_size": 32, "clip_norm": 2.0},
        "options": {"auxiliary": False, "dropout": 0.2, "residual_scale": None},
    },
    "inception_resnet_v2": {
        "optimizer": RMSPROP,
        "schedule": EVERY_TWO | {"warmup_epochs": 1.0},
        "train": {"batch_size": 32, "clip_norm": 2.0},
        "options": {"auxiliary": False, "dropout": 0.2, "residual_scale": None},
    },
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_an_imagenet_recipe_is_the_published_set_up(name: str) -> None:
    """Optimiser, schedule, regularisation and network at the paper's image size, as the source has them."""
    recipe, published = config.load(CONFIGS / f"imagenet_{name}.toml"), PUBLISHED[name]
    options = zoo.resolve(recipe.model)
    assert recipe.data.source == "tfds:imagenet2012"
    assert (options.stem, options.width, options.image_size) == ("paper", 1.0, zoo.variant(options.variant).image_size)
    for part, section in [
        ("optimizer", recipe.train.optimizer),
        ("schedule", recipe.train.schedule),
        ("train", recipe.train),
        ("options", options),
    ]:
        assert {key: getattr(section, key) for key in published[part]} == published[part]


def test_every_paper_has_its_imagenet_recipe() -> None:
    """A network of the family without one would be a gap; so would a recipe that the table above leaves out."""
    shipped = {path.stem.removeprefix("imagenet_") for path in CONFIGS.glob("imagenet_*.toml")}
    assert shipped == set(PUBLISHED)
    assert {config.load(path).model.variant for path in CONFIGS.glob("imagenet_*.toml")} == set(FOR_IMAGENET)


def test_every_network_has_its_recipe_for_small_images() -> None:
    """CIFAR-10 at its own 32 pixels, with the small stem, at full width."""
    recipes = [config.load(path) for path in CONFIGS.glob("cifar10_*.toml")]
    small = {recipe.model.variant: zoo.resolve(recipe.model) for recipe in recipes if recipe.model.stem == "small"}
    assert sorted(small) == FAMILY
    assert {(options.image_size, options.width) for options in small.values()} == {(32, 1.0)}


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("imagenet_*.toml")), ids=lambda path: path.stem)
def test_the_header_says_what_was_not_run(path: Path) -> None:
    """Source, compute, whose crops and colours these are, and that it was not run here."""
    header = " ".join(line.lstrip("# ") for line in path.read_text(encoding="utf-8").splitlines() if line[:1] == "#")
    for fact in ("arXiv:1", "Compute: ", "rops", "distortion", "Not run here"):
        assert fact in header
