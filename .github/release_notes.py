"""The changelog's part of one version, for its release; refused where tag, package and changelog disagree.

    python .github/release_notes.py 0.1.0

It needs nothing but Python.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def notes(version: str, changelog: str, packaged: str) -> str:
    """What CHANGELOG.md says of a version.

    Args:
        version: the one that is released, without a `v`.
        changelog: the whole file: a heading `## VERSION (date)` for every version.
        packaged: the version that pyproject.toml names.

    Errors: ValueError, with a sentence for whoever releases.
    """
    if version != packaged:
        raise ValueError(f"The release is {version!r}, and pyproject.toml says {packaged!r}. Make them the same.")
    parts = re.split(r"(?m)^## (\S+)(?: \((.*)\))?\n", changelog)
    found = {
        name: (when or "", text.strip()) for name, when, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True)
    }
    if version not in found:
        raise ValueError(f"CHANGELOG.md has no part `## {version} (YYYY-MM-DD)`. Write what a user notices.")
    when, text = found[version]
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", when):
        raise ValueError(f"CHANGELOG.md dates {version} as {when!r}. Write the day of the release: YYYY-MM-DD.")
    if not text:
        raise ValueError(f"CHANGELOG.md says nothing of {version}. Write what a user notices.")
    return text


if __name__ == "__main__":
    try:
        print(
            notes(
                sys.argv[1] if len(sys.argv) > 1 else "",
                (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
                tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"],
            )
        )
    except ValueError as error:
        sys.exit(str(error))
