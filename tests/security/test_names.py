"""Names that do something: file names, class names and messages of others, on terminals, in logs and spreadsheets."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from pipelines import cli
from trainer import events
from trainer.config import Data
from trainer.data.acceptance import REJECTED_FILE
from trainer.data.sources import open_source
from trainer.errors import DataError, InceptionError
from trainer.legible import in_one_line, legible
from trainer.prediction.answering import Answer, Guess
from trainer.prediction.writing import FORMS, Sheet
from trainer.state import State

ACTING = {
    "clears the screen": "\x1b[2J",
    "sets the title": "\x1b]0;x\x07",
    "one byte of the same": "\x9b2J",
    "goes back over the line": "ok\r",
    "rubs out": "ab\x08\x08",
    "turns the direction": "gpj.\u202eexe",
    "isolates it": "\u2066x",
    "ends a line": "\u2028",
    "no character": "\udcff",
}


@pytest.mark.parametrize("text", ACTING.values(), ids=ACTING)
def test_what_acts_on_a_terminal_is_shown(text: str, capfd: pytest.CaptureFixture[str]) -> None:
    """In errors, in the log of a step and in its events; as Python would write it."""
    error = InceptionError(f"{text} is wrong", f"mend {text}")
    cli._say(error.message, error.remedy, as_json=False)
    events.note(f"looked at {text}")
    said = capfd.readouterr()
    for shown in (str(error), said.out, said.err.replace("\x1b[31m", "").replace("\x1b[1m", "").replace("\x1b[0m", "")):
        assert not set(shown) & set("\x1b\x07\x9b\r\x08\u202e\u2066\u2028\udcff")
    assert text.encode("unicode_escape").decode() in said.out


def test_letters_of_all_tongues_stay_as_they_are() -> None:
    """With joiners, marks and spaces of their own."""
    words = "ärger 猫 نص 👩\u200d🔬 a\u00a0b\tc\nd"
    assert legible(words) == words
    assert in_one_line(words) == words.replace("\t", "\\t").replace("\n", "\\n")


def test_a_file_name_forges_no_line(tmp_path: Path, state: State, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither in the message, nor in the list of what was left out, nor as the name of a class."""
    from trainer.prepare import prepare

    for name in ("cat", "dog\npromote done in 0.1 s"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(2):
            (tmp_path / "images" / name / f"{number}\n\x1b[2Jtrain failed.png").write_text("no image")
    data = Data(source=f"folder:{tmp_path / 'images'}")
    source = open_source(data, state)
    assert source.classes() == ["cat", "dog\\npromote done in 0.1 s"]
    with pytest.raises(DataError) as error:
        prepare(data, source.fingerprint().digest, state)
    assert not any(line.startswith(("train failed", "promote done")) for line in str(error.value).splitlines())
    [listing] = state.root.rglob(REJECTED_FILE)
    assert len(listing.read_text().splitlines()) == 4
    assert "\x1b" not in str(error.value) + listing.read_text() + capfd.readouterr().out


FORMULAS = ("x\r=1+1", "=cmd|'/c calc'!A0", "@SUM(A1:A9)", "+1+cmd", "-2+3+cmd", "\t=1+1", "\r=1+1")
HARMLESS = ("cat", "=", "+", "-", "@", "-1", "+1.5", "a=b", "gs://b/x.png")


@pytest.mark.parametrize("name", FORMULAS)
def test_no_cell_is_a_formula(name: str) -> None:
    """Of pictures' names and of classes'; JSON has both as they are."""
    answer = Answer(name, [Guess(name, 0.5)])
    [_, row] = csv.reader(io.StringIO("".join(FORMS["csv"](Sheet("m", "1", 1, 9), [answer])), newline=""))
    assert row[:2] == ([f"'{name}"] * 2 if name[0] != "x" else [name] * 2)
    [line] = FORMS["jsonl"](Sheet("m", "1", 1, 9), [answer])
    assert json.loads(line)["image"] == name


@pytest.mark.parametrize("name", HARMLESS)
def test_a_cell_that_is_none_stays_as_it_is(name: str) -> None:
    """A sign is a class of handwritten sums, and a number is a number."""
    [_, row] = csv.reader(io.StringIO("".join(FORMS["csv"](Sheet("m", "1", 1, 9), [Answer(name)])), newline=""))
    assert row[0] == name


def test_a_pipe_called_like_a_picture_holds_nobody_up(tmp_path: Path) -> None:
    """Nor does a device: it is told that they are no files."""
    from trainer.prediction.reading import read

    os.mkfifo(tmp_path / "pipe.png")
    Image.new("RGB", (9, 9)).save(tmp_path / "real.png")
    pipe, device, real = read([str(tmp_path / "pipe.png"), "/dev/zero", str(tmp_path / "real.png")])
    assert pipe.problem == device.problem == "cannot be classified: not a file"
    assert real.pixels is not None


def test_what_is_written_is_for_whom_the_umask_lets(tmp_path: Path) -> None:
    """An operator who keeps others out of the state folder keeps them out of every file."""
    program = (
        "import os, sys\nos.umask(0o077)\n"
        "from pathlib import Path\nfrom trainer.state import write_atomically\n"
        "from trainer.storage.local import Folder\n"
        "write_atomically(Path(sys.argv[1], 'a'), 'x')\nFolder(Path(sys.argv[1])).write('b/c', b'x')\n"
        "with Folder(Path(sys.argv[1])).writing('d') as path: path.write_text('x')\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, cwd=Path(__file__).parents[2])
    for name in ("a", "b/c", "d"):
        assert (tmp_path / name).stat().st_mode & 0o077 == 0, name
