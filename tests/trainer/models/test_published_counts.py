"""Parameters and multiply-adds of the published networks, and the shape of every stage, as literal tables."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from trainer.config import ModuleWidths
from trainer.models.cost import Cost

# variant, auxiliary classifiers, classes: total, trainable, non-trainable (moving statistics).
COUNTS = [
    ("inception_module", False, 10, 2_106_250, 2_106_250, 0),
    ("convnet", False, 2, 3_453_121, 3_453_121, 0),
    ("googlenet", False, 10, 5_983_802, 5_983_802, 0),
    ("googlenet", True, 10, 10_334_030, 10_334_030, 0),
    ("googlenet", False, 1000, 6_998_552, 6_998_552, 0),
    ("googlenet", True, 1000, 13_378_280, 13_378_280, 0),
    ("inception_v2", False, 10, 10_183_362, 10_163_586, 19_776),
    ("inception_v2", False, 1000, 11_198_112, 11_178_336, 19_776),
    pytest.param("inception_v2", False, 1001, 11_199_137, 11_179_361, 19_776, marks=pytest.mark.slow),
    ("inception_v3", False, 10, 21_823_274, 21_788_842, 34_432),
    ("inception_v3", True, 10, 24_389_556, 24_353_332, 36_224),
    ("inception_v3", False, 1000, 23_851_784, 23_817_352, 34_432),
    ("inception_v3", True, 1000, 27_179_376, 27_143_152, 36_224),
    # Table 1 of its paper: 1,649,402.
    ("inception_small", False, 10, 1_652_826, 1_649_402, 3_424),
    ("inception_v4", False, 10, 41_189_770, 41_126_602, 63_168),
    pytest.param("inception_v4", True, 10, 43_788_820, 43_723_860, 64_960, marks=pytest.mark.slow),
    ("inception_v4", False, 1000, 42_711_400, 42_648_232, 63_168),
    ("inception_v4", True, 1000, 46_071_760, 46_006_800, 64_960),
    ("inception_resnet_v1", False, 10, 20_994_778, 20_967_738, 27_040),
    pytest.param("inception_resnet_v1", True, 10, 23_577_444, 23_548_612, 28_832, marks=pytest.mark.slow),
    ("inception_resnet_v1", False, 1000, 22_769_848, 22_742_808, 27_040),
    ("inception_resnet_v1", True, 1000, 26_113_824, 26_084_992, 28_832),
    ("inception_resnet_v2", False, 10, 54_352_106, 54_291_562, 60_544),
    pytest.param("inception_resnet_v2", True, 10, 56_959_348, 56_897_012, 62_336, marks=pytest.mark.slow),
    ("inception_resnet_v2", False, 1000, 55_873_736, 55_813_192, 60_544),
    ("inception_resnet_v2", True, 1000, 59_242_288, 59_179_952, 62_336),
]

# Trainable parameters with gamma: what timm's instances count (their PyTorch parameters).
COUNTS_WITH_GAMMA = [
    ("inception_v3", False, 23_834_568),
    pytest.param("inception_v3", True, 27_161_264, marks=pytest.mark.slow),
    pytest.param("inception_v4", False, 42_679_816, marks=pytest.mark.slow),
    pytest.param("inception_resnet_v2", False, 55_843_464, marks=pytest.mark.slow),
]

# variant, auxiliary classifiers: thousand million multiply-adds with 1000 classes.
MULTIPLY_ADDS = [
    ("googlenet", False, 1.583),
    ("googlenet", True, 1.591),
    ("inception_v2", False, 1.935),
    ("inception_v3", False, 5.713),
    ("inception_v3", True, 5.719),
    ("inception_v4", False, 12.254),
    ("inception_v4", True, 12.260),
    ("inception_resnet_v1", False, 6.206),
    ("inception_resnet_v2", False, 13.156),
    ("inception_resnet_v2", True, 13.163),
]

Shapes = dict[str, tuple[int, ...]]


def repeated(name: str, count: int, shape: tuple[int, ...]) -> Shapes:
    return {f"{name}_{number}": shape for number in range(1, count + 1)}


# What every stage hands on, at the paper's image size, 10 classes.
STAGES: dict[str, Shapes] = {
    "inception_module": {"module": (32, 32, 192), "head": (10,)},
    "convnet": {
        "conv_1": (74, 74, 32),
        "conv_2": (36, 36, 64),
        "conv_3": (17, 17, 128),
        "conv_4": (7, 7, 128),
        "head": (10,),
    },
    "googlenet": {
        "stem_1": (56, 56, 64),
        "stem_2": (56, 56, 192),
        "stem_3": (28, 28, 192),
        "inception_3a": (28, 28, 256),
        "inception_3b": (28, 28, 480),
        "pool_3": (14, 14, 480),
        "inception_4a": (14, 14, 512),
        "inception_4b": (14, 14, 512),
        "inception_4c": (14, 14, 512),
        "inception_4d": (14, 14, 528),
        "inception_4e": (14, 14, 832),
        "pool_4": (7, 7, 832),
        "inception_5a": (7, 7, 832),
        "inception_5b": (7, 7, 1024),
        "aux_1": (10,),
        "aux_2": (10,),
        "head": (10,),
    },
    "inception_v2": {
        "stem": (28, 28, 192),
        "inception_3a": (28, 28, 256),
        "inception_3b": (28, 28, 320),
        "inception_3c": (14, 14, 576),
        "inception_4a": (14, 14, 576),
        "inception_4b": (14, 14, 576),
        "inception_4c": (14, 14, 576),
        "inception_4d": (14, 14, 576),
        "inception_4e": (7, 7, 1024),
        "inception_5a": (7, 7, 1024),
        "inception_5b": (7, 7, 1024),
        "head": (10,),
    },
    "inception_v3": {
        "stem": (35, 35, 192),
        "inception_a_1": (35, 35, 256),
        "inception_a_2": (35, 35, 288),
        "inception_a_3": (35, 35, 288),
        "reduction_a": (17, 17, 768),
        **repeated("inception_b", 4, (17, 17, 768)),
        "aux_1": (10,),
        "reduction_b": (8, 8, 1280),
        **repeated("inception_c", 2, (8, 8, 2048)),
        "head": (10,),
    },
    "inception_small": {
        "stem": (28, 28, 96),
        "inception_1a": (28, 28, 64),
        "inception_1b": (28, 28, 80),
        "downsample_1": (14, 14, 160),
        "inception_2a": (14, 14, 160),
        "inception_2b": (14, 14, 160),
        "inception_2c": (14, 14, 160),
        "inception_2d": (14, 14, 144),
        "downsample_2": (7, 7, 240),
        "inception_3a": (7, 7, 336),
        "inception_3b": (7, 7, 336),
        "head": (10,),
    },
    "inception_v4": {
        "stem_1": (147, 147, 64),
        "stem_2": (73, 73, 160),
        "stem_3": (71, 71, 192),
        "stem_4": (35, 35, 384),
        **repeated("inception_a", 4, (35, 35, 384)),
        "reduction_a": (17, 17, 1024),
        **repeated("inception_b", 7, (17, 17, 1024)),
        "reduction_b": (8, 8, 1536),
        **repeated("inception_c", 3, (8, 8, 1536)),
        "head": (10,),
    },
    "inception_resnet_v1": {
        "stem": (35, 35, 256),
        **repeated("inception_resnet_a", 5, (35, 35, 256)),
        "reduction_a": (17, 17, 896),
        **repeated("inception_resnet_b", 10, (17, 17, 896)),
        "reduction_b": (8, 8, 1792),
        **repeated("inception_resnet_c", 5, (8, 8, 1792)),
        "head": (10,),
    },
    "inception_resnet_v2": {
        "stem": (35, 35, 192),
        "inception_a": (35, 35, 320),
        **repeated("inception_resnet_a", 10, (35, 35, 320)),
        "reduction_a": (17, 17, 1088),
        **repeated("inception_resnet_b", 20, (17, 17, 1088)),
        "reduction_b": (8, 8, 2080),
        **repeated("inception_resnet_c", 10, (8, 8, 2080)),
        "last": (8, 8, 1536),
        "head": (10,),
    },
}

# What every step of a straight stem hands on.
STEMS: dict[str, Shapes] = {
    "inception_v2": {
        "stem.0_7x7.relu": (112, 112, 64),
        "stem.1_max_3x3": (56, 56, 64),
        "stem.2_1x1.relu": (56, 56, 64),
        "stem.3_3x3.relu": (56, 56, 192),
        "stem.4_max_3x3": (28, 28, 192),
    },
    "inception_v3": {
        "stem.1_3x3.relu": (149, 149, 32),
        "stem.2_3x3.relu": (147, 147, 32),
        "stem.3_3x3.relu": (147, 147, 64),
        "stem.4_max_3x3": (73, 73, 64),
        "stem.5_1x1.relu": (73, 73, 80),
        "stem.6_3x3.relu": (71, 71, 192),
        "stem.7_max_3x3": (35, 35, 192),
    },
    "inception_resnet_v1": {"stem.6_3x3.relu": (71, 71, 192), "stem.7_3x3.relu": (35, 35, 256)},
    "inception_resnet_v2": {"stem.6_3x3.relu": (71, 71, 192), "stem.7_max_3x3": (35, 35, 192)},
}


@pytest.mark.parametrize(("variant", "auxiliary", "classes", "total", "trainable", "non_trainable"), COUNTS)
def test_parameters_are_the_published_ones(
    cost_of: Callable[..., Cost],
    variant: str,
    auxiliary: bool,
    classes: int,
    total: int,
    trainable: int,
    non_trainable: int,
) -> None:
    """Every network has exactly the parameters of the graph it is named after."""
    cost = cost_of(classes, variant=variant, auxiliary=auxiliary)
    assert (cost.parameters, cost.trainable, cost.non_trainable) == (total, trainable, non_trainable)


@pytest.mark.parametrize(("variant", "auxiliary", "trainable"), COUNTS_WITH_GAMMA)
def test_gamma_adds_the_parameters_it_adds_elsewhere(
    cost_of: Callable[..., Cost], variant: str, auxiliary: bool, trainable: int
) -> None:
    """With gamma the trainable parameters are those of the PyTorch ports."""
    assert cost_of(1000, variant=variant, auxiliary=auxiliary, bn_gamma=True).trainable == trainable


@pytest.mark.parametrize(("variant", "auxiliary", "giga"), MULTIPLY_ADDS)
def test_multiply_adds_are_the_published_ones(
    cost_of: Callable[..., Cost], variant: str, auxiliary: bool, giga: float
) -> None:
    """Convolutions and Dense layers at the paper's image size cost what the reference sheet says, to the million."""
    assert round(cost_of(1000, variant=variant, auxiliary=auxiliary).multiply_adds / 1e9, 3) == giga


@pytest.mark.parametrize("variant", STAGES)
def test_every_stage_hands_on_the_published_shape(cost_of: Callable[..., Cost], variant: str) -> None:
    """Grid and channels after every stage are those of the paper's table, and there are no other stages."""
    auxiliary = variant in ("googlenet", "inception_v3")
    stages = cost_of(10, variant=variant, auxiliary=auxiliary).stages
    assert {stage.name: stage.output_shape for stage in stages} == STAGES[variant]


@pytest.mark.parametrize("variant", STEMS)
def test_every_step_of_a_stem_hands_on_the_published_shape(cost_of: Callable[..., Cost], variant: str) -> None:
    """The straight stems shrink the image where the papers do."""
    auxiliary = variant == "inception_v3"
    shapes = {layer.name: layer.output_shape for layer in cost_of(10, variant=variant, auxiliary=auxiliary).layers}
    assert {name: shapes[name] for name in STEMS[variant]} == STEMS[variant]


@pytest.mark.parametrize(
    ("widths", "size", "classes"),
    [
        ({}, 32, 10),
        ({"reduce_3x3": 16}, 32, 10),
        ({"out_3x3": 8, "project": 24}, 8, 3),
        ({"reduce_3x3": 96, "out_3x3": 128, "reduce_5x5": 16, "out_5x5": 32, "project": 40}, 12, 5),
    ],
)
def test_the_single_module_counts_as_its_channels_say(
    cost_of: Callable[..., Cost], widths: dict[str, int], size: int, classes: int
) -> None:
    """C·(r3 + r5 + p) + 9·r3·c3 + 25·r5·c5 and the biases, then a Dense layer on the flattened grid."""
    channels = ModuleWidths(**widths)
    r3, c3, r5, c5, p = channels.model_dump().values()
    module = 3 * (r3 + r5 + p) + 9 * r3 * c3 + 25 * r5 * c5 + (r3 + c3 + r5 + c5 + p)
    dense = (size * size * (c3 + c5 + p) + 1) * classes
    cost = cost_of(classes, variant="inception_module", image_size=size, module=channels)
    assert cost.parameters == module + dense
    if not widths:
        assert cost.parameters == 2_106_250


def test_the_width_multiplies_the_channels_of_the_single_module(cost_of: Callable[..., Cost]) -> None:
    """Half of 96 and 32 is 48 and 16, as if the table had said so."""
    halved = cost_of(3, variant="inception_module", width=0.5, module=ModuleWidths(out_3x3=96, project=32))
    said = ModuleWidths(reduce_3x3=32, out_3x3=48, reduce_5x5=32, out_5x5=32, project=16)
    assert halved == cost_of(3, variant="inception_module", module=said)
