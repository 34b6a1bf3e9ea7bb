"""The work behind the model, as rows of finished text: how far the run came, its training, its data."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import Literal

from trainer.card.material import STEPS, Material
from trainer.card.numbers import duration, percent
from trainer.record import Trained


@dataclass(frozen=True)
class StepRow:
    name: str
    state: Literal["done", "failed", "not reached"]


def count_rows(m: Material) -> tuple[list[str], list[tuple[str, list[int]]]]:
    """Names of the splits, and per class its examples in each; the last row is the sum."""
    if m.prepared is None:
        return [], []
    splits = list(m.prepared.counts)
    columns = [m.prepared.counts[split] for split in splits]
    rows = [(name, [column[index] for column in columns]) for index, name in enumerate(m.prepared.classes)]
    return splits, [*rows, ("all", [sum(column) for column in columns])]


def rejections(m: Material) -> list[tuple[str, int]]:
    """Reasons why images were left out, with how many of the listed ones each explains, commonest first."""
    return Counter(rejected.reason for rejected in m.prepared.rejected).most_common() if m.prepared else []


def training(m: Material) -> list[tuple[str, str]]:
    """How the challenger came about."""
    t = m.trained
    if t is None:
        return []
    best = max(t.epochs, key=lambda epoch: epoch.validation_accuracy, default=None)
    rows = [
        ("Network", f"{t.variant}, {t.image_size}×{t.image_size} pixels"),
        ("Parameters", _parameters(t.parameters, t.training_parameters)),
        ("Epochs", f"{_epochs(t)}{_resumed(t.resumed_from_epoch)}"),
        ("Time", duration(t.seconds)),
        ("Device", f"{t.device}, {t.precision}"),
    ]
    if best is not None:
        rows.insert(3, ("Best validation", f"{percent(best.validation_accuracy)} in epoch {best.epoch}"))
        # The first epoch compiles; the median is the speed of all the others.
        rows.append(("Speed", f"{median(epoch.images_per_second for epoch in t.epochs):,.0f} images/s"))
    waits = [epoch.input_wait for epoch in t.epochs if epoch.input_wait is not None]
    if waits:
        rows.append(("Waiting for images", f"{100 * median(waits):.1f} % of the time"))
    rows += [("Restart", restart) for restart in t.restarts]
    return rows


def _epochs(trained: Trained) -> str:
    """How many, of each network; and whose weights are kept, where those are not the last one's."""
    last = Counter(epoch.member for epoch in trained.epochs)
    each = " + ".join(str(count) for count in last.values())
    kept = [f"{number}" for number, count in zip(trained.chosen_epochs, last.values(), strict=False) if number != count]
    return f"{each}, kept: epoch {' and '.join(kept)}" if kept else each


def _parameters(exported: int, trained: int) -> str:
    more = f" ({trained:,} while training, with the auxiliary classifiers)" if trained != exported else ""
    return f"{exported:,}{more}"


def _resumed(epoch: int | None) -> str:
    return "" if epoch is None else f", resumed from epoch {epoch}"


def steps(m: Material) -> list[StepRow]:
    """How far the run came."""
    rows: list[StepRow] = []
    for step in STEPS:
        if m.failure is not None and m.failure.step == step:
            rows.append(StepRow(step, "failed"))
        elif any(row.state == "failed" for row in rows) or m.document(step) is None:
            rows.append(StepRow(step, "not reached"))
        else:
            rows.append(StepRow(step, "done"))
    return rows
