"""How large the parts of a drawn graph are, how its modules fall into columns, and what is written on them.

Lengths are inches. Nothing is drawn here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from trainer.graph.modules import Flow, Module, Shape, Split, Step

ASPECT = 1.5
"""Width to height that the number of columns aims at."""

BOX, LEAST_BOX = 0.25, 0.84
BETWEEN_STEPS, BETWEEN_BRANCHES, FAN = 0.19, 0.14, 0.19
PADDING, HEADING, BYPASS = 0.16, 0.44, 0.2
BETWEEN_MODULES, GUTTER, TITLE, FOOT = 0.5, 0.62, 0.55, 0.6
STEP_FONT, NAME_FONT, COST_FONT, SHAPE_FONT = 7.0, 8.5, 6.2, 7.0
"""Points."""
CHARACTER = 0.0088
"""Inches that a character takes per point of its font, on average."""


def step_width(step: Step) -> float:
    """Of its box."""
    return max(LEAST_BOX, len(step.label) * STEP_FONT * CHARACTER + 0.12)


def flow_size(flow: Flow) -> tuple[float, float]:
    """Width and height of a flow."""
    sizes = [split_size(item) if isinstance(item, Split) else (step_width(item), BOX) for item in flow]
    gaps = sum(gap(flow, index) for index in range(1, len(flow)))
    return max(width for width, _ in sizes), sum(height for _, height in sizes) + gaps


def split_size(split: Split) -> tuple[float, float]:
    """Width and height, with the arrows into the branches and out of them."""
    sizes = [flow_size(branch) for branch in split.branches]
    width = sum(width for width, _ in sizes) + BETWEEN_BRANCHES * (len(sizes) - 1)
    return width, max(height for _, height in sizes) + 2 * FAN


def gap(flow: Flow, index: int) -> float:
    """Between a step and the one before it; the branches of a split reach down to the join by themselves."""
    return 0.0 if isinstance(flow[index - 1], Split) else BETWEEN_STEPS


def module_width(module: Module) -> float:
    """Of its panel."""
    flow = flow_size(module.flow)[0] + (2 * BYPASS if module.residual else 0)
    heading = max(
        len(name(module)) * NAME_FONT * CHARACTER * 1.1,
        len(cost(module)) * COST_FONT * CHARACTER,
        2 * len(passed(module)) * SHAPE_FONT * CHARACTER,  # begins in the middle
    )
    return max(flow, heading) + 2 * PADDING


def module_height(module: Module) -> float:
    """Of its panel."""
    return HEADING + flow_size(module.flow)[1] + PADDING


def column_height(column: Sequence[Module]) -> float:
    """With the arrow into each module."""
    return sum(module_height(module) + BETWEEN_MODULES for module in column)


def in_columns(modules: Sequence[Module]) -> list[list[Module]]:
    """The modules in columns: as many as fill the picture well and bring it near to `ASPECT`.

    Auxiliary classifiers come last: in between they would part what follows one another.
    """
    modules = sorted(modules, key=lambda module: module.auxiliary)
    choices = [_divided(modules, count) for count in range(1, len(modules) + 1)]

    def badness(columns: list[list[Module]]) -> float:
        width = sum(max(map(module_width, column)) + GUTTER for column in columns)
        heights = [column_height(column) for column in columns]
        off = abs(math.log(width / (max(heights) + TITLE + FOOT) / ASPECT))
        return off + 2 - 2 * sum(heights) / (len(heights) * max(heights))

    return min(choices, key=badness)


def _divided(modules: Sequence[Module], count: int) -> list[list[Module]]:
    """In at most `count` columns, the highest as low as can be: the least height that suffices, by bisection."""
    low, high = max(column_height([module]) for module in modules), column_height(modules)
    while high - low > 0.01:
        middle = (low + high) / 2
        low, high = (low, middle) if len(_filled(modules, middle)) <= count else (middle, high)
    return _filled(modules, high)


def _filled(modules: Sequence[Module], height: float) -> list[list[Module]]:
    columns: list[list[Module]] = [[]]
    for module in modules:
        if columns[-1] and column_height([*columns[-1], module]) > height + 1e-9:
            columns.append([])
        columns[-1].append(module)
    return columns


def name(module: Module) -> str:
    """`inception_b_1 … 7  (7 times)`."""
    times = f"  ({len(module.stages)} times)" if len(module.stages) > 1 else ""
    return module.title + times


def shape_text(shape: Shape) -> str:
    """`35×35×384`."""
    return "×".join(map(str, shape))


def passed(module: Module) -> str:
    """What is written on the arrow into a module."""
    shape = shape_text(module.input_shape)
    if module.source is None:
        return f"image, {shape}"
    return f"{shape}, from {module.source}" if module.auxiliary else shape


def cost(module: Module) -> str:
    """Its parameters and multiply-adds, of all its repetitions together."""
    if not module.parameters:
        return "no parameters"
    return f"{short(module.parameters)} parameters, {short(module.multiply_adds)} multiply-adds"


def short(number: int) -> str:
    """`163.7 k`, `20.6 M`, `5.93 G`."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.{2 if unit == 'G' else 1}f} {unit}"
    return str(number)
