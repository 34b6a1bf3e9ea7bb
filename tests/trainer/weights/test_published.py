"""Which `init` a recipe may ask for."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from trainer.config import Model
from trainer.models import zoo
from trainer.weights import published

FITTING = {
    "inception_v2": {"slim"},
    "inception_v3": {"imagenet", "keras", "slim"},
    "inception_v4": {"timm", "slim"},
    "inception_resnet_v2": {"imagenet", "keras", "timm", "slim"},
}
WRITTEN = {
    "imagenet": ["imagenet"],
    "keras": ["keras:a.h5", "keras:gs://bucket/a.h5"],
    "timm": ["timm:folder/a.safetensors", "timm:a.safetensors", "timm:gs://bucket/a.safetensors"],
    "slim": ["slim:inception.ckpt", "slim:gs://bucket/inception.ckpt"],
}
FITTING_INITS = [(row, init) for row, kinds in FITTING.items() for kind in sorted(kinds) for init in WRITTEN[kind]]
LACKING = [(row, kind) for row in zoo.VARIANTS for kind in published.KINDS if kind not in FITTING.get(row, ())]


def refusal(**model: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        Model(**model)
    [finding] = caught.value.errors()
    return str(finding["ctx"]["error"])


def test_the_table_says_what_each_row_loads() -> None:
    """Every row of the zoo knows its weights; the rows without any are those whose graph was never published."""
    having = {name: {weights.kind for weights in row.weights} for name, row in zoo.VARIANTS.items()}
    assert {name: kinds for name, kinds in having.items() if kinds} == FITTING
    assert set(published.WEIGHTS) <= set(zoo.VARIANTS)


@pytest.mark.parametrize(("row", "init"), FITTING_INITS)
def test_weights_that_fit_are_accepted(row: str, init: str) -> None:
    """A local path, a bucket, or the published file; it is a part of the recipe's identity."""
    model = Model(variant=row, init=init)
    assert model.init == init
    assert model.model_dump_json() != Model(variant=row).model_dump_json()


@pytest.mark.parametrize("name", [n for row in zoo.VARIANTS.values() for w in row.weights for n in w.names])
def test_timms_own_names_are_accepted(name: str) -> None:
    """What may be written for a file is listed with the row."""
    Model(variant=name.partition(".")[0], init=f"timm:{name}")


@pytest.mark.parametrize(("row", "kind"), LACKING)
def test_a_kind_the_row_lacks_is_refused(row: str, kind: str) -> None:
    """The refusal names the kinds it has, or says that and why it has none."""
    said = refusal(variant=row, init=WRITTEN[kind][0])
    if row in FITTING:
        assert f"init '{kind}' does not suit {row}" in said
        assert all(having in said for having in FITTING[row])
    else:
        assert said.startswith(f"{row} has no weights to begin with: ")
        assert said.endswith("Leave init out.")


@pytest.mark.parametrize(
    ("row", "init", "reason"),
    [
        ("googlenet", "slim:inception_v1.ckpt", "batch normalisation and 3×3 convolutions in the third branch"),
        ("inception_v3", "timm:a.safetensors", "counts the padding in its average pools"),
        ("inception_resnet_v1", "slim:a", "face embeddings"),
        ("convnet", "imagenet", "none were published"),
    ],
)
def test_a_graph_that_differs_is_the_reason(row: str, init: str, reason: str) -> None:
    """What was released under a network's name is not always the network."""
    assert reason in refusal(variant=row, init=init)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"init": "imagnet"}, ["'imagnet' is unknown", "Did you mean 'imagenet'?", "slim:<checkpoint>"]),
        ({"init": "torch:a.pth"}, ["'torch' is unknown"]),
        ({"init": "imagenet:a.h5"}, ["incomplete or says too much"]),
        ({"init": "slim"}, ["incomplete or says too much"]),
        ({"init": "champoin"}, ["Did you mean 'champion'?"]),
        ({"init": "champion:digits"}, ["says too much", "Write 'champion' by itself"]),
        ({"init": "timm:"}, ["init 'timm:' is incomplete or says too much"]),
        ({"init": "timm:inception_v4.pth"}, ["pickled", "any code", ".safetensors"]),
        ({"init": "timm:gs://b/pytorch_model.bin"}, ["pickled"]),
        ({"init": "timm:inception_resnet_v2.tf_in1"}, ["neither", "Did you mean 'inception_resnet_v2.tf_in1k'?"]),
        ({"init": "imagenet", "width": 0.5}, ["does not fit width 0.5", "Leave out width"]),
        ({"init": "imagenet", "stem": "small"}, ["does not fit stem 'small'"]),
        ({"init": "imagenet", "residual_scale": 0.2}, ["residual_scale 0.2", "released network"]),
    ],
)
def test_an_init_that_makes_no_sense_is_refused(model: dict[str, Any], words: list[str]) -> None:
    """The refusal says what was received and what to write."""
    said = refusal(variant="inception_resnet_v2", **model)
    assert [word for word in words if word not in said] == []


@pytest.mark.parametrize("row", zoo.VARIANTS)
def test_every_network_may_begin_with_its_champion(row: str) -> None:
    """Also a narrow one: the champion is one's own, nothing that was published."""
    assert Model(variant=row, init="champion", width=0.5).init == "champion"


def test_what_does_not_change_the_graph_goes_with_weights() -> None:
    """Dropout, momentum, scales, an auxiliary classifier and other image sizes."""
    Model(
        variant="inception_resnet_v2",
        init="imagenet",
        image_size=160,
        dropout=0.5,
        bn_momentum=0.9,
        bn_gamma=True,
        auxiliary=True,
    )


def test_every_published_checksum_is_one() -> None:
    """md5, as Keras knows them; a file by a published name is held against it."""
    known = [d for row in zoo.VARIANTS.values() for w in row.weights for d in (w.whole, w.headless) if d is not None]
    assert len({(d.name, d.md5) for d in known}) == 4
    assert all(d.md5 is not None and len(d.md5) == 32 and d.address.endswith(d.name) for d in known)


def test_checksums_and_addresses_are_keras_own() -> None:
    """Read from the keras that is installed, so that an update which changes them is noticed."""
    import inspect

    from keras.src.applications import inception_resnet_v2, inception_v3

    for row, module in (("inception_v3", inception_v3), ("inception_resnet_v2", inception_resnet_v2)):
        source = "".join(inspect.getsource(module).replace('"', " ").split())  # long names are written in two parts
        weights = published.find(row, "imagenet")
        for download in (weights.whole, weights.headless):
            assert download is not None
            assert str(download.md5) in source
            assert f"keras-applications/{row}/" in source
            assert download.name in source
