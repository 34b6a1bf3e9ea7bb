"""The run card as one HTML file that needs nothing else: pictures and style inside, no script, no request.

Class names, paths and messages come from users' data; the templates escape all of them, and a content security policy
in the file forbids what the templates do not use.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from trainer.card import verdict
from trainer.card.marks import interval_mark
from trainer.card.material import Material
from trainer.card.picture import data_uri, picture
from trainer.card.sections import SECTIONS, VERDICT, Section


def render(material: Material) -> str:
    """The whole card. A section that cannot be drawn says so in its place, and the others stand."""
    templates = environment()
    return templates.get_template("card.html").render(
        title=verdict.headline(material),
        model=material.model,
        style=style(templates, "page.css", "card.css"),
        verdict=_draw(templates, VERDICT, material),
        sections=list(_drawn(templates, material)),
        m=material,
    )


_TEMPLATES = Path(__file__).parent / "templates"


def environment(*folders: Path) -> Environment:
    """The card's templates and those of more folders: everything is escaped, and a missing name is an error."""
    templates = Environment(
        loader=FileSystemLoader([_TEMPLATES, *folders]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals.update(picture=picture, data_uri=data_uri, interval_mark=interval_mark)
    return templates


def style(templates: Environment, *files: str) -> Markup:
    """Style sheets as text for the page's head."""
    assert templates.loader is not None
    return Markup("\n").join(Markup(templates.loader.get_source(templates, file)[0]) for file in files)


def _drawn(templates: Environment, material: Material) -> Iterator[tuple[Section, Markup]]:
    """The sections there is something to say in. A document that is missing is told once, not in all of its parts."""
    told: set[str] = set()
    for section in SECTIONS:
        if section.step is not None and material.document(section.step) is None:
            notice = _absent(section.step, material)
            if notice is None or section.step in told:
                continue
            told.add(section.step)
            yield section, notice
        else:
            body = _draw(templates, section, material)
            if body is not None:
                yield section, body


def _draw(templates: Environment, section: Section, material: Material) -> Markup | None:
    """A section's HTML; None where the run has nothing of the kind."""
    # An exit handler must not fail over a picture: whatever goes wrong here is shown in the section's place.
    try:
        values = section.values(material)
        if values is None:
            return None
        return Markup(templates.get_template(f"{section.name}.html").render(m=material, **values))
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
