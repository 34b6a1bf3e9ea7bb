"""The verdict in words: what became of the run, why, what to look at twice, and the rules that decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trainer.card.comparison import interval_text
from trainer.card.material import Material
from trainer.card.numbers import NOTHING, bytes_text, count_of, duration, percent, points, signed
from trainer.card.trust import many_alike
from trainer.gate import Rule


@dataclass(frozen=True)
class RuleRow:
    name: str
    figure: str
    limit: str
    outcome: str
    explanation: str


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
        return f"Version {holder} stays champion: {_undecided(m)}"
    return f"Version {holder} stays champion"


def _undecided(m: Material) -> str:
    open_ = {rule.name for rule in m.promoted.verdict.rules if rule.outcome == "undecided"} if m.promoted else set()
    if open_ & {"significance", "effect"}:
        return "the test examples cannot tell the two apart"
    return "this run could not be decided"


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


def cautions(m: Material) -> list[str]:
    """What a reader must know before trusting the figures below; empty where all is well."""
    found = [f"The record of the step “{step}” cannot be read." for step in sorted(m.damaged)]
    e = m.evaluated
    if e is not None:
        if e.incomparable:
            found.append(f"It was not compared with the champion, version {e.champion_version}: {e.incomparable}")
        if e.class_change is not None:
            common = count_of(len(e.class_change.common), "class", "classes")
            found.append(
                f"The classes have changed since the champion: the two are compared on the {common} both know."
            )
        if e.shared_with_training:
            shared = count_of(e.shared_with_training, "test example was", "test examples were")
            found.append(f"{shared} in the champion's training: its figures are too good.")
        if e.golden is not None and e.golden.difference > e.golden.tolerance:
            found.append("The registered model does not answer its golden images as the trained one did.")
        if m.promoted is not None and m.promoted.champion_before != e.champion_version:
            found.append(
                f"When it was decided, version {m.promoted.champion_before} had become champion: the rules are about "
                f"that one, the figures about version {e.champion_version}."
                if m.promoted.champion_before
                else "When it was decided, there was no champion any more: the rules are about the challenger alone."
            )
    if m.prepared is not None and many_alike(m):
        pairs = count_of(m.prepared.near_duplicates_total, "pair", "pairs")
        found.append(f"{pairs} of a training and a test image look alike: the accuracy may flatter.")
    return found


def tiles(m: Material) -> list[tuple[str, str, str]]:
    """The run in a few large figures: label, value, remark."""
    found: list[tuple[str, str, str]] = []
    pair = m.pair
    if m.evaluated is not None:
        ours = m.evaluated.challenger
        range_ = interval_text(ours, "accuracy")
        found.append(("Accuracy", percent(ours.accuracy), f"{range_} on {ours.examples:,} test examples"))
        if pair is not None:
            change = points(pair[0].accuracy, pair[1].accuracy)
            scope = " on the classes both know" if m.evaluated.class_change else ""
            found.append(("Change", change.text, f"points, from the champion's {percent(pair[1].accuracy)}{scope}"))
        elif m.evaluated.champion_version is None:
            found.append(("Champion", "none", "there was none to compare with"))
        if ours.size_bytes is not None:
            found.append(("Model size", bytes_text(ours.size_bytes), m.trained.variant if m.trained else ""))
    if m.trained is not None:
        epochs = len(m.trained.epochs)
        networks = f" of {m.trained.members} networks" if m.trained.members > 1 else ""
        found.append(("Training", duration(m.trained.seconds), f"{count_of(epochs, 'epoch', 'epochs')}{networks}"))
    if m.prepared is not None:
        images = sum(sum(counts) for counts in m.prepared.counts.values())
        found.append(("Images", f"{images:,}", f"in {count_of(len(m.prepared.classes), 'class', 'classes')}"))
    return found


# ------------------------------------------------------------------ the rules

Unit = Literal["share", "points", "fall", "chance", "ratio", "error", "small", "count", "plain"]

_UNITS: dict[str, Unit] = {
    "scored": "count",
    "golden": "small",
    "comparable": "count",
    "threshold": "share",
    "improvement": "points",
    "effect": "points",
    "significance": "chance",
    "class drop": "fall",
    "calibration": "error",
    "latency": "ratio",
    "size": "ratio",
}
"""What a rule's figure counts; a rule that is not here shows its bare number."""
_AT_LEAST = frozenset({"scored", "threshold", "improvement", "effect"})
"""Rules whose limit is a lower bound; that of the others in `_UNITS` is an upper one."""
_URGENCY = ("fail", "undecided", "pass", "not applicable")


def rules(m: Material) -> list[RuleRow]:
    """What decided comes first, what did not apply comes last."""
    if m.promoted is None:
        return []
    ordered = sorted(m.promoted.verdict.rules, key=lambda rule: _URGENCY.index(rule.outcome))
    return [RuleRow(_words(r.name), _figure(r), _limit(r), r.outcome, r.explanation) for r in ordered]


def _words(name: str) -> str:
    return name.replace("_", " ")


def _figure(rule: Rule) -> str:
    return NOTHING if rule.figure is None else _in_unit(rule.figure, _UNITS.get(_words(rule.name), "plain"))


def _limit(rule: Rule) -> str:
    name = _words(rule.name)
    unit = _UNITS.get(name, "plain")
    if rule.limit is None:
        return NOTHING
    if unit == "plain":
        return _in_unit(rule.limit, unit)
    if unit == "chance":
        return f"p ≤ {rule.limit:.3g}"
    if name in _AT_LEAST:
        # A limit of nothing still asks for something: ties keep.
        return f"≥ {_in_unit(rule.limit, unit)}" if rule.limit or unit != "points" else "> 0 points"
    return f"≤ {_in_unit(rule.limit, unit)}"


def _in_unit(value: float, unit: Unit) -> str:
    words = {
        "share": percent(value),
        "points": f"{signed(100 * value, 2)} points",
        "fall": f"{100 * value:.2f} points".replace("-", "−"),
        "chance": f"p = {value:.2g}",
        "ratio": f"{value:.2f} ×",
        "error": f"{value:.4f}",
        "small": f"{value:.2g}",
        "count": f"{value:,.0f}",
        "plain": f"{value:,.6g}",
    }
    return words[unit]
