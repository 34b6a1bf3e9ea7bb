"""What the run card says beside the models' figures, as rows of finished text: HTML and Markdown only lay it out."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import Literal

from trainer.card.material import STEPS, Material
from trainer.card.numbers import NOTHING, duration, moment, percent, points, signed
from trainer.gate import Rule
from trainer.record import Trained

RECIPE_FILE = "recipe.toml"
"""The recipe as it was run, written beside the card."""


@dataclass(frozen=True)
class RuleRow:
    name: str
    figure: str
    limit: str
    outcome: str
    explanation: str


@dataclass(frozen=True)
class StepRow:
    name: str
    state: Literal["done", "failed", "not reached"]


def headline(m: Material) -> str:
    """The verdict in a few words."""
    if m.result == "skipped":
        return "Nothing has changed, so nothing was trained"
    if m.failure is not None or m.promoted is None:
        return f"The run failed at the step “{m.failure.step}”" if m.failure else "The run failed"
    holder = m.promoted.champion_after
    if m.result == "promoted":
        first = m.promoted.champion_before is None
        return f"Version {m.promoted.version} is the {'first' if first else 'new'} champion"
    if holder is None:
        return f"Version {m.promoted.version} was kept out, and there is no champion yet"
    if m.result == "undecided":
        return f"Version {holder} stays champion: the test examples cannot tell the two apart"
    return f"Version {holder} stays champion"


def summary(m: Material) -> str:
    """What follows the headline: who was judged, and why it came out so."""
    if m.promoted is None or m.failure is not None:
        return m.reason
    before, after, version = m.promoted.champion_before, m.promoted.champion_after, m.promoted.version
    if m.result != "promoted":
        return f"Version {version} was registered and kept out. {m.reason}"
    opening = f"It takes over from version {before}. " if before is not None else ""
    since = f" Version {after} has taken over since." if after != version and after is not None else ""
    return f"{opening}{m.reason}{since}"


def tiles(m: Material) -> list[tuple[str, str, str]]:
    """The run in a few large figures: label, value, remark."""
    found: list[tuple[str, str, str]] = []
    if m.evaluated is not None:
        ours, theirs = m.evaluated.challenger, m.evaluated.champion
        found.append(("Accuracy", percent(ours.accuracy), f"on {ours.examples:,} test examples"))
        if theirs is not None:
            change = points(ours.accuracy, theirs.accuracy)
            found.append(("Change", change.text, f"points, from the champion's {percent(theirs.accuracy)}"))
        else:
            found.append(("Champion", "none", "there was none to compare with"))
    if m.trained is not None:
        epochs = len(m.trained.epochs)
        networks = f" of {m.trained.members} networks" if m.trained.members > 1 else ""
        found.append(("Training", duration(m.trained.seconds), f"{epochs} epoch{'' if epochs == 1 else 's'}{networks}"))
    if m.prepared is not None:
        images = sum(sum(counts) for counts in m.prepared.counts.values())
        found.append(("Images", f"{images:,}", f"in {len(m.prepared.classes):,} classes"))
    return found


def rules(m: Material) -> list[RuleRow]:
    if m.promoted is None:
        return []
    return [
        RuleRow(r.name, _rule_figure(r), _rule_limit(r), r.outcome, r.explanation) for r in m.promoted.verdict.rules
    ]


def _rule_figure(rule: Rule) -> str:
    if rule.figure is None:
        return NOTHING
    if rule.name == "threshold":
        return percent(rule.figure)
    if rule.name == "improvement":
        return f"{signed(100 * rule.figure, 2)} points"
    return f"p = {rule.figure:.2g}" if rule.name == "significance" else f"{rule.figure:,.6g}"


def _rule_limit(rule: Rule) -> str:
    if rule.limit is None:
        return NOTHING
    if rule.name == "threshold":
        return f"≥ {percent(rule.limit)}"
    if rule.name == "improvement":
        return f"≥ {signed(100 * rule.limit, 2)} points" if rule.limit else "> 0 points"
    return f"p ≤ {rule.limit:g}" if rule.name == "significance" else f"{rule.limit:,.6g}"


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


def lineage(m: Material) -> list[tuple[str, str]]:
    """Everything that says where the model came from."""
    rows: list[tuple[str, str]] = []
    if m.model:
        rows.append(("Model", f"{m.model}, version {m.version}" if m.version else m.model))
    if m.checked:
        rows += [
            ("Run key", m.checked.run_key),
            ("Data fingerprint", m.checked.fingerprint),
            ("Recipe digest", m.checked.config_digest),
            ("Code digest", m.checked.code_digest),
            ("Source", "; ".join(f"{key}: {value}" for key, value in m.checked.source.items())),
            ("Checked", moment(m.checked.at)),
        ]
    if m.trained:
        rows += [("Model address", m.trained.model_uri), ("MLflow run", m.trained.mlflow_run_id)]
    if m.evaluated:
        rows.append(("Test examples", m.evaluated.challenger.test_digest))
    if m.promoted:
        rows.append(("Decided", moment(m.promoted.at)))
        if m.promoted.ledger_entry is not None:
            rows.append(("Ledger entry", str(m.promoted.ledger_entry)))
    rows.append(("Pipeline run", m.tick))
    return rows


def command(m: Material) -> str:
    """What makes this model again, from nothing: a state folder of its own knows of no earlier work."""
    return shlex.join(["inception", "run", str(m.folder / RECIPE_FILE), "--state", "reproduced"])
