"""The verb `report`: how the run ended, and the run card. The exit handler: it runs after success, skip and failure.

It is handed no outputs, so it reads the run record. A record with holes in it gives a card with holes in it, never an
error: the outcome of a run that promoted a model is not to be lost over a picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from trainer import events, record
from trainer.card import content, html, markdown, plots
from trainer.card.material import STEPS, Material, damaged, document, read_mistakes
from trainer.card.recipe_text import as_toml
from trainer.errors import RegistryError, StateError
from trainer.record import Checked, Evaluated, Failure, Outcome, Prepared, Promoted, Registered, Trained
from trainer.registry.ledger import FileLedger
from trainer.registry.protocol import champion
from trainer.state import State, write_atomically

Publish = Callable[[str, Sequence[Path]], None]
"""Takes the MLflow run id and the files of the card."""

CARD = "card.html"
SUMMARY = "card.md"
"""The card as Markdown, beside the HTML."""

SUCCEEDED = "SUCCEEDED"
CANCELLED = ("CANCELED", "CANCELLED", "CANCELING")


def report(state: State, tick: str, status: str, publish: Publish | None = None) -> Outcome:
    """Conclude a pipeline run: write its card (HTML, Markdown, pictures, recipe) and its outcome.

    The card goes into the run's record; into the tick's folder where no run key is known, or where it would replace
    the card of work that was finished before. A skipped run leaves the earlier card as it is.

    Args:
        state: the state folder.
        tick: id of this pipeline run.
        status: how the orchestrator says the rest of the pipeline ended, in KFP's words (`SUCCEEDED`, `FAILED`, …).
        publish: logs the card's files to an MLflow run; its errors are noted and do not count.

    Returns the outcome; its `card` is None where the card could not be written (no space is left, say).
    Errors: StateError where the outcome cannot be written.
    """
    material = gather(state, tick, status)
    earlier = material.folder / CARD
    if material.result == "skipped" and earlier.exists():
        card: Path | None = earlier
    else:
        card = _write(_of_the_work(material), publish)
    outcome = _outcome(material, card, state)
    events.emit("outcome", f"{outcome.result}: {outcome.reason}", **record.as_json(outcome))
    record.write(state.tick(tick), outcome)
    return outcome


def gather(state: State, tick: str, status: str) -> Material:
    """Read the record of a pipeline run and conclude from it how the run ended."""
    at = state.tick(tick)
    checked, own_failure = document(at, Checked), document(at, Failure)
    if checked is None:
        failure = own_failure or _stopped("check", status)
        return Material(tick, "failed", failure.message, at, failure=failure, damaged=damaged({Checked: at}))

    run, data = state.run(checked.run_key), state.data(checked.fingerprint)
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
        damaged=damaged({Prepared: data, Trained: run, Evaluated: run, Registered: run, Promoted: run}),
    )
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


def _of_the_work(material: Material) -> Material:
    """What the card is about. That of a skipped run whose earlier card is gone is made again from the record."""
    promoted = material.promoted
    if material.result != "skipped" or promoted is None:
        return material
    return replace(material, result=promoted.result, reason=promoted.verdict.reason)


def _write(material: Material, publish: Publish | None) -> Path | None:
    files: dict[str, bytes | str] = {
        **_pictures(material),
        SUMMARY: markdown.render(material),
        CARD: html.render(material),
    }
    if material.recipe:
        files[content.RECIPE_FILE] = as_toml(material.recipe)
    paths = [material.folder / name for name in files]
    try:
        for path, text in zip(paths, files.values(), strict=True):
            write_atomically(path, text)
    except StateError as error:
        events.note(f"The run card could not be written. {error}")
        return None
    if publish is not None and material.trained is not None:
        try:
            publish(material.trained.mlflow_run_id, paths)
        except Exception as error:  # a server that is away takes nothing from the run
            events.note(f"The run card could not be logged to MLflow and stays in {material.folder}. {error}")
    return material.folder / CARD


def _pictures(material: Material) -> dict[str, bytes]:
    """The card's plots as files, on a ground of their own."""
    drawings: dict[str, Callable[[], bytes]] = {}
    if material.trained is not None and material.trained.epochs:
        drawings["curves.png"] = partial(plots.curves, material.trained.epochs, chosen=material.trained.chosen_epochs)
    if material.evaluated is not None:
        card = material.evaluated.challenger
        drawings["confusion.png"] = lambda: plots.confusion_matrix(card.classes, card.confusion)
        drawings["reliability.png"] = lambda: plots.reliability(card.reliability)
    pictures = {}
    for name, draw in drawings.items():
        try:
            pictures[name] = draw()
        except Exception as error:  # the card says the same in the picture's place
            events.note(f"{name} could not be drawn ({type(error).__name__}: {error}).")
    return pictures


def _outcome(material: Material, card: Path | None, state: State) -> Outcome:
    checked, failure = material.checked, material.failure
    return Outcome(
        tick=material.tick,
        result=material.result,
        reason=material.reason,
        model=material.model,
        version=material.version,
        accuracy=material.evaluated.challenger.accuracy if material.evaluated else None,
        champion=_champion(material, state),
        run_key=checked.run_key if checked else None,
        fingerprint=checked.fingerprint if checked else None,
        mlflow_run_id=material.trained.mlflow_run_id if material.trained else None,
        card=str(card) if card else None,
        failed_step=failure.step if failure else None,
        remedy=failure.remedy if failure else "",
        seconds=(record.now() - checked.at).total_seconds() if checked else None,
    )


def _champion(material: Material, state: State) -> str | None:
    """The model's champion now, whatever this run did: the ledger's word, or what `promote` last saw of it."""
    seen = material.promoted.champion_after if material.promoted else None
    if material.model is None:
        return seen
    try:
        return champion(FileLedger(state.ledger(material.model)).read().entries) or seen
    except (RegistryError, StateError):
        return seen
