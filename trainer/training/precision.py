"""Which number format a training computes in.

bfloat16 doubles the throughput of a processor that multiplies it in hardware and slows every other one down, so
`auto` asks the processor. Weights, batch statistics and logits stay float32 either way (Keras' mixed policies).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

FAST_BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})


class Precision(NamedTuple):
    policy: str
    """A Keras dtype policy: `float32`, `mixed_bfloat16` or `mixed_float16`."""
    why: str


def choose(asked: str, accelerators: Sequence[tuple[int, int]], cpu_flags: frozenset[str]) -> Precision:
    """Decide.

    Args:
        asked: the recipe's `train.precision`.
        accelerators: compute capability of every GPU TensorFlow sees.
        cpu_flags: instruction-set flags of the processor.
    """
    if asked != "auto":
        return Precision(asked, "the recipe asks for it")
    if accelerators:
        if min(accelerators) >= (8, 0):
            return Precision("mixed_bfloat16", "every GPU multiplies bfloat16 in hardware")
        return Precision("float32", "a GPU here has no bfloat16; ask for mixed_float16 if the network stands it")
    fast = sorted(FAST_BFLOAT16_FLAGS & cpu_flags)
    if fast:
        return Precision("mixed_bfloat16", f"the processor has {fast[0]}")
    return Precision("float32", "the processor has no fast bfloat16")


def cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Flags of the first processor; empty where the system does not tell."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    return next((frozenset(line.partition(":")[2].split()) for line in lines if line.startswith("flags")), frozenset())
