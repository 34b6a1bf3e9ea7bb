"""Which state of the code, and which image, is at work here; what a registered version is traced back by."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

COMMIT_VARIABLE = "INCEPTION_GIT_COMMIT"
"""Baked into an image, which holds no checkout."""
IMAGE_VARIABLE = "INCEPTION_IMAGE"
"""The image of the step, by digest."""
GIT_COMMIT, IMAGE_DIGEST, KFP_RUN_ID = "git_commit", "image_digest", "kfp_run_id"
DIRTY = "-dirty"
_GIT_SECONDS = 10


def here() -> dict[str, str]:
    """`git_commit` and `image_digest` of this process, as far as they are known."""
    found = {GIT_COMMIT: os.environ.get(COMMIT_VARIABLE) or commit(), IMAGE_DIGEST: os.environ.get(IMAGE_VARIABLE)}
    return {key: value for key, value in found.items() if value}


def commit(checkout: Path = Path(__file__).parents[1]) -> str | None:
    """The commit of the project's own checkout, with `-dirty` where a file of it was changed.

    None where it is installed without one: the checkout of somebody else that it may lie in says nothing of it.
    """
    if not (checkout / ".git").exists():
        return None
    head = _git(checkout, "rev-parse", "HEAD")
    changed = _git(checkout, "status", "--porcelain", "--untracked-files=no")
    return head and head + (DIRTY if changed else "")


def _git(checkout: Path, *words: str) -> str | None:
    # Without the lock that `git status` takes to write its index anew: others may be at work in the checkout.
    command = ["git", "--no-optional-locks", "-C", str(checkout), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
