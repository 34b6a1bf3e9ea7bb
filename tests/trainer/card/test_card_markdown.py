from __future__ import annotations

import re

import pytest
from markdown_it import MarkdownIt

from trainer import report
from trainer.card import figures, markdown

HOSTILE = [
    "a|b", "<script>alert(1)</script>", "[link](http://x.y)", "`code`", "*bold* _it_", "line\nbreak", "back\\slash",
    "http://a.b/c", "![](http://x.y/z.png)", "# no heading", "&lt;", "~~gone~~", "$x$", "\\|",
]  # fmt: skip
"""What would be markup if it were not escaped."""

Parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def rendered(text: str) -> str:
    return str(Parser.render(text))


def seen(html: str) -> str:
    """What a reader sees of rendered Markdown."""
    import html as entities

    return entities.unescape(re.sub(r"<[^>]*>", "", html))


@pytest.mark.parametrize("value", HOSTILE)
def test_text_is_shown_as_it_is(value: str) -> None:
    """Nothing in a name is markup: what is seen is what was there, on one line."""
    html = rendered(f"- {markdown.text(value)}")
    assert seen(html).strip() == " ".join(value.split())
    assert not re.search(r"<(?!/?(ul|li)>)", html)


def test_a_table_keeps_its_columns_whatever_the_names(make_record) -> None:
    """A pipe in a class name starts no new cell, and a line break no new row."""
    record = make_record(classes=HOSTILE, skill=1.5, champion_skill=1.6, examples=200)
    text = markdown.render(report.gather(record.state, record.tick, "SUCCEEDED"))
    tables = re.findall(r"<table>.*?</table>", rendered(text), re.DOTALL)
    assert len(tables) == 4
    for table in tables:
        cells = [row.count("<td") + row.count("<th") for row in re.findall(r"<tr>.*?</tr>", table, re.DOTALL)]
        assert len(set(cells)) == 1
    for name in HOSTILE:
        assert " ".join(name.split()) in seen(tables[3])


def test_nothing_is_fetched_or_linked(make_record) -> None:
    """Markdown shown by an orchestrator's page has no picture, no link and no HTML."""
    record = make_record(classes=HOSTILE, skill=1.5, rejected=[(name, name) for name in HOSTILE])
    html = rendered(markdown.render(report.gather(record.state, record.tick, "SUCCEEDED")))
    assert not re.search(r"<(a|img|script|iframe)\b", html)


@pytest.mark.parametrize(
    ("options", "status", "headline", "badge"),
    [
        ({}, "SUCCEEDED", "Version 4 is the first champion", "PROMOTED"),
        ({"champion_skill": 3.0, "skill": 5.0}, "SUCCEEDED", "is the new champion", "PROMOTED"),
        ({"champion_skill": 6.0, "skill": 3.0}, "SUCCEEDED", "Version 3 stays champion", "KEPT"),
        ({"skill": 1.0}, "SUCCEEDED", "there is no champion yet", "KEPT"),
        ({"until": "prepare"}, "FAILED", "The run failed at the step “train”", "FAILED"),
        ({"decision": "skip"}, "SUCCEEDED", "Nothing has changed", "SKIPPED"),
    ],
)
def test_the_verdict_is_the_heading(make_record, options, status: str, headline: str, badge: str) -> None:
    """Each way to end has its words."""
    record = make_record(**options)
    text = markdown.render(report.gather(record.state, record.tick, status))
    assert headline in text.splitlines()[0]
    assert f"**{badge}**" in text


def test_long_tables_are_cut(make_record) -> None:
    """A thousand classes do not make a thousand lines; the card says how many are left out."""
    record = make_record(classes=[f"c{i}" for i in range(300)], examples=600)
    text = markdown.render(report.gather(record.state, record.tick, "SUCCEEDED"))
    assert "… and 280 more" in text
    assert len(text.splitlines()) < 120


def test_a_part_that_breaks_says_so_in_its_place(make_record, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other parts are made as ever."""

    def broken(_: object) -> list[object]:
        raise RuntimeError("no figures")

    monkeypatch.setattr(figures, "figures", broken)
    record = make_record()
    text = markdown.render(report.gather(record.state, record.tick, "SUCCEEDED"))
    assert "This part could not be made (RuntimeError: no figures)." in text
    assert "## Lineage" in text


def test_damaged_records_are_named(make_record) -> None:
    """The reader learns why a part is not there."""
    record = make_record()
    (record.run / "train.json").write_bytes(b"\xff")
    text = markdown.render(report.gather(record.state, record.tick, "SUCCEEDED"))
    assert "The record of the step “train” cannot be read." in text
    assert "## Training" not in text
