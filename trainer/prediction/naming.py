"""The pictures that a user's words name: files, folders, patterns, and all three in a bucket."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.errors import DataError
from trainer.storage.objects import Objects

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
"""What a folder or a pattern takes for pictures; a file that is named itself may be called anything."""
KINDS = "PNG, JPEG, WebP, GIF, BMP, TIFF"
FEW = 20
"""As many files, each named by itself, are an order: one that cannot be classified is an error, and nothing is done.
More of them come from a shell's pattern, where the others are wanted all the same."""
_MAGIC = re.compile(r"[*?[]")


@dataclass(frozen=True)
class Pictures:
    """What was named, in the order of the words; within a folder or pattern by name."""

    addresses: Sequence[str]
    """Paths, and addresses in object stores."""
    ordered: bool
    """Whether one that cannot be classified stops all (see FEW)."""
    passed_over: int = 0
    """Files in folders or behind patterns that are no pictures by their names."""


def find(words: Sequence[str]) -> Pictures:
    """The pictures behind words.

    Args:
        words: files; folders, with all folders below; patterns with `*`, `?`, `[…]` and `**`; and the same as
            `gs://bucket/…` or in another object store, where a prefix stands for a folder.

    Errors: DataError (nothing there, nothing in it, no access).
    """
    addresses: list[str] = []
    single, passed_over = 0, 0
    objects = Objects()
    for word in words:
        found = _in_bucket(word, objects) if "://" in word else _on_disk(word)
        if isinstance(found, str):
            addresses.append(found)
            single += 1
            continue
        files = list(found)
        pictures = sorted(file for file in files if file.lower().endswith(SUFFIXES))
        if not pictures:
            raise _nothing(word, len(files))
        addresses += pictures
        passed_over += len(files) - len(pictures)
    return Pictures(addresses, single == len(words) <= FEW, passed_over)


def _on_disk(word: str) -> str | Iterable[str]:
    """The file itself, or the files of a folder or a pattern."""
    path = os.path.expanduser(word)  # noqa: PTH111 - a word keeps the form in which it was given
    if Path(path).is_dir():
        return _below(path)
    if _MAGIC.search(path) and not os.path.lexists(path):
        matches = glob.iglob(path, recursive=True)  # noqa: PTH207 - a Path has no pattern that begins at the root
        return (match for match in matches if not Path(match).is_dir())
    if not os.path.lexists(path):
        raise DataError(f"There is no file or folder {word}.", _around(Path(path)))
    return path


def _below(folder: str) -> Iterator[str]:
    """Files in a folder and in all below it, those whose names begin with a dot aside. Errors: DataError."""

    def refuse(error: OSError) -> None:
        raise DataError(
            f"The folder {error.filename} cannot be read: {error.strerror}.", "Give read permission to it."
        ) from error

    for at, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (os.path.join(at, name) for name in files if not name.startswith("."))  # noqa: PTH118


def _in_bucket(word: str, objects: Objects) -> str | Iterable[str]:
    """The object itself, or the objects under a prefix or behind a pattern."""
    objects.expect(word)
    magic = _MAGIC.search(word)
    if magic and not objects.is_there(word):
        try:
            matches = re.compile(_as_expression(word)).fullmatch
        except re.error as error:
            raise DataError(f"Received the pattern {word!r}: {error.msg}.", "Mend what is in its brackets.") from None
        return (address for address in objects.are_under(word[: magic.start()]) if matches(address))
    scheme, _, rest = word.partition("://")
    bucket, _, name = rest.partition("/")
    if magic or name.lower().endswith(SUFFIXES) or (name and not name.endswith("/") and objects.is_there(word)):
        return word
    return objects.are_under(f"{scheme}://{bucket}/{name.rstrip('/')}/" if name else f"{scheme}://{bucket}/")


def _as_expression(pattern: str) -> str:
    """A pattern as a regular expression: `*` and `?` stop at a slash, `**/` spans any number of folders."""
    pieces = re.split(r"(\*\*/|\*\*|\*|\?|\[!?[^]]+\])", pattern)
    known = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(
        known.get(piece) or (f"[^{piece[2:]}" if piece.startswith("[!") else piece) if number % 2 else re.escape(piece)
        for number, piece in enumerate(pieces)
    )


def _nothing(word: str, others: int) -> DataError:
    if _MAGIC.search(word):
        what = f"Nothing matches {word!r}" if not others else f"None of the {others:,} files that match {word!r}"
    else:
        what = f"There is nothing in {word}" if not others else f"None of the {others:,} files in {word}"
    return DataError(
        f"{what} is called like a picture." if others else f"{what}.",
        f"Pictures end in {', '.join(SUFFIXES)}; a file that is named by itself may be called anything.",
    )


def _around(path: Path) -> str:
    """Where a path that leads nowhere stops being there."""
    at = path.absolute().parent
    while not at.is_dir():
        at = at.parent
    return f"Mend the path. The folder {at} is there."
