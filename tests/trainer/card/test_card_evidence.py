"""The parts of the card that say whether the verdict can be believed, in HTML and in Markdown."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from trainer import record, report
from trainer.card import comparison, figures, html, lineage, markdown, verdict
from trainer.card.gathering import gather
from trainer.card.material import Material
from trainer.card.trust import trust
from trainer.gate import Rule, Verdict
from trainer.registry.protocol import Trial
from trainer.scorecard import Interval
from trainer.state import State

pytestmark = pytest.mark.usefixtures("no_plots")


def seen(page: str) -> str:
    """What a reader sees of a page, on one line."""
    body = page[page.index("<body>") :]
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


def section(page: str, name: str) -> str:
    found = re.search(rf'<section id="{name}">.*?</section>', page, re.DOTALL)
    return found[0] if found else ""


@pytest.fixture(scope="module")
def full(build_record, tmp_path_factory) -> Material:
    """A challenger that took over from a champion, with everything that is measured."""
    made = build_record(
        State.open(tmp_path_factory.mktemp("state")), champion_skill=3.0, skill=5.0, examples=400, evidence=True
    )
    return gather(made.state, made.tick, "SUCCEEDED")


@pytest.fixture
def page(full: Material) -> str:
    return html.render(full)


@pytest.fixture
def text(full: Material) -> str:
    return markdown.render(full)


def evaluated(m: Material, **changes: Any) -> Material:
    assert m.evaluated is not None
    return replace(m, evaluated=m.evaluated.model_copy(update=changes))


def alike(m: Material, pairs: int) -> Material:
    assert m.prepared is not None
    return replace(m, prepared=m.prepared.model_copy(update={"near_duplicates_total": pairs}))


def ruled(m: Material, *rules: Rule) -> Material:
    assert m.promoted is not None
    outcome = Verdict(outcome="keep", reason="", rules=list(rules))
    return replace(m, promoted=m.promoted.model_copy(update={"verdict": outcome}))


def rule(name: str, figure: float | None, limit: float | None, outcome: Any = "pass") -> Rule:
    return Rule(name=name, figure=figure, limit=limit, outcome=outcome, explanation=f"About {name}.")


@pytest.mark.parametrize(
    ("name", "figure", "limit", "figure_text", "limit_text"),
    [
        ("scored", 10_000, 1, "10,000", "≥ 1"),
        ("threshold", 0.987, 0.9, "98.70 %", "≥ 90.00 %"),
        ("improvement", 0.0123, 0.0, "+1.23 points", "> 0 points"),
        ("improvement", -0.0123, 0.005, "−1.23 points", "≥ +0.50 points"),
        ("effect", 0.02, 0.01, "+2.00 points", "≥ +1.00 points"),
        ("significance", 0.0021, 0.0096, "p = 0.0021", "p ≤ 0.0096"),
        ("class drop", 0.031, 0.05, "3.10 points", "≤ 5.00 points"),
        ("class_drop", -0.01, 0.05, "−1.00 points", "≤ 5.00 points"),
        ("calibration", 0.0412, 0.05, "0.0412", "≤ 0.0500"),
        ("latency", 1.046, 1.2, "1.05 ×", "≤ 1.20 ×"),
        ("size", 0.5, 1.5, "0.50 ×", "≤ 1.50 ×"),
        ("golden", 3e-7, 0.001, "3e-07", "≤ 0.001"),
        ("comparable", None, None, "—", "—"),
        ("moon phase", 1234.5, 0.25, "1,234.5", "0.25"),
    ],
)
def test_a_rules_figures_are_in_the_units_people_use(
    full: Material, name: str, figure: float | None, limit: float | None, figure_text: str, limit_text: str
) -> None:
    """And a rule that the card has never heard of shows its bare numbers."""
    (row,) = verdict.rules(ruled(full, rule(name, figure, limit)))
    assert (row.name, row.figure, row.limit) == (name.replace("_", " "), figure_text, limit_text)


def test_the_rules_that_decided_come_first(full: Material) -> None:
    """What failed, then what is open, then what passed, then what did not apply; else in the gate's order."""
    outcomes = ["pass", "not applicable", "fail", "undecided", "pass", "fail"]
    rules = [rule(f"r{number}", None, None, outcome) for number, outcome in enumerate(outcomes)]
    assert [row.name for row in verdict.rules(ruled(full, *rules))] == ["r2", "r5", "r3", "r0", "r4", "r1"]


@pytest.mark.parametrize("name", ["significance", "effect", "comparable", "latency"])
def test_an_undecided_run_says_of_what_kind_it_is(full: Material, name: str) -> None:
    """Test examples that are too few are one thing, models that could not be compared are another."""
    m = replace(ruled(full, rule(name, None, None, "undecided")), result="undecided")
    assert ("cannot tell the two apart" in verdict.headline(m)) == (name in ("significance", "effect"))


def test_figures_have_their_intervals(full: Material, page: str, text: str) -> None:
    """In both cards, for both models, as the scorecard has them."""
    assert full.evaluated is not None
    for card in (full.evaluated.challenger, full.evaluated.champion):
        assert card is not None
        interval = card.intervals["macro_f1"]
        words = f"{100 * interval.low:.1f}–{100 * interval.high:.1f} %"
        assert words in section(page, "figures")
    assert f"{full.evaluated.challenger.intervals['log_loss'].low:.4f}" in text


def test_without_intervals_the_accuracy_still_has_one(full: Material) -> None:
    """Wilson's; the other figures have none then, and no empty brackets."""
    assert full.evaluated is not None
    bare = full.evaluated.challenger.model_copy(update={"intervals": {}})
    assert re.fullmatch(r"\d+\.\d–\d+\.\d %", comparison.interval_text(bare, "accuracy"))
    assert comparison.interval_text(bare, "macro_f1") == ""


def test_speed_and_size_of_both_are_there_with_the_ratios_spread(page: str, text: str) -> None:
    """Times, bytes, parameters, and how far the ratio wandered."""
    for words in ("12.3 ms", "11.8 ms", "1.05 ×", "1.01–1.09", "8.44 MB", "8.01 MB"):
        assert words in section(page, "figures")
        assert words in text


def test_the_examples_that_changed_sides_are_shown_newly_wrong_first(full: Material, page: str) -> None:
    """With their pictures, what they are and what they were taken for, and how many there are in all."""
    part = section(page, "sides")
    assert full.evaluated is not None
    assert part.index("Newly wrong") < part.index("Newly right")
    assert part.count("<img") == len(full.evaluated.changed_sides) > 3
    assert f"6 of {full.evaluated.newly_right} are shown" in seen("<body>" + part)
    wrong = next(side for side in full.evaluated.changed_sides if not side.newly_right)
    assert f"{wrong.truth} , now taken for {wrong.challenger}" in seen("<body>" + part)


def test_no_example_changed_sides_no_section(full: Material) -> None:
    """There is no heading over nothing."""
    m = evaluated(full, newly_right=0, newly_wrong=0, changed_sides=[])
    assert section(html.render(m), "sides") == ""
    assert "changed sides" not in markdown.render(m)


@pytest.mark.parametrize(
    ("right", "wrong", "balance"), [(9, 3, "6 won on balance"), (3, 9, "6 lost on balance"), (4, 4, "as many won")]
)
def test_the_balance_of_the_sides_is_said(full: Material, right: int, wrong: int, balance: str) -> None:
    """Won, lost, or neither."""
    assert balance in comparison.sides(evaluated(full, newly_right=right, newly_wrong=wrong))


def test_what_fell_furthest_is_the_first_class(full: Material, page: str) -> None:
    """A class that lost recall stands above one that is bad at the same time but no worse than it was."""
    assert full.evaluated is not None
    assert full.evaluated.champion is not None
    name = max(full.evaluated.challenger.per_class, key=lambda one: one.f1).name
    before = [
        one.model_copy(update={"recall": 1.0}) if one.name == name else one.model_copy(update={"recall": 0.0})
        for one in full.evaluated.champion.per_class
    ]
    ours = [
        one.model_copy(update={"recall": 0.9}) if one.name == name else one
        for one in full.evaluated.challenger.per_class
    ]
    m = evaluated(
        full,
        champion=full.evaluated.champion.model_copy(update={"per_class": before}),
        challenger=full.evaluated.challenger.model_copy(update={"per_class": ours}),
    )
    rows = re.findall(r'<th scope="row" class="name">(.*?)</th>', section(html.render(m), "classes"))
    assert rows[0] == name


@pytest.mark.parametrize(
    ("recalls", "interval", "direction", "sure"),
    [
        ((0.95, 0.80), 0.03, "better", True),
        ((0.80, 0.95), 0.03, "worse", True),
        ((0.90, 0.95), 0.06, "worse", False),
        ((0.95, 0.90), 0.06, "better", False),
    ],
)
def test_a_change_that_may_be_chance_is_grey(
    full: Material, recalls: tuple[float, float], interval: float, direction: str, sure: bool
) -> None:
    """Where the intervals hold each other's figure, neither green nor red."""
    assert full.pair is not None
    cards = []
    for card, recall in zip(full.pair, recalls, strict=True):
        around = Interval(low=recall - interval, high=recall + interval)
        one = card.per_class[0].model_copy(update={"recall": recall, "recall_interval": around})
        cards.append(card.model_copy(update={"per_class": [one]}))
    m = evaluated(full, challenger=cards[0], champion=cards[1])
    (row,) = figures.class_rows(m)
    assert (row.recall_change.direction, row.recall_change.sure) == (direction, sure)
    assert (f'class="change {direction}"' in section(html.render(m), "classes").split("<td")[3]) == sure


def test_slices_stand_by_column_and_classes_are_no_slice(full: Material, page: str, text: str) -> None:
    """Folder, size and brightness have tables with an interval in every row; classes have their own section."""
    part = section(page, "slices")
    assert re.findall(r"<h3>By (\w+)</h3>", part) == ["folder", "size", "brightness"]
    assert part.count("<svg") == 10
    assert "studio" in part
    assert "By class" not in part
    assert "Where it is worst" in text


CLASSES = ("cat", "dog", "<b>lynx</b>", "owl")


def test_changed_classes_are_said_plainly(make_record) -> None:
    """Which are new, gone and renamed, and what both score on what both know; the champion's column is left out."""
    made = make_record(classes=CLASSES, champion_skill=3.0, skill=5.0, evidence=True, new_class=True)
    m = gather(made.state, made.tick, "SUCCEEDED")
    page = html.render(m)
    words = seen(page)
    assert "New, unknown to the champion: “owl”." in words
    assert "Gone, known to the champion only: “<gone> & forgotten”." in words
    assert "Renamed: “old cat → cat”." in words
    assert "On the 3 classes both know (270 test examples)" in words
    assert "Champion</th>" not in section(page, "figures").split("<h3>")[0]
    assert "The classes have changed since the champion: the two are compared on the 3 classes both know." in words
    assert "▲" in section(page, "classes")
    assert "“owl”" in markdown.render(m)


CAUTIONS: dict[str, tuple[Callable[[Material], Material], str]] = {
    "not compared": (lambda m: evaluated(m, champion=None, incomparable="It will not load."), "It will not load."),
    "shared": (lambda m: evaluated(m, shared_with_training=12), "12 test examples were in the champion's training"),
    "golden": (
        lambda m: evaluated(m, golden=record.Golden(images=4, difference=0.2, tolerance=0.001)),
        "does not answer its golden images",
    ),
    "look alike": (lambda m: alike(m, 30), "30 pairs of a training and a test image look alike"),
    "damaged": (lambda m: replace(m, trained=None, damaged=frozenset({"train"})), "The record of the step “train”"),
}


@pytest.mark.parametrize(("change", "words"), CAUTIONS.values(), ids=CAUTIONS)
def test_what_spoils_the_figures_stands_beside_the_verdict(full: Material, change, words: str) -> None:
    """Whoever reads no further than the headline has read it."""
    m = change(full)
    page = html.render(m)
    assert words in seen(page[: page.index("<nav")])
    assert words.split("“")[0] in markdown.render(m).split("\n## ")[0]


@pytest.mark.parametrize(("pairs", "state"), [(0, "good"), (3, "neutral"), (20, "neutral"), (21, "bad")])
def test_a_few_images_that_look_alike_are_no_alarm(full: Material, pairs: int, state: str) -> None:
    """Of 400 test examples more than one in twenty is; below that it is said, and there is no caution in every run."""
    m = alike(full, pairs)
    assert next(row.state for row in trust(m) if "new to the challenger" in row.name) == state
    assert bool(verdict.cautions(m)) == (state == "bad")
    assert ('class="cautions"' in html.render(m)) == (state == "bad")


def test_what_was_checked_is_listed_with_its_outcome(full: Material, page: str, text: str) -> None:
    """Golden images, the champion's training, images that look alike, and the error budget."""
    rows = trust(full)
    assert [row.state for row in rows] == ["good", "good", "neutral", "neutral"]
    for row in rows:
        assert row.finding in seen(section(page, "trust").replace("<section", "<body><section", 1).replace(
            '<body><section id="trust">', "<body>"))  # fmt: skip
        assert row.name in text


def test_the_budget_counts_the_decisions_on_these_examples_up_to_this_one(full: Material) -> None:
    """Three of them, this one included; those on other examples and later ones are not its own."""
    assert full.entry is not None
    own = full.entry.trial
    assert own is not None
    other = Trial(test_digest="other", examples=10, level=0.04, p_value=None)
    later = full.entry.model_copy(update={"number": 5})
    m = replace(full, ledger=(*full.ledger, later, later.model_copy(update={"number": 6, "trial": other})))
    finding = trust(m)[-1].finding
    assert "at most 0.0096" in finding
    assert "0.033 of the budget of 0.2 is spent (3 decisions on these 400 test examples)" in finding


def test_lineage_has_commit_image_and_pipeline_run(full: Material, page: str, text: str) -> None:
    """As far as the record has them, and the digests by which registry and ledger know the verdict."""
    made_by = "c0a8012e-77b1-4f6f-9d20-5a1d1f0b7e11"
    rows = dict(lineage.lineage(full))
    assert rows["Git commit"].startswith("4f2c9a1b")
    assert (rows["Pipeline run"], rows["Reported by the run"]) == (made_by, full.tick)
    assert "Reported by the run" not in dict(lineage.lineage(replace(full, tick=made_by)))
    assert full.promoted is not None
    assert rows["Verdict digest"] == full.promoted.verdict.digest()
    assert rows["Ledger entry"] == "4 (promote)"
    for value in rows.values():
        assert value in seen(page)


OLD = {
    "evaluate": ("incomparable", "class_change", "latency", "golden", "shared_with_training", "changed_sides",
                 "newly_right", "newly_wrong"),
    "prepare": ("near_duplicates", "near_duplicates_total"),
    "register": ("lineage",),
}  # fmt: skip


def test_records_of_older_versions_make_a_card(make_record) -> None:
    """Without the newer fields there are fewer parts, and no part says that it could not be drawn."""
    made = make_record(champion_skill=3.0, skill=5.0)
    for step, names in OLD.items():
        path = (made.data if step == "prepare" else made.run) / f"{step}.json"
        document = json.loads(path.read_text())
        for name in names:
            del document[name]
        for card in [document["challenger"], document["champion"]] if step == "evaluate" else []:
            for name in ("confidence", "intervals", "slices", "size_bytes", "parameters"):
                del card[name]
        path.write_text(json.dumps(document))
    m = gather(made.state, made.tick, "SUCCEEDED")
    page = html.render(m)
    assert m.damaged == frozenset()
    assert "could not be drawn" not in page
    assert "Version 4 is the new champion" in page
    assert [name for name in ("sides", "slices") if section(page, name)] == []
    assert "What version 3 was trained on is not recorded." in page
    assert "No training image looks like" not in page
    assert "could not be made" not in markdown.render(m)


@pytest.mark.slow
def test_a_thousand_classes_make_a_card_that_can_be_sent_around(make_record) -> None:
    """All of them are in it, and it stays below a few megabytes."""
    made = make_record(
        classes=[f"class {i}" for i in range(1000)], examples=3000, skill=8.0, champion_skill=7.8, evidence=True
    )
    page = html.render(gather(made.state, made.tick, "SUCCEEDED"))
    assert "The other 980 classes" in page
    assert len(page) < 3_000_000
    assert len(markdown.render(gather(made.state, made.tick, "SUCCEEDED")).splitlines()) < 160


def test_a_ledger_that_cannot_be_read_costs_its_lines_only(make_record) -> None:
    """The budget and the kind of entry are missing, the rest is there, and so is the outcome."""
    made = make_record(champion_skill=3.0, skill=5.0, evidence=True)
    made.state.ledger("digits").write_text("{")
    outcome = report.report(made.state, made.tick, "SUCCEEDED")
    page = Path(outcome.card or "").read_text()
    assert outcome.champion == "4"
    assert "Error budget" not in page
    assert "golden images" in page
