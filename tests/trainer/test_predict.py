"""Prediction with nothing but the registered model."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from trainer.errors import DataError, EvaluationError
from trainer.predict import predict
from trainer.prediction.answering import Answer
from trainer.prediction.naming import Pictures, find
from trainer.state import State

CLASSES = ["cat", "dog", "cow"]
"""As the model `colours` calls red, green and blue."""
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def picture(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (20, 30)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def told(state: State, *images: Path | str, top: int = 3, batch_size: int = 32) -> list[Answer]:
    return list(predict(state, "colours", "1", find([str(path) for path in images]), top, batch_size).answers)


def test_every_image_gets_its_likeliest_classes(colours: State, tmp_path: Path) -> None:
    """In the order given, likeliest class first; any size, any common format."""
    images = [
        picture(tmp_path / "red.png", RED),
        picture(tmp_path / "green.jpg", GREEN, (300, 8)),
        picture(tmp_path / "blue.webp", BLUE, (9, 8)),
    ]
    answers = told(colours, *images)
    assert [answer.image for answer in answers] == [str(path) for path in images]
    assert [answer.guesses[0].name for answer in answers] == CLASSES
    for answer in answers:
        probabilities = [guess.probability for guess in answer.guesses]
        assert probabilities == sorted(probabilities, reverse=True)
        assert sum(probabilities) == pytest.approx(1, abs=1e-5)
        assert probabilities[0] > 0.99


@pytest.mark.parametrize(("top", "named"), [(1, 1), (2, 2), (3, 3), (10, 3)])
def test_no_more_classes_are_named_than_asked_for(top: int, named: int, colours: State, tmp_path: Path) -> None:
    """Nor more than there are."""
    [answer] = told(colours, picture(tmp_path / "red.png", (255, 100, 0)), top=top)
    assert [guess.name for guess in answer.guesses] == CLASSES[:2][:named] + (["cow"] if named == 3 else [])


def test_grey_and_transparent_images_are_read_as_colours(colours: State, tmp_path: Path) -> None:
    """As they were when the model was trained."""
    Image.new("L", (9, 9), 200).save(tmp_path / "grey.png")
    Image.new("RGBA", (9, 9), (255, 0, 0, 255)).save(tmp_path / "clear.png")
    grey, clear = told(colours, tmp_path / "grey.png", tmp_path / "clear.png")
    assert [guess.probability for guess in grey.guesses] == pytest.approx([1 / 3] * 3, abs=1e-5)
    assert clear.guesses[0].name == "cat"


@pytest.mark.parametrize("batch_size", [1, 4, 1000])
def test_many_images_of_many_sizes_keep_their_order(batch_size: int, colours: State, tmp_path: Path) -> None:
    """However they were put into batches, and whatever could not be read among them."""
    colour = [RED, GREEN, BLUE]
    for number in range(40):
        picture(tmp_path / "ein ordner" / f"übung {number:02d}.png", colour[number % 3], (8 + number % 4, 9))
    (tmp_path / "ein ordner" / "übung 07.png").write_bytes(b"This is no image.")
    (tmp_path / "ein ordner" / "notes.txt").touch()
    answers = told(colours, tmp_path, batch_size=batch_size)
    assert [Path(answer.image).name for answer in answers] == [f"übung {number:02d}.png" for number in range(40)]
    for number, answer in enumerate(answers):
        if number == 7:
            assert answer.as_json() == {
                "image": answer.image,
                "classes": [],
                "error": "cannot be classified: not an image of a known format",
            }
        else:
            assert answer.guesses[0].name == CLASSES[number % 3]
            assert answer.error is None


def test_images_may_lie_in_a_bucket(colours: State, storage: Any, tmp_path: Path) -> None:
    """Named as they are told."""
    storage.put("scans/red.png", picture(tmp_path / "red.png", RED).read_bytes())
    storage.put("scans/broken.png", b"no")
    broken, red = told(colours, "gs://b/scans/")
    assert (red.image, red.guesses[0].name) == ("gs://b/scans/red.png", "cat")
    assert broken.error == "cannot be classified: not an image of a known format"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("text.png", b"This is no image.", "cannot be classified"),
        ("empty.png", b"", "cannot be classified"),
        ("torn.png", "torn", "cannot be classified"),
        ("dangling.png", "dangling", "cannot be read: it is not there"),
    ],
)
def test_a_file_named_by_itself_that_is_no_image_is_an_error(
    name: str, content: Any, says: str, state: State, tmp_path: Path
) -> None:
    """Told by its path before any model is loaded: there is none here."""
    path = tmp_path / name
    if content == "torn":
        picture(path, (1, 2, 3), (200, 200))
        path.write_bytes(path.read_bytes()[:60])
    elif content == "dangling":
        path.symlink_to(tmp_path / "nowhere")
    else:
        path.write_bytes(content)
    with pytest.raises(DataError, match=says) as caught:
        told(state, picture(tmp_path / "good.png", (1, 2, 3)), path)
    assert str(path) in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("name", "version", "says"),
    [
        ("colours", "9", "models:/colours/9 cannot be loaded"),
        ("unheard-of", "1", "models:/unheard-of/1 cannot be loaded"),
        ("colours", "3", "models:/colours/3 cannot be loaded"),
        ("colours", "2", "models:/colours/2 does not name its classes"),
    ],
    ids=["no such version", "no such model", "its files are gone", "names no classes"],
)
def test_a_model_that_cannot_be_used_is_an_error(
    name: str, version: str, says: str, colours: State, tmp_path: Path
) -> None:
    """Named by its address."""
    pictures = Pictures([str(picture(tmp_path / "red.png", RED))], ordered=True)
    with pytest.raises(EvaluationError, match=says) as caught:
        predict(colours, name, version, pictures, 1)
    assert caught.value.remedy


def test_probabilities_are_those_of_the_network(colours: State, tmp_path: Path) -> None:
    """The softmax of ten times the mean of each channel."""
    [answer] = told(colours, picture(tmp_path / "mixed.png", (51, 0, 25)))
    odds = {"cat": math.exp(2), "dog": 1.0, "cow": math.exp(25 / 25.5)}
    for guess in answer.guesses:
        assert guess.probability == pytest.approx(odds[guess.name] / sum(odds.values()), abs=2e-6)
