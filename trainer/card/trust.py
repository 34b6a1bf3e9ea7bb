"""Can the figures be trusted: what was checked about the comparison itself, and what the decision cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trainer.card.material import Material
from trainer.card.numbers import count_of
from trainer.gate import spent

MANY_ALIKE = 0.05
"""Pairs that look alike, per test example, from which on the accuracy may flatter by more than its interval is wide.
Few such pairs are in every collection of digits or faces, and a warning in every run is read by nobody."""


@dataclass(frozen=True)
class TrustRow:
    name: str
    finding: str
    state: Literal["good", "bad", "neutral"]


def trust(m: Material) -> list[TrustRow]:
    """One row per check that was made; what was not checked is not said to be fine."""
    return [*_golden(m), *_champions_training(m), *_near_duplicates(m), *_budget(m)]


def _golden(m: Material) -> list[TrustRow]:
    golden = m.evaluated.golden if m.evaluated else None
    if golden is None:
        return []
    same = golden.difference <= golden.tolerance
    return [
        TrustRow(
            "What was judged is what was trained",
            f"On {count_of(golden.images, 'golden image', 'golden images')} the registered model's answers differ from "
            f"the trained one's by at most {golden.difference:.2g} (allowed: {golden.tolerance:.2g}).",
            "good" if same else "bad",
        )
    ]


def _champions_training(m: Material) -> list[TrustRow]:
    e = m.evaluated
    if e is None or e.champion_version is None:
        return []
    name = "The champion never saw the test images"
    if e.shared_with_training is None:
        return [TrustRow(name, f"What version {e.champion_version} was trained on is not recorded.", "neutral")]
    shared = count_of(e.shared_with_training, "test example was", "test examples were")
    finding = (
        "None of the test examples was in its training." if not e.shared_with_training else f"{shared} in its training."
    )
    return [TrustRow(name, finding, "bad" if e.shared_with_training else "good")]


def _near_duplicates(m: Material) -> list[TrustRow]:
    # Records of before this search have the field's default, which says nothing.
    if m.prepared is None or "near_duplicates_total" not in m.prepared.model_fields_set:
        return []
    total = m.prepared.near_duplicates_total
    finding = (
        f"{count_of(total, 'pair', 'pairs')} of a training and a test image look alike: see the data below."
        if total
        else "No training image looks like a test image (perceptual hash)."
    )
    state: Literal["good", "bad", "neutral"] = "bad" if many_alike(m) else "neutral" if total else "good"
    return [TrustRow("The test images are new to the challenger", finding, state)]


def many_alike(m: Material) -> bool:
    """Whether so many training images look like test images that the accuracy says less than it seems to."""
    if m.prepared is None:
        return False
    return m.prepared.near_duplicates_total > MANY_ALIKE * sum(m.prepared.counts.get("test", []))


def _budget(m: Material) -> list[TrustRow]:
    if m.entry is None or m.entry.trial is None:
        return []
    trial = m.entry.trial
    until = [one for one in m.ledger if one.number <= m.entry.number]
    total = spent(until, trial.test_digest, trial.examples)
    times = sum(one.trial is not None and one.trial.test_digest == trial.test_digest for one in until)
    budget = _number(m, "budget")
    of = f" of the budget of {budget:.3g}" if budget is not None else ""
    finding = (
        f"This decision risked a false promotion with a chance of at most {trial.level:.2g}. With it {total:.3g}{of} "
        f"is spent ({count_of(times, 'decision', 'decisions')} on these {trial.examples:,} test examples)."
    )
    state: Literal["bad", "neutral"] = "bad" if budget is not None and total > budget * (1 + 1e-9) else "neutral"
    return [TrustRow("Error budget of the test images", finding, state)]


def _number(m: Material, key: str) -> float | None:
    section = m.recipe.get("gate")
    value = section.get(key) if isinstance(section, dict) else None
    return float(value) if isinstance(value, int | float) else None
