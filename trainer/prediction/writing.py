"""Answers as text, line by line while they come: a table, one JSON object, JSON lines, or CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from trainer.prediction.answering import Answer


@dataclass(frozen=True)
class Sheet:
    """What the answers are about."""

    model: str
    version: str
    columns: int
    """Classes that are named for a picture."""
    widest: int
    """Characters of the longest address."""


Form = Callable[[Sheet, Iterable[Answer]], Iterator[str]]


def _table(sheet: Sheet, answers: Iterable[Answer]) -> Iterator[str]:
    for answer in answers:
        said = [f"{guess.name} {guess.probability:.4f}" for guess in answer.guesses] or [f"error: {answer.error}"]
        yield "  ".join(_in_one_line(word) for word in [answer.image.ljust(sheet.widest), *said]) + "\n"


def _json(sheet: Sheet, answers: Iterable[Answer]) -> Iterator[str]:
    """One object, written as its images come: as `json.dumps(…, indent=2)` would write it."""
    start = json.dumps({"model": sheet.model, "version": sheet.version}, indent=2, ensure_ascii=False)
    yield start.removesuffix("\n}") + ',\n  "images": ['
    comma = ""
    for answer in answers:
        yield f"{comma}\n{_indented(answer.as_json())}"
        comma = ","
    yield "\n  ]\n}\n"


def _json_lines(sheet: Sheet, answers: Iterable[Answer]) -> Iterator[str]:
    for answer in answers:
        yield json.dumps(answer.as_json(), ensure_ascii=False) + "\n"


def _csv(sheet: Sheet, answers: Iterable[Answer]) -> Iterator[str]:
    """One row for each picture: its likeliest class and probability first, then the next ones, then the error."""
    places = ["" if place == 1 else f"_{place}" for place in range(1, sheet.columns + 1)]
    yield _row(["image", *(f"{field}{place}" for place in places for field in ("class", "probability")), "error"])
    for answer in answers:
        cells: list[str] = []
        for guess in answer.guesses:
            cells += [guess.name, f"{guess.probability:.6f}"]
        cells += [""] * (2 * sheet.columns - len(cells))
        yield _row([answer.image, *cells, answer.error or ""])


FORMS: dict[str, Form] = {"table": _table, "json": _json, "csv": _csv, "jsonl": _json_lines}


def _row(cells: list[str]) -> str:
    line = io.StringIO()
    # With both in the end of a line, cells with either are put into quotes.
    csv.writer(line, lineterminator="\r\n").writerow(map(_inert, cells))
    return line.getvalue().removesuffix("\r\n") + "\n"


def _indented(value: Any) -> str:
    return "\n".join(f"    {line}" for line in json.dumps(value, indent=2, ensure_ascii=False).splitlines())


def _inert(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula (CWE-1236): an apostrophe before it says that it is text.

    Names may begin so: `=cmd|…`, `@SUM(…)`, `-2+3`. A sign by itself and a number are what they look like.
    """
    if len(cell) < 2 or cell[0] not in "=+-@\t\r":
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


def _in_one_line(text: str) -> str:
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
