"""What a process can still take: the machine's memory, or what is left of its container's."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from trainer.training.free_memory import free_memory

MB = 10**6


def tree(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text + "\n")
    return folder


V2 = {"memory.max": f"{600 * MB}", "memory.current": f"{500 * MB}", "memory.stat": f"anon 5\ninactive_file {100 * MB}"}
V1 = {
    "memory.limit_in_bytes": f"{300 * MB}",
    "memory.usage_in_bytes": f"{100 * MB}",
    "memory.stat": f"inactive_file 7\ntotal_inactive_file {50 * MB}",
}
ENDLESS = {**V1, "memory.limit_in_bytes": str(2**63 - 4096)}


def at(folder: str, files: dict[str, str]) -> dict[str, str]:
    return {f"{folder}{name}": text for name, text in files.items()}


@pytest.mark.parametrize(
    ("lines", "files", "left"),
    [
        ("0::/", at("", V2), 200),
        ("0::/pod/container", at("", V2), 200),
        ("0::/pod/container", at("pod/container/", V2), 200),
        ("0::/pod/container", at("pod/", V2) | at("pod/container/", V2 | {"memory.max": "max"}), 200),
        ("4:memory:/docker/1\n0::/", at("memory/", V1), 250),
        ("7:cpu,memory:/a", at("memory/a/", V1) | at("memory/", ENDLESS), 250),
        ("4:memory:/a\n0::/b", at("memory/a/", V1) | at("b/", V2), 200),
        ("0::/", at("", V2 | {"memory.current": f"{900 * MB}"}), 0),
    ],
)
def test_a_limit_leaves_what_is_not_taken(lines: str, files: dict[str, str], left: int, tmp_path: Path) -> None:
    """The narrowest group counts, of either version, seen from inside a container or not; a file cache is not taken."""
    proc = tree(tmp_path / "proc", {"self/cgroup": lines})
    assert free_memory(proc, tree(tmp_path / "cgroup", files)) == left * MB


@pytest.mark.parametrize(
    ("lines", "files"),
    [
        ("", {}),
        ("0::/", at("", V2 | {"memory.max": "max"})),
        ("4:memory:/a", at("memory/", ENDLESS)),
        ("0::/", {"memory.max": "?"}),
        ("3:cpuset:/", at("memory/", V1)),
    ],
)
def test_without_a_limit_it_is_what_the_machine_has_left(lines: str, files: dict[str, str], tmp_path: Path) -> None:
    """Also where nothing can be made of what the system says."""
    proc = tree(tmp_path / "proc", {"self/cgroup": lines} if lines else {})
    assert free_memory(proc, tree(tmp_path / "cgroup", files)) == pytest.approx(
        psutil.virtual_memory().available, rel=0.1
    )


def test_this_machine_has_some() -> None:
    """With the real files."""
    assert 0 < free_memory() <= psutil.virtual_memory().total
