"""Reading a pipeline run's record, and concluding from it how the run ended."""

from __future__ import annotations

from dataclasses import replace

from trainer import record, sharing
from trainer.card.material import STEPS, Material, damaged, document, read_mistakes, read_sides
from trainer.events import note
from trainer.record import Checked, Evaluated, Failure, Prepared, Promoted, Registered, Trained
from trainer.registry import ledger_of
from trainer.registry.protocol import Entry
from trainer.state import State

SUCCEEDED = "SUCCEEDED"
CANCELLED = ("CANCELED", "CANCELLED", "CANCELING")


def gather(state: State, tick: str, status: str) -> Material:
    """Read the record of a pipeline run and conclude from it how the run ended."""
    at = state.tick(tick)
    sharing.fetch(state, at)
    checked, own_failure = document(at, Checked), document(at, Failure)
    if checked is None:
        failure = own_failure or _stopped("check", status)
        return Material(tick, "failed", failure.message, at, failure=failure, damaged=damaged({Checked: at}))

    run, data = state.run(checked.run_key), state.data(checked.fingerprint)
    for folder in (run, data, state.failed_data(checked.fingerprint)):
        sharing.fetch(state, folder)
    evaluated, promoted = document(run, Evaluated), document(run, Promoted)
    known = Material(
        tick,
        "skipped",
        checked.reason,
        run,
        checked=checked,
        prepared=document(data, Prepared),
        trained=document(run, Trained),
        evaluated=evaluated,
        registered=document(run, Registered),
        promoted=promoted,
        mistakes=read_mistakes(run, evaluated),
        sides=read_sides(run, evaluated),
        damaged=damaged({Prepared: data, Trained: run, Evaluated: run, Registered: run, Promoted: run}),
    )
    known = replace(known, ledger=entries(state, known.model))
    if checked.decision == "skip" and own_failure is None:
        return known if promoted else replace(known, folder=at)
    # A step is given the run key, or the fingerprint, or the tick, and that is where it leaves its failure.
    failed = own_failure or document(run, Failure) or document(state.failed_data(checked.fingerprint), Failure)
    # A promotion that is older than this run is an earlier try's, unless this run came through and let it stand.
    if failed is None and promoted is not None and (status == SUCCEEDED or promoted.at >= checked.at):
        return replace(known, result=promoted.result, reason=promoted.verdict.reason)
    failure = failed or _stopped(next((step for step in STEPS if known.document(step) is None), STEPS[-1]), status)
    folder = at if promoted else run
    return replace(known, result="failed", reason=failure.message, failure=failure, folder=folder)


def _stopped(step: str, status: str) -> Failure:
    """The failure of a run that left neither a decision nor an error: its last step was ended from outside."""
    how = "was cancelled" if status.upper() in CANCELLED else "stopped without a word (killed, or out of memory)"
    return Failure(
        step=step,
        message=f"The run {how} at the step {step}.",
        remedy="Run again: the next run goes on where this one stopped.",
        traceback="",
        at=record.now(),
    )


def of_the_work(material: Material) -> Material:
    """What the card is about. That of a skipped run whose earlier card is gone is made again from the record."""
    promoted = material.promoted
    if material.result != "skipped" or promoted is None:
        return material
    return replace(material, result=promoted.result, reason=promoted.verdict.reason)


def entries(state: State, model: str | None) -> tuple[Entry, ...]:
    """What the model's ledger holds; nothing where it cannot be read: the card is made all the same."""
    if model is None:
        return ()
    try:
        return ledger_of(state, model).read().entries
    except Exception as error:  # a store that is out of reach takes nothing from the run
        note(f"The promotion ledger of {model} could not be read ({error}).")
        return ()
