"""Documents say what is there."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from functools import cache
from pathlib import Path
from types import ModuleType

import click
import pytest

from pipelines.cli import COMMANDS, cli

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    path
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").rglob("*.md")]
    if path.is_file()
)
RECIPES = sorted(path for path in (ROOT / "configs").glob("*.toml") if path.name != "schedules.toml")
TOP = {path.name for path in ROOT.iterdir()}
PATH = re.compile(r"(?<![\w/.-])((?:[\w.-]+/)+[\w.-]*\w|[\w-]+\.(?:md|toml|py))(?![\w/])")


@cache
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["commands.md", "environments.md", "recipe.md", "steps.md", "variants.md"])
def test_generated_pages_are_what_the_code_says(name: str) -> None:
    """`make docs` was run after the last change."""
    assert (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8") == generator().page(name)


@pytest.mark.parametrize("name", ["environments.md", "recipe.md"])
def test_every_key_has_a_meaning(name: str) -> None:
    """No row of the reference has an empty last column."""
    page = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
    assert [line for line in page.splitlines() if re.fullmatch(r"\| `\w+` \|.*\|\s*\|", line)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_path_a_document_names_exists(document: Path) -> None:
    """A path in code marks or in a link, if it begins in this repository, is there."""
    text = document.read_text(encoding="utf-8")
    named = {match for span in re.findall(r"`([^`\n]+)`|\]\(([^)#\s]+)\)", text) for part in span if part
             for match in PATH.findall(part)}  # fmt: skip
    ours = {name for name in named if name.split("/")[0] in TOP and not name.startswith(".inception")}
    missing = {name for name in ours if not (ROOT / name).exists() and not (document.parent / name).exists()}
    assert missing == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_an_example(name: str) -> None:
    """Its help explains it, shows how it is called, and explains every option; and so do the commands below it."""
    commands = [(name, cli.get_command(click.Context(cli), name))]
    for path, command in commands:
        assert command is not None
        assert command.help is not None
        assert f"inception {path}" in command.help
        assert [
            option.name
            for option in command.params
            if isinstance(option, click.Option) and not (option.help or option.hidden)
        ] == []
        if isinstance(command, click.Group):
            context = click.Context(command)
            commands += [(f"{path} {part}", command.get_command(context, part)) for part in command.commands]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_a_recipe_begins_with_its_command(recipe: Path) -> None:
    """The first comment is the command that runs it."""
    first = recipe.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith(f"# inception run configs/{recipe.name}")


def test_nothing_names_a_machine_or_an_index() -> None:
    """No file under version control points to the test data, to a package index or into somebody's file system."""
    forbidden = re.compile(r"--(extra-)?index-url|https?://[^\s]*/simple\b|/(root|home)/\w")
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    named = [ROOT / name for name in files.split("\0") if name]
    texts = {p: p.read_text(encoding="utf-8", errors="ignore") for p in named if p.is_file() and p != Path(__file__)}
    assert [str(path) for path, text in texts.items() if forbidden.search(text)] == []
    product = {p: t for p, t in texts.items() if p.parts[len(ROOT.parts)] not in {"tests", "benchmarks"}}
    assert [str(path) for path, text in product.items() if "../shared" in text] == []
