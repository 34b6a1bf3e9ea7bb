"""The documentation's site: `make site` writes it to dist/site, and fails on a warning."""

from __future__ import annotations

import tomllib
from pathlib import Path

_PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = "inception"
author = "the authors of inception"
version = release = _PROJECT["version"]
language = "en"

extensions = ["myst_parser", "sphinx_copybutton"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
nitpicky = True

myst_heading_anchors = 3  # so that a page can link to another's heading
myst_enable_extensions = ["attrs_inline", "colon_fence"]

html_theme = "furo"
html_title = f"inception {version}"
html_static_path = ["pictures"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False

# Copying a block of commands leaves the prompts and what was printed out.
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True
