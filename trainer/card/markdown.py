"""The run card as Markdown, short enough for an orchestrator's page: no pictures, the long tables cut."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from trainer.card import comparison, content, figures, lineage, verdict
from trainer.card.material import Material
from trainer.card.numbers import NOTHING, Change
from trainer.card.trust import trust

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
    return f"# {text(verdict.headline(m))}\n\n**{m.result.upper()}**{of}\n\n{text(verdict.summary(m))}{_cautions(m)}"


def _cautions(m: Material) -> str:
    return "".join(f"\n\n> ⚠ {text(caution)}" for caution in verdict.cautions(m))


def _failure(m: Material) -> str:
    if m.failure is None:
        return ""
    way = " → ".join(f"{row.name} ({row.state})" for row in content.steps(m))
    remedy = f"\n\n**What to do:** {text(m.failure.remedy)}" if m.failure.remedy else ""
    return f"{way}{remedy}"


def _rules(m: Material) -> str:
    rows = [(r.name, r.outcome, r.figure, r.limit, r.explanation) for r in verdict.rules(m)]
    return (
        "## The rules\n\n" + _table(["Rule", "Outcome", "Found", "Asked for", "In words"], [2, 3], rows) if rows else ""
    )


def _figures(m: Material) -> str:
    if m.evaluated is None:
        return ""
    examples = f"On {m.evaluated.challenger.examples:,} frozen test examples."
    if m.evaluated.champion is None:
        rival = "" if m.evaluated.champion_version else " There was no champion to compare with."
        rows: list[tuple[object, ...]] = [(row.name, row.challenger, row.interval) for row in figures.figures(m)]
        return f"## Figures\n\n{examples}{rival}\n\n{_table(['Figure', 'Challenger', 'Interval'], [1, 2], rows)}"
    head = ["Figure", "Challenger", "Interval", f"Champion (version {text(m.evaluated.champion_version)})", "Change"]
    rows = [(r.name, r.challenger, r.interval, r.champion, _change(r.change)) for r in figures.figures(m)]
    return f"## Challenger and champion\n\n{examples}\n\n{_table(head, [1, 2, 3, 4], rows)}"


def _costs(m: Material) -> str:
    rows = comparison.costs(m)
    if not rows:
        return ""
    lines = []
    for row in rows:
        spread = f" ({row.spread})" if row.spread else ""
        rival = "" if row.champion == NOTHING else f", champion {row.champion}, ratio {row.ratio}{spread}"
        lines.append(f"- {row.name}: {text(row.challenger + rival)}")
    return "## Speed and size\n\n" + "\n".join(lines)


def _class_change(m: Material) -> str:
    said = comparison.class_changes(m)
    return "## The classes have changed\n\n" + "\n".join(f"- {text(one)}" for one in said) if said else ""


def _sides(m: Material) -> str:
    words = comparison.sides(m)
    return f"## Images that changed sides\n\n{text(words)}" if words else ""


def _trust(m: Material) -> str:
    signs = {"good": "✓", "bad": "✗", "neutral": "○"}
    rows = [] if m.evaluated is None else [f"- {signs[row.state]} {row.name}: {text(row.finding)}" for row in trust(m)]
    return "## Can the comparison be trusted?\n\n" + "\n".join(rows) if rows else ""


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
    if m.pair is not None:
        head.append("Change of recall")
        for line, row in zip(cells, rows, strict=False):
            line.append(_change(row.recall_change))
    return "## Class by class\n\n" + _table(head, range(1, len(head)), cells) + _cut(rows)


def _slices(m: Material) -> str:
    """The worst part of every column."""
    rows = []
    for column, parts in comparison.slices(m):
        worst = min(parts, key=lambda part: part.share)
        rows.append((column, worst.value, worst.count, worst.accuracy, comparison.share_range(worst.interval)))
    head = ["By", "Worst part", "Examples", "Accuracy", "Interval"]
    return "## Where it is worst\n\n" + _table(head, [2, 3, 4], rows) if rows else ""


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
    return "## Lineage\n\n" + "\n".join(f"- {name}: {_code(value)}" for name, value in lineage.lineage(m))


def _reproduce(m: Material) -> str:
    return f"## Make it again\n\n{_code(lineage.command(m))}" if m.recipe else ""


PARTS = (
    _verdict, _failure, _rules, _figures, _class_change, _costs, _sides, _trust, _confusions, _classes, _slices,
    _training, _data, _lineage, _reproduce,
)  # fmt: skip
