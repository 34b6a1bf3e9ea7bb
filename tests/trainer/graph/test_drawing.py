"""The picture of a graph."""

from __future__ import annotations

import io
import re
from typing import Any
from xml.etree import ElementTree

import matplotlib
import pytest
from PIL import Image

from trainer.config import Model
from trainer.graph import drawing, layout, modules
from trainer.graph.modules import Graph
from trainer.models import zoo

NAMES = sorted(zoo.VARIANTS)


def graph_of(variant: str, **options: Any) -> Graph:
    return modules.of(zoo.outline(Model(variant=variant, width=0.125, **options), 3))


def words_of(graph: Graph) -> list[str]:
    """Every text of the picture."""
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        root = ElementTree.fromstring(drawing.draw(graph, "svg"))
    return [text.text or "" for text in root.iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("name", NAMES)
def test_every_variant_can_be_drawn(name: str) -> None:
    """A picture of readable size, near the shape of a page, with more on it than paper."""
    picture = Image.open(io.BytesIO(drawing.draw(graph_of(name))))
    picture.load()
    assert picture.format == "PNG"
    assert 300 < picture.height < 2600
    assert 0.8 < picture.width / picture.height < 4
    assert len(picture.convert("RGB").getcolors(1 << 20) or []) > 20


def test_modules_steps_and_shapes_are_written() -> None:
    """The title of every module, the shape on every arrow, the label of every step."""
    graph = graph_of("googlenet")
    words = words_of(graph)
    for module in graph.modules:
        assert layout.name(module) in words
        assert layout.passed(module) in words
        assert layout.cost(module) in words
    inceptions = sum(module.title.startswith("inception") for module in graph.modules)
    assert words.count("max 3×3") == sum(word.startswith("concat, ") for word in words) == inceptions
    assert any(word.endswith("from inception_4a") for word in words)


def test_the_same_graph_makes_the_same_svg() -> None:
    """No date in it; identifiers that matplotlib draws at random apart."""
    first, second = (drawing.draw(graph_of("inception_module"), "svg").decode() for _ in range(2))
    plain = re.compile(r"\b[mp][0-9a-f]{10}\b")
    assert plain.sub("", first) == plain.sub("", second)


@pytest.mark.parametrize("file_format", ["png", "svg", "pdf"])
def test_the_format_is_the_one_asked_for(file_format: str) -> None:
    """Told by the first bytes."""
    begins = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    assert drawing.draw(graph_of("inception_module"), file_format).startswith(begins[file_format])


@pytest.mark.parametrize("name", NAMES)
def test_columns_hold_every_module_once_in_order(name: str) -> None:
    """Auxiliary classifiers come last, whatever their place in the network."""
    graph = graph_of(name)
    placed = [module for column in layout.in_columns(graph.modules) for module in column]
    assert placed == sorted(graph.modules, key=lambda module: module.auxiliary)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_wider_than_its_panel(name: str) -> None:
    """Boxes of all branches side by side, the residual bypass and the heading fit into the panel."""
    for module in graph_of(name).modules:
        width = layout.module_width(module)
        bypass = 2 * layout.BYPASS if module.residual else 0.0
        assert layout.flow_size(module.flow)[0] + bypass <= width - 2 * layout.PADDING + 1e-9
