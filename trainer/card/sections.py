"""The parts of the card in the order in which somebody who was woken up wants them, and what each is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from trainer.card import comparison, content, figures, lineage, matrix, plots, verdict
from trainer.card.marks import scale_of
from trainer.card.material import Material
from trainer.card.picture import both
from trainer.card.recipe_text import as_toml
from trainer.card.trust import trust

MANY = 20
"""Rows of a table shown at once; the rest unfolds."""

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Section:
    """One part of the card.

    Attributes:
        name: of its template, and its anchor.
        title: its heading.
        step: the step whose document it shows; without that document there is nothing to show.
        values: what the template is given; None where the run has nothing of this kind.
    """

    name: str
    title: str
    step: str | None
    values: Callable[[Material], Values | None]


def _verdict(m: Material) -> Values:
    return {
        "headline": verdict.headline(m),
        "summary": verdict.summary(m),
        "cautions": verdict.cautions(m),
        "tiles": verdict.tiles(m),
    }


def _failure(m: Material) -> Values | None:
    return {"failure": m.failure, "steps": content.steps(m)} if m.failure else None


def _rules(m: Material) -> Values:
    return {"rules": verdict.rules(m)}


def _figures(m: Material) -> Values:
    assert m.evaluated is not None
    card = m.evaluated.challenger
    return {
        "rows": figures.figures(m),
        "evaluated": m.evaluated,
        "level": f"{100 * card.confidence:g}\N{NO-BREAK SPACE}%",
        "changes": comparison.class_changes(m),
        "costs": comparison.costs(m),
    }


def _sides(m: Material) -> Values | None:
    words = comparison.sides(m)
    if not words:
        return None
    assert m.evaluated is not None
    groups = [
        ("Newly wrong", "bad", [side for side in m.sides if not side.newly_right], m.evaluated.newly_wrong),
        ("Newly right", "good", [side for side in m.sides if side.newly_right], m.evaluated.newly_right),
    ]
    return {"words": words, "groups": groups}


def _trust(m: Material) -> Values | None:
    rows = trust(m)
    return {"rows": rows} if rows else None


def _classes(m: Material) -> Values:
    assert m.evaluated is not None
    rows = figures.class_rows(m)
    scale = scale_of(end for row in rows for end in (row.found, row.found_before))
    return {"rows": rows, "many": MANY, "compared": m.pair is not None, "scale": scale}


def _slices(m: Material) -> Values | None:
    columns = comparison.slices(m)
    if not columns:
        return None
    rows = [row for _, rows in columns for row in rows]
    scale = scale_of(end for row in rows for end in (row.interval, row.champion))
    compared = any(row.champion is not None for row in rows)
    return {"columns": columns, "many": MANY, "scale": scale, "compared": compared}


def _confusion(m: Material) -> Values:
    assert m.evaluated is not None
    card = m.evaluated.challenger
    shown = matrix.shown_classes(card.confusion)
    return {
        "matrix": both(partial(matrix.confusion_matrix, card.classes, card.confusion)),
        "shown": len(shown),
        "classes": len(card.classes),
        "confusions": figures.confusions(m),
    }


def _mistakes(m: Material) -> Values:
    return {"mistakes": m.mistakes}


def _calibration(m: Material) -> Values:
    assert m.evaluated is not None
    card = m.evaluated.challenger
    return {
        "picture_of_bins": both(partial(plots.reliability, card.reliability)),
        "error": card.calibration_error,
        "range": comparison.interval_text(card, "calibration_error"),
        "few": plots.FEW,
    }


def _training(m: Material) -> Values:
    assert m.trained is not None
    draw = partial(plots.curves, m.trained.epochs, chosen=m.trained.chosen_epochs)
    return {
        "facts": content.training(m),
        "pictures": [
            (both(partial(draw, panels=(panel,))), f"{plots.TITLES[panel].lower()} by epoch")
            for panel in plots.PANELS
            if m.trained.epochs
        ],
    }


def _data(m: Material) -> Values:
    assert m.prepared is not None
    splits, rows = content.count_rows(m)
    return {
        "splits": splits,
        "rows": rows[:-1],
        "sums": rows[-1][1],
        "many": MANY,
        "prepared": m.prepared,
        "reasons": content.rejections(m),
    }


def _lineage(m: Material) -> Values:
    return {"rows": lineage.lineage(m), "versions": m.trained.versions if m.trained else {}}


def _reproduce(m: Material) -> Values | None:
    recipe = as_toml(m.recipe)
    return {"recipe": recipe, "command": lineage.command(m), "file": lineage.RECIPE_FILE} if recipe else None


VERDICT = Section("verdict", "", None, _verdict)
SECTIONS = (
    Section("failure", "What happened", None, _failure),
    Section("rules", "The rules", "promote", _rules),
    Section("figures", "Challenger and champion", "evaluate", _figures),
    Section("sides", "Images that changed sides", "evaluate", _sides),
    Section("trust", "Can the comparison be trusted?", "evaluate", _trust),
    Section("classes", "Class by class", "evaluate", _classes),
    Section("slices", "Where it is good, and where it is not", "evaluate", _slices),
    Section("confusion", "What is taken for what", "evaluate", _confusion),
    Section("mistakes", "Worst mistakes", "evaluate", _mistakes),
    Section("calibration", "Can its confidence be believed?", "evaluate", _calibration),
    Section("training", "Training", "train", _training),
    Section("data", "Data", "prepare", _data),
    Section("lineage", "Lineage", None, _lineage),
    Section("reproduce", "Make it again", None, _reproduce),
)
