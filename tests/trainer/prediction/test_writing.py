"""Answers as text."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Iterator

import pytest

from trainer.prediction.answering import Answer, Guess
from trainer.prediction.writing import FORMS, Sheet

ANSWERS = [
    Answer('a "b", ü.png', [Guess("cat", 0.75), Guess("dog, small", 0.25)]),
    Answer("broken\n.png", error="cannot be classified: the file is empty"),
]
SHEET = Sheet("animals", "3", columns=2, widest=13)


def written(form: str) -> str:
    return "".join(FORMS[form](SHEET, ANSWERS))


def test_csv_is_one_row_for_each_image() -> None:
    """The likeliest class first, errors in a column of their own; quotes, commas and line ends survive."""
    assert list(csv.reader(io.StringIO(written("csv"), newline=""))) == [
        ["image", "class", "probability", "class_2", "probability_2", "error"],
        ['a "b", ü.png', "cat", "0.750000", "dog, small", "0.250000", ""],
        ["broken\n.png", "", "", "", "", "cannot be classified: the file is empty"],
    ]


def test_json_is_one_object() -> None:
    """Written piece by piece, it is what `json.dumps` makes of the whole."""
    whole = {"model": "animals", "version": "3", "images": [answer.as_json() for answer in ANSWERS]}
    assert written("json") == json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def test_json_lines_are_the_images_of_it() -> None:
    """One object a line."""
    assert [json.loads(line) for line in written("jsonl").splitlines()] == [answer.as_json() for answer in ANSWERS]


def test_a_table_has_one_line_for_each_image() -> None:
    """Also where a name has a line end in it."""
    assert written("table").splitlines() == [
        'a "b", ü.png   cat 0.7500  dog, small 0.2500',
        "broken\N{REPLACEMENT CHARACTER}.png    error: cannot be classified: the file is empty",
    ]


@pytest.mark.parametrize(("form", "heading"), [("table", 0), ("jsonl", 0), ("csv", 1), ("json", 1)])
def test_answers_are_written_as_they_come(form: str, heading: int) -> None:
    """None waits for the next one."""

    def coming() -> Iterator[Answer]:
        yield ANSWERS[0]
        pytest.fail("asked too early")

    pieces = list(itertools.islice(FORMS[form](SHEET, coming()), heading + 1))
    assert "ü.png" in pieces[-1]
