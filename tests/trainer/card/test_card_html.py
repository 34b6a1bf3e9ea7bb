from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from trainer import report
from trainer.card import html, matrix
from trainer.card.material import Material
from trainer.state import State

pytestmark = pytest.mark.usefixtures("small_pictures")
quickly = pytest.mark.usefixtures("no_plots")

VOID = {"meta", "link", "img", "source", "br"}
HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7*7 }}", "a & b", "cat")

CASES = {
    "first champion": {},
    "first champion with all evidence": {"evidence": True},
    "takes over": {"champion_skill": 3.0, "skill": 5.0, "evidence": True},
    "kept": {"champion_skill": 6.0, "skill": 3.0, "evidence": True},
    "undecided": {"champion_skill": 3.5, "skill": 3.8},
    "a new class": {"champion_skill": 3.0, "skill": 5.0, "evidence": True, "new_class": True},
    "below the threshold": {"skill": 1.0},
    "nothing wrong": {"skill": 40.0},
    "one epoch": {"trained_epochs": 1},
    "two classes": {"classes": ("cat", "dog")},
    "many classes": {"classes": [f"class {i}" for i in range(130)], "examples": 260},
    "rejected": {"rejected": [("cats/1.jpg", "truncated"), ("<b>.jpg", "not an image")]},
    "hostile names": {
        "classes": HOSTILE,
        "skill": 2.0,
        "champion_skill": 2.2,
        "rejected": [(HOSTILE[0], HOSTILE[1])],
        "evidence": True,
        "new_class": True,
    },
    "stopped in training": {"until": "prepare"},
    "stopped before anything": {"until": "check"},
}


class Page(HTMLParser):
    """Reads a page; fails on a tag that is not closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data

    def sections(self) -> list[str]:
        return [str(attributes["id"]) for tag, attributes in self.tags if tag == "section"]


@pytest.fixture(scope="module", params=CASES, ids=str)
def drawn(request, build_record, tmp_path_factory) -> tuple[Material, str]:
    """A record's material and its card, drawn once for all the tests that look at it."""
    record = build_record(State.open(tmp_path_factory.mktemp("state")), **CASES[request.param])
    material = report.gather(record.state, record.tick, "SUCCEEDED")
    return material, html.render(material)


def page_of(record, status: str = "SUCCEEDED") -> Page:
    return Page(html.render(report.gather(record.state, record.tick, status)))


def test_a_card_is_whole_and_needs_nothing_from_outside(drawn) -> None:
    """Every tag is closed, every picture is inside, and there is no script and nothing to fetch."""
    _, text = drawn
    page = Page(text)
    for tag, attributes in page.tags:
        assert tag not in {"script", "iframe", "object", "embed", "base", "form"}
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "srcset", "href", "action", "data", "poster", "background"):
            value = attributes.get(name)
            within = value is None or value.startswith("data:") or (tag == "a" and value.startswith("#"))
            assert within, (tag, name, value)
    anchors = {value[1:] for tag, a in page.tags if tag == "a" and (value := a.get("href") or "")}
    assert anchors == set(page.sections())
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_every_picture_is_a_png_of_the_stated_size_with_a_description(drawn) -> None:
    """Pictures decode, have width and height (the page does not jump) and an alternative text."""
    for tag, attributes in Page(drawn[1]).tags:
        if tag == "img":
            assert attributes["alt"]
            assert int(attributes["width"] or 0) > 0
            assert int(attributes["height"] or 0) > 0
            uri = attributes["src"] or ""
            assert base64.b64decode(uri.partition("base64,")[2]).startswith(b"\x89PNG")


def test_no_part_of_a_whole_record_fails_to_draw(drawn) -> None:
    """The notice that stands in for a broken part appears nowhere."""
    assert "could not be drawn" not in drawn[1]


def test_the_verdict_comes_first(drawn) -> None:
    """The page opens with the badge and the verdict in words."""
    material, text = drawn
    page = Page(text)
    tags = [tag for tag, _ in page.tags]
    assert tags.index("header") < tags.index("section")
    assert material.result in page.text[: page.text.index("Lineage")]
    assert material.reason.split(".")[0] in page.text


def test_plots_come_in_light_and_dark(make_record) -> None:
    """Each plot has a second picture that is shown in dark mode in its stead."""
    page = page_of(make_record())
    modes = [a["class"] for tag, a in page.tags if tag == "img" and a.get("class")]
    assert modes == ["light", "dark"] * 5


@quickly
def test_names_from_users_data_are_shown_and_never_obeyed(make_record) -> None:
    """A class called <script> is a class called <script>."""
    record = make_record(**CASES["hostile names"])
    page = page_of(record)
    for name in HOSTILE:
        assert name in page.text
    assert "49" not in [word.strip() for word in page.text.split("\n")]
    assert all(attributes.get("src") != "x" for _, attributes in page.tags)


@quickly
def test_a_failure_shows_step_message_and_remedy(make_record) -> None:
    """Its text is escaped, its steps say how far the run came, and unreached parts are left out."""
    record = make_record(until="prepare")
    record.fail("train", "The loss became <NaN> & worse.", "Lower the learning rate.")
    page = page_of(record, "FAILED")
    assert "The run failed at the step “train”" in page.text
    assert "The loss became <NaN> & worse." in page.text
    assert "Lower the learning rate." in page.text
    assert page.sections() == ["failure", "data", "lineage", "reproduce"]
    states = [str(a["class"]) for tag, a in page.tags if tag == "li"]
    assert states == ["done", "done", "failed", "not-reached", "not-reached", "not-reached"]


@quickly
def test_rules_show_figure_limit_and_outcome(make_record) -> None:
    """Every rule of the verdict is there, in the gate's own words."""
    record = make_record(**CASES["takes over"])
    material = report.gather(record.state, record.tick, "SUCCEEDED")
    page = Page(html.render(material))
    assert material.promoted is not None
    for rule in material.promoted.verdict.rules:
        assert rule.name in page.text
        assert rule.explanation in page.text
    assert "≥ 90.00 %" in page.text
    assert "p ≤ 0.05" in page.text


@quickly
def test_without_a_champion_the_card_says_so(make_record) -> None:
    """There is no empty column for a champion that was not there."""
    page = page_of(make_record())
    assert "There was no champion to compare with." in page.text
    assert "Change" not in re.findall(r"\w+", page.text[page.text.index("Class by class") :])


@quickly
def test_a_changed_champion_is_named(make_record) -> None:
    """Where another run promoted between evaluation and decision, the figures and the rules are about two rivals."""
    record = make_record(**CASES["kept"])
    promoted = record.run / "promote.json"
    promoted.write_text(re.sub(r'"champion_before":\s*"3"', '"champion_before": "5"', promoted.read_text()))
    assert "version 5 had become champion" in page_of(record).text


@quickly
@pytest.mark.parametrize("step", ["prepare", "train", "evaluate", "register"])
def test_a_missing_document_leaves_the_rest_standing(make_record, step: str) -> None:
    """The parts that need it say that it is not there."""
    record = make_record()
    (record.data if step == "prepare" else record.run).joinpath(f"{step}.json").unlink()
    page = page_of(record)
    assert "Version 4 is the first champion" in page.text
    assert ("left no record" in page.text) == (step != "register")


@quickly
@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b'{"unknown": 1}', b"[]"], ids=repr)
def test_a_damaged_document_is_named(make_record, content: bytes) -> None:
    """Whatever is in the file, the card is made and says which record cannot be read."""
    record = make_record()
    (record.run / "evaluate.json").write_bytes(content)
    page = page_of(record)
    assert "The record of the step “evaluate” cannot be read" in page.text
    assert "left no record" not in page.text
    assert "training" in page.sections()


def test_a_part_that_breaks_says_so_in_its_place(make_record, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other parts are drawn as ever."""

    def broken(*_: object, **__: object) -> bytes:
        raise RuntimeError("no <ink>")

    monkeypatch.setattr(matrix, "confusion_matrix", broken)
    page = page_of(make_record())
    assert "This part could not be drawn (RuntimeError: no <ink>)." in page.text
    assert "Worst mistakes" in page.text


SPOILS = {
    "a picture is gone": lambda run: (run / "mistake-01.png").unlink(),
    "a picture is none": lambda run: (run / "mistake-01.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken"),
    "a picture is text": lambda run: (run / "mistake-01.png").write_text("hello"),
}


@quickly
@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS.keys())
def test_a_picture_that_cannot_be_read_leaves_a_gap(make_record, spoil) -> None:
    """Its caption stays, and so do the other pictures."""
    record = make_record(skill=2.0)
    spoil(record.run)
    page = page_of(record)
    assert "mistake-01.png cannot be read" in page.text
    assert len([1 for tag, a in page.tags if tag == "img" and "test example" in str(a["alt"])]) == 5


@quickly
@pytest.mark.parametrize("captions", ["", "{}", "[1, 2]", '[{"file": "mistake-01.png", "probability": "high"}]'])
def test_captions_that_cannot_be_read_leave_the_pictures(make_record, captions: str) -> None:
    """A picture without a caption is shown with question marks."""
    record = make_record(skill=2.0)
    (record.run / "mistakes.json").write_text(captions)
    page = page_of(record)
    assert len([1 for tag, a in page.tags if tag == "img" and "test example" in str(a["alt"])]) == 6


@quickly
def test_a_record_cannot_show_files_from_elsewhere(make_record, tmp_path: Path) -> None:
    """A picture's name that leads out of the record's folder is not followed."""
    record = make_record(skill=2.0)
    (tmp_path / "secret.png").write_bytes((record.run / "mistake-01.png").read_bytes())
    evaluated = record.run / "evaluate.json"
    evaluated.write_text(evaluated.read_text().replace("mistake-01.png", "../../../secret.png"))
    assert "../../../secret.png cannot be read" in page_of(record).text


@quickly
def test_very_large_pictures_are_scaled_down(make_record) -> None:
    """A card on photographs stays a file that can be sent around."""
    from PIL import Image

    record = make_record(skill=2.0)
    Image.effect_noise((3000, 2000), 90).save(record.run / "mistake-01.png")
    first = next(a for tag, a in page_of(record).tags if tag == "img" and "test example" in str(a["alt"]))
    assert (first["width"], first["height"]) == ("320", "213")


@quickly
def test_many_classes_fold_away(make_record) -> None:
    """Twenty rows are shown, the others unfold, and none is lost."""
    page = page_of(make_record(**CASES["many classes"]))
    assert "The other 110 classes" in page.text
    assert "Of the 130 classes, the 20 that are confused most are drawn." in page.text
    for index in range(130):
        assert f"class {index}\n" in page.text or f"class {index}" in page.text


@quickly
def test_the_recipe_and_the_command_to_run_it_are_there(make_record) -> None:
    """One command makes the model again, from the recipe that lies beside the card."""
    record = make_record()
    text = page_of(record).text
    assert f"inception run {record.run / 'recipe.toml'} --state reproduced" in text
    assert 'variant = "inception_module"' in text
