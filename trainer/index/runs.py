"""What became of every pipeline run of a state folder, read from small documents only: there may be thousands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import Any, Literal

from pydantic_core import to_jsonable_python

from trainer.card.material import Material, document
from trainer.card.numbers import wilson
from trainer.record import Checked, Outcome, Prepared, Promoted, Result, Trained
from trainer.scorecard import Interval
from trainer.state import State, reported

Ending = Result | Literal["unfinished", "damaged"]

WITHOUT_OUTCOME = "It is under way, or it was ended before it could be reported."
DAMAGED = "Its outcome cannot be read: the file is damaged, or a newer version wrote it."
RESUMED = "A later run went on from here."


@dataclass(frozen=True)
class Run:
    """One pipeline run, as far as its documents tell."""

    tick: str
    at: datetime
    """When it ended; for one without an outcome when it began."""
    result: Ending
    reason: str
    model: str | None = None
    run_key: str | None = None
    version: str | None = None
    accuracy: float | None = None
    interval: Interval | None = None
    change: float | None = None
    variant: str | None = None
    images: int | None = None
    training_seconds: float | None = None
    test_digest: str | None = None
    """Of the test split's identities: accuracies under different ones cannot be compared."""
    card: str | None = None
    """Address of its card, relative to the state folder."""

    def as_json(self) -> dict[str, Any]:
        plain: dict[str, Any] = to_jsonable_python(self)
        return plain


def read(state: State) -> list[Run]:
    """All runs, newest first. Errors: StateError (the folder cannot be read)."""
    runs = sorted(_all(state), key=lambda run: (run.at, run.tick), reverse=True)
    cards: set[str] = set()
    shown = []
    for run in runs:
        # A run that was killed and the one that finished its work share a record, and so a card.
        stale = run.card in cards and run.result != "skipped"
        shown.append(replace(run, card=None, reason=f"{_sentence(run.reason)} {RESUMED}") if stale else run)
        if run.card is not None and run.result != "skipped":
            cards.add(run.card)
    return shown


def ticks(state: State) -> dict[str, int]:
    """The runs that have an outcome, with the time of its last change: what tells whether a list of runs is old."""
    found = {}
    for folder in _folders(state):
        outcome = folder / "outcome.json"
        if outcome.exists():
            found[folder.name] = outcome.stat().st_mtime_ns
    return found


def _folders(state: State) -> list[Path]:
    root = state.tick("x").parent
    with reported(root):
        return [path for path in root.iterdir() if path.is_dir()] if root.exists() else []


def _all(state: State) -> Iterator[Run]:
    for folder in _folders(state):
        run = _run(state, folder)
        if run is not None:
            yield run


def _run(state: State, folder: Path) -> Run | None:
    """None for a folder that no run has written to."""
    outcome, path = document(folder, Outcome), folder / "outcome.json"
    if outcome is not None:
        return _reported(state, folder, outcome)
    checked = document(folder, Checked)
    if path.exists():
        return Run(folder.name, _changed(path), "damaged", DAMAGED, _model(checked))
    if checked is None:
        at = folder / "failure.json"
        return Run(folder.name, _changed(at), "unfinished", WITHOUT_OUTCOME) if at.exists() else None
    return Run(folder.name, checked.at, "unfinished", WITHOUT_OUTCOME, _model(checked), checked.run_key)


def _reported(state: State, folder: Path, outcome: Outcome) -> Run:
    run = Run(
        tick=folder.name,
        at=outcome.at or _changed(folder / "outcome.json"),
        result=outcome.result,
        reason=outcome.reason,
        model=outcome.model,
        run_key=outcome.run_key,
        version=outcome.version,
        accuracy=outcome.accuracy,
        interval=outcome.accuracy_interval,
        change=outcome.change,
        card=_address(state, outcome.card),
    )
    return run if run.result == "skipped" or outcome.run_key is None else _with_record(state, run, outcome)


def _with_record(state: State, run: Run, outcome: Outcome) -> Run:
    """With what the record of its work adds. `evaluate.json` is left alone: 1,000 classes make a million cells."""
    record = state.run(outcome.run_key or "")
    prepared = document(state.data(outcome.fingerprint), Prepared) if outcome.fingerprint else None
    trained, promoted = document(record, Trained), document(record, Promoted)
    interval, change = run.interval, run.change
    examples = sum(prepared.counts.get("test", [])) if prepared else 0
    if interval is None and run.accuracy is not None and examples:
        low, high = wilson(run.accuracy, examples)
        interval = Interval(low=low, high=high)
    if promoted is not None and change is None:
        change = next((rule.figure for rule in promoted.verdict.rules if rule.name == "improvement"), None)
    return replace(
        run,
        interval=interval,
        change=change,
        variant=trained.variant if trained else None,
        training_seconds=trained.seconds if trained else None,
        images=sum(map(sum, prepared.counts.values())) if prepared else None,
        test_digest=prepared.identity_digests.get("test") if prepared else None,
    )


def _sentence(reason: str) -> str:
    """With its full stop: a reason may end in a command to type."""
    return reason if reason.endswith((".", "!", "?", "…", ":")) else f"{reason}."


def _model(checked: Checked | None) -> str | None:
    return Material("", "failed", "", Path(), checked=checked).model


def _changed(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _address(state: State, card: str | None) -> str | None:
    """The state folder may have been moved since: a card is found by the last three parts of its path."""
    if card is None:
        return None
    parts = PurePath(card).parts[-3:]
    return "/".join(parts) if len(parts) == 3 and state.root.joinpath(*parts).is_file() else None
