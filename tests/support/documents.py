"""What the documents tell a reader to type."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\S*)\s*$")
MARK = re.compile(r"^<!-- (not run here: (?P<why>.+)|run by (?P<by>\S+)|(?P<endless>runs until it is stopped)) -->$")
WORD = re.compile(r"^(PROMOTED|SKIPPED|KEPT|UNDECIDED|FAILED)\b")


@dataclass
class Block:
    """Commands of one fenced block, with what the page says that they print."""

    page: Path
    line: int
    why_not: str = ""
    """Why it is not run by the tests of the documents."""
    run_by: str = ""
    """The file that runs it."""
    endless: bool = False
    commands: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    """How runs end, in order, where the page shows it."""

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """All blocks of a page in which something is typed at a prompt."""
    block: Block | None = None
    fenced = False
    mark: re.Match[str] | None = None
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fence = FENCE.match(line)
        if fence and not fenced:
            fenced = True
            block = Block(page, number) if fence[1] == "console" else None
            if block and mark:
                block.why_not, block.run_by = mark["why"] or "", mark["by"] or ""
                block.endless = bool(mark["endless"])
        elif fence:
            fenced, mark = False, None
            if block:
                yield block
            block = None
        elif block and line.startswith("$ "):
            block.commands.append(line[2:].split("   #")[0].strip())
        elif block and block.commands and block.commands[-1].endswith("\\"):
            block.commands[-1] = block.commands[-1][:-1].rstrip() + " " + line.strip()
        elif block and (word := WORD.match(line)):
            block.words.append(word[1])
        elif not fenced:
            mark = MARK.match(line) or (mark if not line.strip() else None)


def unprompted(page: Path) -> list[int]:
    """Lines at which a block of shell begins that is not a console's, so that nobody would see what is typed."""
    lines = page.read_text(encoding="utf-8").splitlines()
    return [number for number, line in enumerate(lines, 1) if re.match(r"^```(sh|bash|shell|zsh)\b", line)]


def mentioned(page: Path) -> list[str]:
    """Every `inception …` in code marks, in blocks too."""
    text = page.read_text(encoding="utf-8")
    spans = re.findall(r"`((?:[\w./]*/)?inception [^`]+)`", text)
    typed = [line.split("   #")[0] for line in re.findall(r"^(?:\$ )?((?:[\w./]*/)?inception .+)$", text, re.MULTILINE)]
    return [" ".join(command.split()) for command in spans + typed]
