"""The graph that is drawn is the graph that was built."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import pytest
from keras import layers

from trainer.config import Model
from trainer.graph import modules
from trainer.graph.modules import Flow, Graph, Module, Split, Step
from trainer.models import cost, zoo

NAMES = sorted(zoo.VARIANTS)


@functools.cache
def graph_of(variant: str, **options: Any) -> Graph:
    return modules.of(zoo.outline(Model(variant=variant, width=0.25, **options), 10))


def module(graph: Graph, title: str) -> Module:
    return next(one for one in graph.modules if one.title == title)


def steps(flow: Flow) -> Iterator[Step]:
    for item in flow:
        if isinstance(item, Split):
            for branch in item.branches:
                yield from steps(branch)
        else:
            yield item


def labels(flow: Flow) -> list[Any]:
    """A flow as nested lists of labels."""
    return [
        [labels(branch) for branch in item.branches] if isinstance(item, Split) else item.label for item in flow
    ]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_every_convolution_and_pool_is_a_step(name: str) -> None:
    """As many boxes as layers of each kind, counted with the repetitions; nothing is lost or drawn twice."""
    model = Model(variant=name, width=0.25)
    network = zoo.outline(model, 10)
    graph = modules.of(network)
    kinds: dict[str, tuple[Any, ...]] = {
        "convolution": (layers.Conv2D, layers.SeparableConv2D),
        "pooling": (layers.MaxPooling2D, layers.AveragePooling2D, layers.GlobalAveragePooling2D),
        "dense": (layers.Dense,),
        "join": (layers.Concatenate, layers.Add),
    }
    for kind, classes in kinds.items():
        drawn = sum(len(one.stages) * [s.kind for s in steps(one.flow)].count(kind) for one in graph.modules)
        assert drawn == sum(isinstance(layer, classes) for layer in network.layers), kind


@pytest.mark.parametrize("name", NAMES)
def test_modules_follow_one_another(name: str) -> None:
    """Each takes the output of the one it names as its source; together they cost what the network costs."""
    network = zoo.outline(Model(variant=name, width=0.25), 10)
    graph = modules.of(network)
    outputs = {stage.name: stage.output_shape for stage in cost.of(network).stages}
    assert [one.title for one in graph.modules if one.source is None] == [graph.modules[0].title]
    for one in graph.modules[1:]:
        assert one.source is not None
        assert one.input_shape == outputs[one.source]
    assert [stage for one in graph.modules for stage in one.stages] == list(outputs)
    assert sum(one.parameters for one in graph.modules) == network.count_params()
    assert sum(one.multiply_adds for one in graph.modules) == cost.of(network).multiply_adds


def test_googlenets_first_module_is_figure_2b() -> None:
    """Four branches with their channels (a quarter of table 1's, to eights) and the concatenation of them."""
    found = module(graph_of("googlenet"), "inception_3a")
    branches = [["1×1, 16"], ["1×1, 24", "3×3, 32"], ["1×1, 8", "5×5, 8"], ["max 3×3", "1×1, 8"]]
    assert labels(found.flow) == [branches, "concat, 64"]
    assert (found.input_shape, found.output_shape, found.source) == ((28, 28, 48), (28, 28, 64), "stem_3")


def test_a_fork_is_a_split_inside_a_branch() -> None:
    """v3's last modules widen side by side: 1×3 and 3×1 on the same input."""
    found = module(graph_of("inception_v3"), "inception_c_1 … 2")
    [branches, _] = labels(found.flow)
    assert branches[1] == ["1×1, 96", [["1×3, 96"], ["3×1, 96"]], "concat, 192"]


def test_a_residual_module_shows_its_scale_and_its_sum() -> None:
    """The linear 1×1 back to the trunk, scale, sum, ReLU; the last block of v2 has neither scale nor ReLU."""
    graph = graph_of("inception_resnet_v2")
    scaled, last = module(graph, "inception_resnet_b_1 … 20"), module(graph, "inception_resnet_c_10")
    assert labels(scaled.flow)[1:] == ["concat, 96", "1×1 linear, 272", "× 0.1", "+", "ReLU"]
    assert labels(last.flow)[1:] == ["concat, 112", "1×1 linear, 520", "+"]
    assert scaled.residual
    assert last.residual
    assert not module(graph, "reduction_a").residual


def test_equal_neighbours_are_one_module() -> None:
    """v4 is four, seven and three times the same; v3's projections of 32 and 64 channels are not the same."""
    assert [one.title for one in graph_of("inception_v4").modules][4:9] == [
        "inception_a_1 … 4", "reduction_a", "inception_b_1 … 7", "reduction_b", "inception_c_1 … 3",
    ]  # fmt: skip
    assert [one.title for one in graph_of("inception_v3").modules][1:3] == ["inception_a_1", "inception_a_2 … 3"]


def test_auxiliary_classifiers_hang_on_their_stage() -> None:
    """GoogLeNet's on 4a and 4d, which go on to 4b and 4e as well."""
    graph = graph_of("googlenet", auxiliary=True)
    sources = {one.title: one.source for one in graph.modules}
    assert (sources["aux_1"], sources["aux_2"]) == ("inception_4a", "inception_4d")
    assert (sources["inception_4b"], sources["inception_4e"]) == ("inception_4a", "inception_4d")
    assert [one.title for one in graph.modules if one.auxiliary] == ["aux_1", "aux_2"]


@pytest.mark.parametrize(
    ("variant", "options", "title", "expected"),
    [
        ("googlenet", {"lrn": True}, "stem_1", ["7×7 / 2, 16", "max 3×3 / 2", "local response norm."]),
        ("googlenet", {"stem": "small"}, "stem", ["3×3 / 2, 16", "1×1, 16", "3×3, 48"]),
        ("inception_v2", {"stem": "small"}, "stem", ["3×3 / 2, 16", "1×1, 16", "3×3, 48"]),
        ("inception_v3", {}, "aux_1", ["mean 5×5 / 3 V", "1×1, 32", "5×5 V, 192", "mean of the grid", "logits, 10"]),
        ("convnet", {}, "head", ["flatten, 1568", "dropout 0.5", "dense, 128", "logits, 10"]),
    ],
)  # fmt: skip
def test_a_chain_is_read_off_in_its_order(
    variant: str, options: dict[str, Any], title: str, expected: list[str]
) -> None:
    """Padding, strides, channels and what stands between, as they are."""
    assert labels(module(graph_of(variant, **options), title).flow) == expected


def test_the_separable_convolution_says_what_it_has() -> None:
    """v2's first convolution alone is not normalised."""
    assert labels(module(graph_of("inception_v2"), "stem").flow)[0] == "7×7 / 2 separable with a bias, 16"


def test_normalised_networks_are_told_apart() -> None:
    """The note under the picture says what follows a convolution."""
    assert graph_of("inception_v3").batch_norm
    assert not graph_of("googlenet").batch_norm
