"""The run card as one HTML file that needs nothing else: pictures and style inside, no script, no request.

Class names, paths and messages come from users' data; the templates escape all of them, and a content security policy
in the file forbids what the templates do not use.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from trainer.card import content, figures, plots
from trainer.card.material import Material
from trainer.card.recipe_text import as_toml

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


def render(material: Material) -> str:
    """The whole card. A section that cannot be drawn says so in its place, and the others stand."""
    environment = _environment()
    drawn = [(section, _draw(environment, section, material)) for section in SECTIONS]
    return environment.get_template("card.html").render(
        title=content.headline(material),
        model=material.model,
        style=Markup((_TEMPLATES / "card.css").read_text(encoding="utf-8")),
        verdict=_draw(environment, VERDICT, material),
        sections=[(section, body) for section, body in drawn if body is not None],
        m=material,
    )


_TEMPLATES = Path(__file__).parent / "templates"


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(picture=_picture, data_uri=_data_uri)
    return environment


def _draw(environment: Environment, section: Section, material: Material) -> Markup | None:
    """A section's HTML; None where the run did not come that far."""
    if section.step is not None and material.document(section.step) is None:
        return _absent(section.step, material)
    # An exit handler must not fail over a picture: whatever goes wrong here is shown in the section's place.
    try:
        values = section.values(material)
        if values is None:
            return None
        return Markup(environment.get_template(f"{section.name}.html").render(m=material, **values))
    except Exception as error:
        return _notice(f"This part could not be drawn ({type(error).__name__}: {error}).")


def _absent(step: str, material: Material) -> Markup | None:
    if step in material.damaged:
        return _notice(f"The record of the step “{step}” cannot be read, so there is nothing to show here.")
    if material.failure is None and material.result != "skipped":
        return _notice(f"The step “{step}” left no record, so there is nothing to show here.")
    return None


def _notice(text: str) -> Markup:
    return Markup('<p class="notice">{}</p>').format(text)


# ------------------------------------------------------------------ what each section is given


def _verdict(m: Material) -> Values:
    return {"headline": content.headline(m), "summary": content.summary(m), "tiles": content.tiles(m)}


def _failure(m: Material) -> Values | None:
    return {"failure": m.failure, "steps": content.steps(m)} if m.failure else None


def _rules(m: Material) -> Values:
    return {"rules": content.rules(m)}


def _figures(m: Material) -> Values:
    assert m.evaluated is not None
    return {"rows": figures.figures(m), "evaluated": m.evaluated}


def _training(m: Material) -> Values:
    assert m.trained is not None
    draw = partial(plots.curves, m.trained.epochs, chosen=m.trained.chosen_epochs)
    return {
        "facts": content.training(m),
        "pictures": [
            (_both(partial(draw, panels=(panel,))), f"{plots.TITLES[panel].lower()} by epoch")
            for panel in plots.PANELS
            if m.trained.epochs
        ],
    }


def _confusion(m: Material) -> Values:
    assert m.evaluated is not None
    card = m.evaluated.challenger
    shown = plots.shown_classes(card.confusion)
    return {
        "matrix": _both(partial(plots.confusion_matrix, card.classes, card.confusion)),
        "shown": len(shown),
        "classes": len(card.classes),
        "confusions": figures.confusions(m),
    }


def _calibration(m: Material) -> Values:
    assert m.evaluated is not None
    card = m.evaluated.challenger
    return {
        "picture_of_bins": _both(partial(plots.reliability, card.reliability)),
        "error": card.calibration_error,
        "few": plots.FEW,
    }


def _classes(m: Material) -> Values:
    assert m.evaluated is not None
    return {"rows": figures.class_rows(m), "many": MANY, "compared": m.evaluated.champion is not None}


def _mistakes(m: Material) -> Values:
    return {"mistakes": m.mistakes}


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
    return {"rows": content.lineage(m), "versions": m.trained.versions if m.trained else {}}


def _reproduce(m: Material) -> Values | None:
    recipe = as_toml(m.recipe)
    return {"recipe": recipe, "command": content.command(m), "file": content.RECIPE_FILE} if recipe else None


VERDICT = Section("verdict", "", None, _verdict)
SECTIONS = (
    Section("failure", "What happened", None, _failure),
    Section("rules", "The rules", "promote", _rules),
    Section("figures", "Challenger and champion", "evaluate", _figures),
    Section("training", "Training", "train", _training),
    Section("confusion", "What is taken for what", "evaluate", _confusion),
    Section("classes", "Class by class", "evaluate", _classes),
    Section("mistakes", "Worst mistakes", "evaluate", _mistakes),
    Section("calibration", "Can its confidence be believed?", "evaluate", _calibration),
    Section("data", "Data", "prepare", _data),
    Section("lineage", "Lineage", None, _lineage),
    Section("reproduce", "Make it again", None, _reproduce),
)


# ------------------------------------------------------------------ pictures


def _both(draw: Callable[..., bytes]) -> tuple[bytes, bytes]:
    """A plot for light and for dark mode."""
    return draw(theme=plots.LIGHT), draw(theme=plots.DARK)


def _picture(pair: tuple[bytes, bytes], alt: str) -> Markup:
    """A plot that follows the reader's mode, in the size it was drawn for."""
    light, dark = pair
    width, height = struct.unpack(">II", light[16:24])  # PNG's first chunk
    scale = plots.PIXELS_PER_INCH / 96
    return Markup(
        '<picture><source media="(prefers-color-scheme: dark)" srcset="{dark}">'
        '<img src="{light}" width="{width}" height="{height}" alt="{alt}"></picture>'
    ).format(
        dark=_data_uri(dark), light=_data_uri(light), width=round(width / scale), height=round(height / scale), alt=alt
    )


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
