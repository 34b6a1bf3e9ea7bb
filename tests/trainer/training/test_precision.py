"""Which number format a training computes in."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.training.precision import choose, cpu_flags

PLAIN = frozenset({"avx2", "avx512f"})
FAST = PLAIN | {"avx512_bf16"}


@pytest.mark.parametrize(
    ("accelerators", "flags", "policy", "why"),
    [
        ([], FAST, "mixed_bfloat16", "the processor has avx512_bf16"),
        ([], PLAIN | {"amx_bf16"}, "mixed_bfloat16", "the processor has amx_bf16"),
        ([], PLAIN, "float32", "the processor has no fast bfloat16"),
        ([], frozenset(), "float32", "the processor has no fast bfloat16"),
        ([(8, 0)], PLAIN, "mixed_bfloat16", "every GPU multiplies bfloat16 in hardware"),
        ([(9, 0), (9, 0)], PLAIN, "mixed_bfloat16", "every GPU multiplies bfloat16 in hardware"),
        ([(7, 5)], FAST, "float32", "a GPU here has no bfloat16"),
        ([(9, 0), (7, 0)], FAST, "float32", "a GPU here has no bfloat16"),
        ([(0, 0)], FAST, "float32", "a GPU here has no bfloat16"),
    ],
)
def test_auto_takes_bfloat16_where_the_hardware_has_it(
    accelerators: list[tuple[int, int]], flags: frozenset[str], policy: str, why: str
) -> None:
    """The slowest GPU decides, else the processor; the reason is said."""
    chosen = choose("auto", accelerators, flags)
    assert chosen.policy == policy
    assert why in chosen.why


@pytest.mark.parametrize("asked", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_what_the_recipe_asks_for_is_taken(asked: str) -> None:
    """Whatever the hardware."""
    for accelerators, flags in (([], FAST), ([], PLAIN), ([(7, 0)], FAST), ([(9, 0)], PLAIN)):
        assert choose(asked, accelerators, flags) == (asked, "the recipe asks for it")


def test_flags_are_those_of_the_first_processor(tmp_path: Path) -> None:
    """As Linux lists them; words on other lines are no flags."""
    path = tmp_path / "cpuinfo"
    path.write_text(
        "processor\t: 0\nmodel name\t: A amx_bf16 processor\nflags\t\t: fpu avx2 avx512_bf16\nbugs\t\t: spectre\n\n"
        "processor\t: 1\nflags\t\t: fpu\n"
    )
    assert cpu_flags(path) == {"fpu", "avx2", "avx512_bf16"}


def test_where_the_system_does_not_tell_there_are_no_flags(tmp_path: Path) -> None:
    """No such file, or one that lists none (as on ARM)."""
    assert cpu_flags(tmp_path / "absent") == frozenset()
    (tmp_path / "arm").write_text("processor\t: 0\nFeatures\t: fp asimd bf16\n")
    assert cpu_flags(tmp_path / "arm") == frozenset()
