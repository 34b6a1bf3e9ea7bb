"""`inception predict` and `inception export`, as they are typed."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipelines import cli
from trainer.state import State

Say = Any


@pytest.fixture
def say(colours: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Say:
    """A function from words to exit status, standard output and standard error; in a folder with pictures."""
    for name, colour in (("red.png", (255, 0, 0)), ("ein ordner/grün.png", (0, 255, 0))):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (9, 9), colour).save(tmp_path / name)
    (tmp_path / "ein ordner" / "broken.png").write_text("no")
    (tmp_path / "ein ordner" / "notes.txt").touch()
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main([*words, "--state", str(colours.root)])
        said = capfd.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def test_answers_are_a_table(say: Say) -> None:
    """One line for each image."""
    status, out, _ = say("predict", "colours", "red.png", "ein ordner/grün.png", "--top", "1")
    assert (status, out) == (0, "red.png              cat 0.9999\nein ordner/grün.png  dog 0.9999\n")


def test_what_cannot_be_classified_among_others_is_told_at_the_end(say: Say) -> None:
    """The others are classified, and the exit status says that some are not."""
    status, out, err = say("predict", "colours@champion", "ein ordner", "--format", "jsonl")
    broken, green = (json.loads(line) for line in out.splitlines())
    assert status == 1
    assert green["classes"][0]["class"] == "dog"
    assert broken["error"] == "cannot be classified: not an image of a known format"
    assert "passed over, not called like a picture: 1" in err
    assert "error: ein ordner/broken.png cannot be classified" in err


@pytest.mark.parametrize("words", [["--json"], ["--format", "json"]])
def test_json_is_one_object(words: list[str], say: Say) -> None:
    """With the model that answered."""
    status, out, _ = say("predict", "colours", "*.png", *words)
    answer = json.loads(out)
    assert status == 0
    assert (answer["model"], answer["version"]) == ("colours", "1")
    assert [image["image"] for image in answer["images"]] == ["red.png"]


def test_a_spreadsheet_reads_the_csv(say: Say, tmp_path: Path) -> None:
    """Its form is known by the file's name, its encoding by the mark at its beginning; a second one replaces it."""
    (tmp_path / "answers.csv").write_text("old")
    status, out, err = say("predict", "colours", "ein ordner/gr*.png", "--output", "answers.csv")
    assert (status, out) == (0, "")
    assert "1 of 1 image classified in answers.csv" in err
    content = (tmp_path / "answers.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbfimage,class,")
    [row] = csv.DictReader(content.decode("utf-8-sig").splitlines())
    assert (row["image"], row["class"], row["class_3"]) == ("ein ordner/grün.png", "dog", "cow")
    assert not list(tmp_path.glob(".answers*"))


@pytest.mark.parametrize("name", ["out/a.jsonl", "a.jsonl"])
def test_answers_can_go_to_a_bucket(name: str, say: Say, storage: Any) -> None:
    """As whole objects, in a folder of it or in none."""
    assert say("predict", "colours", "red.png", "--output", f"gs://b/{name}")[0] == 0
    assert storage.names() == [name]
    assert json.loads(storage.objects["b", name].content)["image"] == "red.png"


def test_many_images_are_counted_on_standard_error(say: Say, tmp_path: Path) -> None:
    """Not on the answers' own way."""
    for number in range(120):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number:03d}.png")
    status, out, err = say("predict", "colours", ".", "--format", "csv", "--batch-size", "50")
    assert status == 1
    assert len(out.splitlines()) == 124
    assert "123 of 123 images, " in err


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["predict", "colours/9", "red.png"], 1, "has no version '9'. Its versions: 1, 2, 3"),
        (["predict", "colours/2", "red.png"], 1, "does not name its classes"),
        (["predict", "colours/3", "red.png"], 1, "cannot be loaded"),
        (["predict", "colour", "red.png"], 1, "Did you mean 'colours'?"),
        (["predict", "colours", "none.png"], 1, "There is no file or folder none.png"),
        (["predict", "colours", "ein ordner/broken.png"], 1, "cannot be classified"),
        (["predict", "colours", "red.png", "--format", "xls"], 2, "'xls' is not one of"),
        (["predict", "colours/3", "red.png", "--output", "o.xlsx"], 2, "Let it end in .csv, .json, .jsonl, .txt, or"),
        (["predict", "colours/3", "red.png", "--output", "no/o.csv"], 2, "There is no folder 'no' for 'no/o.csv'"),
        (["predict", "colours/3", "red.png", "--output", "ein ordner/"], 2, "'ein ordner/', which is a folder"),
        (["predict", "colours/3", "red.png", "--output", "/proc/o.csv"], 1, "/proc/o.csv cannot be written: No such"),
        (["export", "colours/3", "--format", "keras", "--output", "no/a.keras"], 2, "There is no folder 'no' for"),
        (["export", "colours/3", "--format", "keras", "--output", "/proc/a.keras"], 1, "/proc/a.keras cannot be"),
        (["export", "colours/9", "--format", "keras", "--output", "a.keras"], 1, "has no version '9'"),
        (["export", "colours/3", "--format", "keras", "--output", "a.keras"], 1, "cannot be loaded"),
        (["export", "colours", "--format", "keras", "--output", "a.onnx"], 2, "--output a.keras"),
        (["export", "colours", "--format", "gguf", "--output", "a"], 2, "'gguf' is not one of"),
    ],
)
def test_a_mistake_is_an_error_in_words(words: list[str], status: int, says: str, say: Say) -> None:
    """No traceback, nothing on standard output."""
    ended, out, err = say(*words)
    assert (ended, out) == (status, "")
    assert says in err
    assert "--state" not in err
    assert "Traceback" not in err


def test_an_export_says_what_it_holds(say: Say, tmp_path: Path) -> None:
    """What it takes and gives, and how near it is; the same as JSON."""
    status, out, _ = say("export", "colours", "--format", "h5+json", "--output", "h5")
    assert status == 0
    assert "h5  colours version 1 as h5+json" in out
    assert "probabilities of 3 classes, named in h5/export.json" in out
    status, out, _ = say("export", "colours", "--format", "keras", "--output", "a.keras", "--json")
    told = json.loads(out)
    assert told["compared"]["difference"] == 0
    assert Path(told["path"]).is_file()
    assert json.loads(Path(told["description"]).read_text()).items() <= told.items()
