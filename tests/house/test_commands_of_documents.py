"""What the documents tell a reader to type is there to be typed. tests/e2e/test_documents.py types it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import documents
import pytest

from pipelines.cli import cli

ROOT = Path(__file__).resolve().parents[2]


PAGES = [pytest.param(page, id=page.relative_to(ROOT).as_posix()) for page in documents.PAGES]
BLOCKS = [pytest.param(block, id=str(block)) for page in documents.PAGES for block in documents.blocks(page)]
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES)
def test_what_is_typed_stands_at_a_prompt(page: Path) -> None:
    """Blocks of commands are `console` blocks, so that the tests of the documents see them."""
    assert documents.unprompted(page) == []


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_that_is_not_run_says_why(block: documents.Block) -> None:
    """It needs or takes something, or a file that is there runs it."""
    assert block.commands
    assert re.fullmatch(r"((needs|takes) .+)?", block.why_not)
    assert (ROOT / block.run_by).exists()


@pytest.mark.parametrize("block", BLOCKS)
def test_a_target_of_make_is_in_the_makefile(block: documents.Block) -> None:
    """Every word after `make` that is no variable."""
    for command in block.commands:
        if command.startswith("make "):
            asked = {word for word in shlex.split(command)[1:] if "=" not in word}
            assert asked <= TARGETS


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_is_mentioned_exists(page: Path) -> None:
    """Its name, the name of its part, and each of its options, in code marks and in blocks."""
    assert [wrong for command in documents.mentioned(page) if (wrong := _unknown(command))] == []


def _unknown(text: str) -> str | None:
    """What of a command line is not there; options that are listed as `a|b` count each."""
    words = re.split(r"[\s;)]+", text.split("inception ", 1)[1])
    command: click.Command = cli
    context = click.Context(cli)
    for word in words:
        names = word.split("|")
        if isinstance(command, click.Group) and re.fullmatch(r"[a-z][a-z-]*(\|[a-z-]+)*", word):
            found = [command.get_command(context, name) for name in names]
            if None in found:
                return None if command.callback and command is not cli and command.invoke_without_command else text
            command = found[0] or command
        elif word.startswith("--"):
            known = {option for parameter in [*command.params, *cli.params] for option in parameter.opts}
            known |= {option for parameter in command.params for option in parameter.secondary_opts} | {"--help"}
            if not set(re.sub(r"=.*", "", word).rstrip(",.:`").split("|")) <= known:
                return f"{text}: {word}"
    return None
