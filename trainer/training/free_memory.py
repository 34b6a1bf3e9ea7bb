"""How much memory a process can still take: what the machine has left, or what its container's limit leaves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")


def free_memory(proc: Path = PROC, cgroups: Path = CGROUPS) -> int:
    """Bytes. File caches count as free: the kernel gives them up before it ends a process."""
    return max(0, min([psutil.virtual_memory().available, *_left_by_limits(proc, cgroups)]))


def _left_by_limits(proc: Path, cgroups: Path) -> Iterator[int]:
    """What every control group around this process leaves, of either version of Linux' control groups."""
    try:
        lines = (proc / "self" / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            root, limit, usage, cache = cgroups, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            root, limit, usage, cache = (
                cgroups / "memory",
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
                "total_inactive_file",
            )
        else:
            continue
        # A container may see its own group at the root, whatever the path says; and any group above may have a limit.
        inner = Path(path.lstrip("/"))
        for group in (inner, *inner.parents):
            left = _left(root / group, limit, usage, cache)
            if left is not None:
                yield left


def _left(group: Path, limit: str, usage: str, cache: str) -> int | None:
    """None where there is no such group or it has no limit."""
    try:
        most = (group / limit).read_text(encoding="utf-8").strip()
        used = int((group / usage).read_text(encoding="utf-8"))
        figures = dict(line.split() for line in (group / "memory.stat").read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError):
        return None
    return None if most == "max" else int(most) - used + int(figures.get(cache, 0))
