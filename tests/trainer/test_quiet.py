"""Keeping back what native libraries print.

In processes of their own: pytest's own capturing would stand between the block and the file descriptors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

NOISE = """
import os, subprocess, sys
from trainer.quiet import hushed
def noise(word):
    print(f"{word} print")
    print(f"{word} complaint", file=sys.stderr)
    os.write(1, f"{word} native out\\n".encode())
    os.write(2, f"{word} native err\\n".encode())
    subprocess.run(["sh", "-c", f"echo {word} child; echo {word} child err >&2"])
print("before")
"""
HUSHED = """
with hushed():
    noise("hidden")
print("after")
print("complaint after", file=sys.stderr)
"""
FAILED = """
try:
    with hushed():
        noise("kept")
        raise {error}
except BaseException as error:
    print("after", type(error).__name__)
"""


def test_a_hushed_block_says_nothing(run_python: Callable[..., Any]) -> None:
    """Neither Python, nor native code, nor a child; before and after, everything is said where it belongs."""
    done = run_python(NOISE + HUSHED)
    assert done.stdout == "before\nafter\n"
    assert done.stderr == "complaint after\n"


@pytest.mark.parametrize("error", ["ValueError('x')", "SystemExit(3)", "KeyboardInterrupt"])
def test_a_hushed_block_that_fails_says_everything(error: str, run_python: Callable[..., Any]) -> None:
    """On standard error, so that standard output stays one answer; and the failure goes on."""
    done = run_python(NOISE + FAILED.format(error=error))
    assert done.stdout == f"before\nafter {error.split('(')[0]}\n"
    said = ["print", "complaint", "native out", "native err", "child", "child err"]
    assert sorted(done.stderr.splitlines()) == sorted(f"kept {word}" for word in said)


@pytest.mark.parametrize(("debug", "lines"), [("", 0), ("1", 6)])
def test_an_error_in_words_stands_alone(debug: str, lines: int, run_python: Callable[..., Any]) -> None:
    """A user's mistake is told without what TensorFlow had to say meanwhile, unless that is asked for."""
    code = "from trainer.errors import DataError\n" + NOISE + FAILED.format(error="DataError('x')")
    done = run_python(code, INCEPTION_DEBUG=debug)
    assert done.stdout == "before\nafter DataError\n"
    assert len(done.stderr.splitlines()) == lines


def test_blocks_leave_no_descriptor_behind(run_python: Callable[..., Any]) -> None:
    """A thousand predictions do not run out of files; a block inside another works."""
    code = NOISE + (
        "def count(): return len(os.listdir('/proc/self/fd'))\n"
        "start = count()\n"
        "for _ in range(1000):\n"
        "    with hushed():\n"
        "        with hushed(): os.write(1, b'hidden')\n"
        "        os.write(1, b'hidden')\n"
        "print(count() - start)\n"
    )
    assert run_python(code).stdout == "before\n0\n"
