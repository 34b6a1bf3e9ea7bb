"""The table of networks, and what it says to recipes that ask for one that does not exist."""

from __future__ import annotations

import importlib
import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from trainer.config import Model, ModuleWidths
from trainer.errors import RecipeError
from trainer.models import zoo

ROWS = sorted(zoo.VARIANTS)
WITH_SMALL_STEM = [name for name in ROWS if zoo.VARIANTS[name].has_small_stem]

OPTIONS = {
    "inception_module": {"dropout", "module"},
    "convnet": {"dropout"},
    "googlenet": {"stem", "auxiliary", "dropout", "lrn"},
    "inception_v2": {"stem", "dropout", "bn_momentum", "bn_gamma"},
    "inception_v3": {"stem", "auxiliary", "dropout", "bn_momentum", "bn_gamma"},
    "inception_small": {"stem", "dropout", "bn_momentum", "bn_gamma"},
    "inception_v4": {"stem", "auxiliary", "dropout", "bn_momentum", "bn_gamma"},
    "inception_resnet_v1": {"stem", "auxiliary", "dropout", "residual_scale", "bn_momentum", "bn_gamma"},
    "inception_resnet_v2": {"stem", "auxiliary", "dropout", "residual_scale", "bn_momentum", "bn_gamma"},
}
ASKED = {
    "stem": "small",
    "auxiliary": True,
    "dropout": 0.3,
    "residual_scale": 0.2,
    "bn_momentum": 0.9,
    "bn_gamma": True,
    "lrn": True,
    "module": ModuleWidths(out_5x5=96),
}
LACKING = [(row, option) for row in ROWS for option in ASKED if option not in OPTIONS[row]]
HAVING = [(row, option) for row in ROWS for option in ASKED if option in OPTIONS[row]]


def refusal(**model: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        Model(**model)
    [finding] = caught.value.errors()
    assert finding["type"] == "value_error"
    return str(finding["ctx"]["error"])


def test_nothing_heavy_is_imported_until_a_network_is_built() -> None:
    """Importing the zoo, checking and resolving every row load neither Keras nor TensorFlow."""
    program = (
        "import sys\n"
        "from trainer.config import Model\n"
        "from trainer.models import zoo\n"
        "for name in zoo.VARIANTS: zoo.resolve(Model(variant=name))\n"
        "print(sorted({'keras', 'tensorflow', 'numpy', 'mlflow'} & set(sys.modules)))\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_table_holds_the_whole_family() -> None:
    """There is a row for every network, with the options that mean something for it."""
    assert {name: set(row.options) for name, row in zoo.VARIANTS.items()} == OPTIONS


@pytest.mark.parametrize("name", ROWS)
def test_a_row_is_complete(name: str) -> None:
    """A row cites its paper, names a function that exists, and has defaults only for options it has."""
    row = zoo.VARIANTS[name]
    module, function = row.builder.split(":")
    assert callable(getattr(importlib.import_module(module), function))
    assert row.name == name
    assert set(row.defaults) <= row.options
    assert row.smallest_image <= row.image_size
    assert str(row.paper.year) in str(row.paper)
    assert row.paper.where in str(row.paper)
    assert row.paper.arxiv is None or f"arXiv:{row.paper.arxiv}" in str(row.paper)


@pytest.mark.parametrize(("row", "option"), LACKING)
def test_an_option_the_row_lacks_is_refused(row: str, option: str) -> None:
    """The refusal names the row, the option, what was received and the options there are."""
    said = refusal(variant=row, **{option: ASKED[option]})
    assert said.startswith(f"{row} has no option {option!r}, received {ASKED[option]!r}.")
    assert all(known in said for known in OPTIONS[row])


@pytest.mark.parametrize(("row", "option"), HAVING)
def test_an_option_the_row_has_reaches_the_network(row: str, option: str) -> None:
    """What the recipe says takes the place of the row's default."""
    assert getattr(zoo.resolve(Model(variant=row, **{option: ASKED[option]})), option) == ASKED[option]


@pytest.mark.parametrize("option", ["auxiliary", "lrn", "bn_gamma"])
def test_switching_off_what_is_not_there_is_no_error(option: str) -> None:
    """A form that sends false for every switch fits every row."""
    assert getattr(zoo.resolve(Model(variant="convnet", **{option: False})), option) is False


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"variant": "googlenett"}, ["'googlenett'", "unknown", "Did you mean 'googlenet'?"]),
        ({"variant": "inception_v5"}, ["'inception_v5'", "Did you mean 'inception_v"]),
        ({"variant": "zzz"}, ["'zzz'", "Known: convnet, googlenet, inception_module"]),
        ({"variant": "inception_v3", "image_size": 74}, ["image_size 74", "inception_v3", "at least 75", "'small'"]),
        ({"variant": "convnet", "image_size": 45}, ["image_size 45", "convnet", "at least 46"]),
        ({"variant": "googlenet", "stem": "small", "image_size": 31}, ["image_size 31", "32 to 96"]),
        ({"variant": "googlenet", "stem": "small", "image_size": 97}, ["image_size 97", "stem = 'paper'"]),
        ({"variant": "googlenet", "width": 8.5}, ["width 8.5", "at most 8"]),
        ({"variant": "inception_resnet_v2", "residual_scale": 1.5}, ["residual_scale 1.5", "0.1 to 0.3"]),
    ],
)
def test_an_impossible_network_is_refused(model: dict[str, Any], words: list[str]) -> None:
    """The refusal names the key, what was received and what would do."""
    said = refusal(**model)
    assert [word for word in words if word not in said] == []


def test_a_refusal_for_a_row_without_the_small_stem_does_not_offer_it() -> None:
    """Remedies are ones that work."""
    assert "stem" not in refusal(variant="convnet", image_size=45)


def test_an_unknown_variant_is_a_recipe_error() -> None:
    """Looking a row up by a wrong name gives the nearest one."""
    with pytest.raises(RecipeError, match=r"no variant 'inception_resnet_v3'.\nDid you mean 'inception_resnet_v"):
        zoo.variant("inception_resnet_v3")
    assert zoo.variant("convnet") is zoo.VARIANTS["convnet"]


@pytest.mark.parametrize(
    ("name", "image_size", "auxiliary", "dropout", "scaling"),
    [
        ("inception_module", 32, False, 0.0, "unit"),
        ("convnet", 150, False, 0.5, "unit"),
        ("googlenet", 224, True, 0.4, "unit"),
        ("inception_v2", 224, False, 0.0, "symmetric"),
        ("inception_v3", 299, True, 0.2, "symmetric"),
        ("inception_small", 28, False, 0.0, "symmetric"),
        ("inception_v4", 299, False, 0.2, "symmetric"),
        ("inception_resnet_v1", 299, False, 0.2, "symmetric"),
        ("inception_resnet_v2", 299, False, 0.2, "symmetric"),
    ],
)
def test_what_is_left_out_takes_the_rows_default(
    name: str, image_size: int, auxiliary: bool, dropout: float, scaling: zoo.Scaling
) -> None:
    """A section that names only a variant resolves to the paper's network."""
    assert zoo.resolve(Model(variant=name)) == zoo.Options(
        variant=name,
        image_size=image_size,
        scaling=scaling,
        auxiliary=auxiliary,
        dropout=dropout,
        module=ModuleWidths() if name == "inception_module" else None,
    )


@pytest.mark.parametrize("name", WITH_SMALL_STEM)
def test_the_small_stem_takes_32_pixels_unless_told_otherwise(name: str) -> None:
    """`stem = "small"` alone makes a network for CIFAR's images."""
    assert zoo.resolve(Model(variant=name, stem="small")).image_size == 32
    assert zoo.resolve(Model(variant=name, stem="small", image_size=64)).image_size == 64


def test_a_classifier_has_at_least_two_classes() -> None:
    """One class leaves nothing to tell apart."""
    with pytest.raises(ValueError, match="at least 2 classes, received 1"):
        zoo.build(Model(variant="inception_module"), 1)
