"""The card of one run, found by what people call it by, and made from the record where it is missing."""

from __future__ import annotations

from pathlib import Path

from trainer import sharing
from trainer.card.gathering import SUCCEEDED, gather
from trainer.errors import StateError, UsageError
from trainer.index.runs import Run, read
from trainer.report import CARD, write_card
from trainer.state import State
from trainer.storage import store_address

LATEST = "latest"


def find(state: State, name: str) -> Run:
    """The newest run with this tick, with this run key, or with a run key that begins so; `latest` is the newest.

    Runs that found nothing changed count only where they are asked for by their tick.

    Errors: UsageError (there is none, or several run keys begin so), StateError.
    """
    sharing.fetch_runs(state)
    runs = read(state)
    worked = [run for run in runs if run.result != "skipped"]
    if name == LATEST:
        matching = worked or runs
    else:
        matching = [run for run in runs if run.tick == name] or [
            run for run in worked if run.run_key is not None and run.run_key.startswith(name)
        ]
    if not matching:
        known = ", ".join(str(run.run_key or run.tick) for run in worked[:5])
        raise UsageError(
            f"There is no run {name!r} in {state.root}." if runs else f"There is no run in {state.root} yet.",
            f"The newest are: {known}." if known else "Make one: inception run configs/digits.toml",
        )
    keys = {run.run_key for run in matching}
    if len(keys) > 1 and name != LATEST:
        raise UsageError(
            f"{len(keys)} run keys begin with {name!r}: {', '.join(sorted(str(key) for key in keys))}.",
            "Give more of the key.",
        )
    return matching[0]


def _with_card(state: State, run: Run) -> Run:
    """The run with the card that only the store has, where that is so."""
    if run.card is not None or store_address() is None:
        return run
    for folder in (state.tick(run.tick), *([state.run(run.run_key)] if run.run_key else [])):
        sharing.fetch(state, folder, sharing.named(CARD))
    return next((one for one in read(state) if one.tick == run.tick), run)


def card(state: State, run: Run, anew: bool = False) -> Path:
    """Path of the run's card; one that is missing, or asked for anew, is made from the record.

    Errors: StateError (the run has not ended, or the card cannot be written).
    """
    if not anew:
        run = _with_card(state, run)
    if run.card is not None and not anew:
        return state.root / run.card
    if run.result == "unfinished":
        raise StateError(
            f"The run {run.tick} has no card: it is under way, or it was ended before it could be reported.",
            "Wait for its end, or run its recipe again: that goes on where it stopped and ends with a card.",
        )
    material = gather(state, run.tick, "FAILED" if run.result == "failed" else SUCCEEDED)
    path = material.folder / CARD
    if path.exists() and not anew:
        return path
    written = write_card(material)
    if written is None:
        raise StateError(f"The card {path} could not be written.", "See the note above for the reason.")
    return written
