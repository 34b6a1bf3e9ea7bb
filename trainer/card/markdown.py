"""The run card as Markdown, short enough for an orchestrator's page: no pictures, the long tables cut."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from trainer.card import content, figures
from trainer.card.material import Material
from trainer.card.numbers import Change

MANY = 20
"""Rows of a table; the HTML card has them all."""


def render(material: Material) -> str:
    """The card. A part that cannot be made says so in its place, and the others stand."""
    parts = [_guarded(part, material) for part in PARTS]
    return "\n\n".join(part for part in parts if part) + "\n"


def _guarded(part: Callable[[Material], str], material: Material) -> str:
    # An exit handler must not fail over a table: whatever goes wrong here is shown in the part's place.
    try:
        return part(material)
    except Exception as error:
        return text(f"This part could not be made ({type(error).__name__}: {error}).")


def text(value: object) -> str:
    """Any text as plain Markdown text on one line: nothing in it is markup, a link, HTML or a table's border."""
    flat = " ".join(str(value).split())
    escaped = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]|#~$!])", r"\\\1", escaped).replace("://", ":&#47;/")


def _code(value: object) -> str:
    return f"`{' '.join(str(value).split()).replace('`', chr(39)).replace('|', '¦')}`"


def _table(head: Sequence[str], numbers: Sequence[int], rows: Sequence[Sequence[object]]) -> str:
    """A table; `numbers` are the columns that are set to the right."""
    rule = ["---:" if index in numbers else "---" for index in range(len(head))]
    lines = [head, rule, *([text(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cut(rows: Sequence[object]) -> str:
    return f"\n\n… and {len(rows) - MANY} more: see the HTML card." if len(rows) > MANY else ""


def _verdict(m: Material) -> str:
    of = f" · {text(m.model)}" if m.model else ""
    return f"# {text(content.headline(m))}\n\n**{m.result.upper()}**{of}\n\n{text(content.summary(m))}"


def _failure(m: Material) -> str:
    if m.failure is None:
        return ""
    way = " → ".join(f"{row.name} ({row.state})" for row in content.steps(m))
    remedy = f"\n\n**What to do:** {text(m.failure.remedy)}" if m.failure.remedy else ""
    return f"{way}{remedy}"


def _rules(m: Material) -> str:
    rows = [(r.name, r.outcome, r.figure, r.limit, r.explanation) for r in content.rules(m)]
    return (
        "## The rules\n\n" + _table(["Rule", "Outcome", "Found", "Asked for", "In words"], [2, 3], rows) if rows else ""
    )


def _figures(m: Material) -> str:
    if m.evaluated is None:
        return ""
    examples = f"On {m.evaluated.challenger.examples:,} frozen test examples."
    if m.evaluated.champion is None:
        rows: list[tuple[object, ...]] = [(row.name, row.challenger) for row in figures.figures(m)]
        table = _table(["Figure", "Challenger"], [1], rows)
        return f"## Figures\n\n{examples} There was no champion to compare with.\n\n{table}"
    head = ["Figure", "Challenger", f"Champion (version {text(m.evaluated.champion_version)})", "Change"]
    rows = [(row.name, row.challenger, row.champion, _change(row.change)) for row in figures.figures(m)]
    return f"## Challenger and champion\n\n{examples}\n\n{_table(head, [1, 2, 3], rows)}"


def _change(change: Change) -> str:
    return f"{change.text} ({change.direction})" if change.direction in ("better", "worse") else change.text


def _confusions(m: Material) -> str:
    rows = [(c.truth, c.predicted, c.count, c.share) for c in figures.confusions(m, most=5)]
    return (
        "## Commonest mistakes\n\n" + _table(["Truth", "Taken for", "Times", "Of its class"], [2, 3], rows)
        if rows
        else ""
    )


def _classes(m: Material) -> str:
    rows = figures.class_rows(m)
    if m.evaluated is None:
        return ""
    head = ["Class", "Examples", "Precision", "Recall", "F1"]
    cells: list[list[object]] = [[row.name, row.count, row.precision, row.recall, row.f1] for row in rows[:MANY]]
    if m.evaluated.champion is not None:
        head.append("Change of F1")
        for line, row in zip(cells, rows, strict=False):
            line.append(_change(row.f1_change))
    return "## Class by class\n\n" + _table(head, range(1, len(head)), cells) + _cut(rows)


def _data(m: Material) -> str:
    if m.prepared is None:
        return ""
    splits, rows = content.count_rows(m)
    total = ", ".join(f"{count:,} {split}" for split, count in zip(splits, rows[-1][1], strict=True))
    reasons = "; ".join(f"{count} × {reason}" for reason, count in content.rejections(m))
    rejected = f" Left out: {m.prepared.rejected_total:,} ({reasons})." if m.prepared.rejected_total else ""
    return "## Data\n\n" + text(f"{len(m.prepared.classes):,} classes: {total} examples.{rejected}")


def _training(m: Material) -> str:
    rows = content.training(m)
    return "## Training\n\n" + "\n".join(f"- {name}: {text(value)}" for name, value in rows) if rows else ""


def _lineage(m: Material) -> str:
    return "## Lineage\n\n" + "\n".join(f"- {name}: {_code(value)}" for name, value in content.lineage(m))


def _reproduce(m: Material) -> str:
    return f"## Make it again\n\n{_code(content.command(m))}" if m.recipe else ""


def _damaged(m: Material) -> str:
    if not m.damaged:
        return ""
    return text(f"The records of these steps cannot be read: {', '.join(sorted(m.damaged))}.")


PARTS = (
    _verdict, _failure, _rules, _figures, _confusions, _classes, _training, _data, _lineage, _reproduce, _damaged,
)  # fmt: skip
