"""Text from elsewhere as it may be shown on a terminal and kept in a log.

File names, class names and messages of servers may hold characters that do something: move the cursor, colour or clear
a terminal, end a line so that the next one looks like ours (log injection, CWE-117), or turn the direction of what
follows (CVE-2021-42574). They are shown as Python would write them: `\\x1b`.
"""

from __future__ import annotations

import re

_ACTING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 and C1, the tab and the end of a line aside
    "\u2028\u2029"  # ends of lines and paragraphs
    "\u202a-\u202e\u2066-\u2069"  # direction
    "\ud800-\udfff]"  # bytes of a file's name that are no UTF-8
)
_ENDING = re.compile("[\t\n]")


def legible(text: str) -> str:
    """Words of several lines, every character of which only shows itself."""
    return _ACTING.sub(_escaped, text)


def in_one_line(name: str) -> str:
    """A name, of which nobody can tell that it has a line break or a tab in it."""
    return _ENDING.sub(_escaped, legible(name))


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()
