"""What the product's code never does, whoever changes it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("trainer", "components", "pipelines", "infra", "docs")

CALLS = {
    r"(c?[Pp]ickle|cloudpickle|dill|joblib|marshal|shelve)\.\w+": "objects that are executed when they are read",
    r"torch\.load|\w+\.read_pickle": "pickles too",
    r"(builtins\.)?(eval|exec|compile|__import__)": "text as code",
    r"os\.(system|popen|exec[lv]pe?|spawn\w+)": "a shell, or a program that the PATH chooses",
    r"yaml\.(load|load_all|full_load\w*|unsafe_load\w*)": "YAML that makes objects: safe_load",
    r"tempfile\.mktemp|os\.(tempnam|tmpnam)": "a name that somebody else may take first",
    r"(\w+\.)*(extractall|unpack_archive)": "archives that choose where they are written",
    r"(tarfile|zipfile)\.\w*open": "archives",
    r"ssl\._create_unverified_context": "servers that are not who they say",
    r"(\w+\.)*enable_unsafe_deserialization": "Keras' safe mode off",
    r"mlflow\.\w+\.load_model|pyfunc\.load_model": "a module that the model's own files name",
    r"Image\.open": "a decoder for every format, and no bound",
}
"""Calls by the names they are written with, and what they would read or run."""
AT_HOME = {
    ("Image.open", "trainer/data/images.py"),
    ("keras.saving.load_model", "trainer/models/archive.py"),
    ("zipfile.ZipFile", "trainer/models/archive.py"),
}
"""What has one place, and is called nowhere else."""
KEYWORDS = {"shell": True, "allow_pickle": True, "safe_mode": False, "verify": False, "weights_only": False}


@cache
def calls() -> tuple[tuple[str, str, ast.Call], ...]:
    """(name as it is written, file, call) of every call in the product."""
    found = []
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            where = path.relative_to(ROOT).as_posix()
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    found.append((ast.unparse(node.func), where, node))
    return tuple(found)


def named(pattern: str) -> Iterator[str]:
    for name, where, node in calls():
        if re.fullmatch(pattern, name) and (name, where) not in AT_HOME:
            yield f"{where}:{node.lineno} {name}"


@pytest.mark.parametrize("pattern", CALLS, ids=CALLS.values())
def test_the_product_reads_no(pattern: str) -> None:
    """The one place where such a thing may be done is named above."""
    assert list(named(pattern)) == []


@pytest.mark.parametrize(("name", "where"), sorted(AT_HOME))
def test_what_opens_files_of_others_has_one_place(name: str, where: str) -> None:
    """Models come out of a file by trainer/models/archive.py, pictures by trainer/data/images.py."""
    assert {place for called, place, _ in calls() if called == name} == {where}


@pytest.mark.parametrize(("keyword", "value"), KEYWORDS.items())
def test_no_guard_is_switched_off(keyword: str, value: bool) -> None:
    """Not a shell's, not NumPy's, Keras', PyTorch's, nor that of certificates."""
    off = [
        f"{where}:{node.lineno} {name}"
        for name, where, node in calls()
        for given in node.keywords
        if given.arg == keyword and isinstance(given.value, ast.Constant) and given.value.value is value
    ]
    assert off == []


def test_numpy_files_are_opened_without_pickle_in_so_many_words() -> None:
    """Its default has changed once."""
    opened = [(where, node) for name, where, node in calls() if name == "np.load"]
    assert opened
    for where, node in opened:
        assert [one.value.value for one in node.keywords if one.arg == "allow_pickle"] == [False], where  # type: ignore[attr-defined]


def test_no_program_is_started_by_one_string() -> None:
    """subprocess gets a list of words: nothing of a name is read by a shell."""
    for name, where, node in calls():
        if name.startswith("subprocess.") and name.rpartition(".")[2] in ("run", "Popen", "check_output", "check_call"):
            assert not isinstance(node.args[0], ast.Constant | ast.JoinedStr), f"{where}:{node.lineno}"


def test_no_template_lets_text_through_unescaped() -> None:
    """Class names, file names and messages are in them."""
    for path in sorted((ROOT / "trainer").rglob("*.html")):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\|\s*safe\b|autoescape\s+false|<script", text), path
