"""The verb `report`: how the run ended, and the run card. The exit handler: it runs after success, skip and failure.

It is handed no outputs, so it reads the run record. A record with holes in it gives a card with holes in it, never an
error: the outcome of a run that promoted a model is not to be lost over a picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from trainer import events, notifications, record
from trainer.card import html, markdown, matrix, plots
from trainer.card.comparison import accuracy_interval
from trainer.card.gathering import gather, of_the_work
from trainer.card.lineage import RECIPE_FILE
from trainer.card.material import Material
from trainer.card.recipe_text import as_toml
from trainer.errors import StateError
from trainer.index.page import refresh
from trainer.record import Outcome
from trainer.registry.protocol import champion
from trainer.state import State, write_atomically
from trainer.storage import store_address

Publish = Callable[[str, Sequence[Path]], None]
"""Takes the MLflow run id and the files of the card."""

CARD = "card.html"
SUMMARY = "card.md"
"""The card as Markdown, beside the HTML."""


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
        card = write_card(material, publish)
    outcome = _outcome(material, card)
    events.emit("outcome", f"{outcome.result}: {outcome.reason}", **record.as_json(outcome))
    record.write(state.tick(tick), outcome)
    _refresh_index(state)
    notifications.tell(state, outcome)
    return outcome


def write_card(material: Material, publish: Publish | None = None) -> Path | None:
    """Write the card's files into the material's folder. Returns its path, None where it could not be written."""
    material = of_the_work(material)
    files: dict[str, bytes | str] = {
        **_pictures(material),
        SUMMARY: markdown.render(material),
        CARD: html.render(material),
    }
    if material.recipe:
        files[RECIPE_FILE] = as_toml(material.recipe)
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
        drawings["confusion.png"] = lambda: matrix.confusion_matrix(card.classes, card.confusion)
        drawings["reliability.png"] = lambda: plots.reliability(card.reliability)
    pictures = {}
    for name, draw in drawings.items():
        try:
            pictures[name] = draw()
        except Exception as error:  # the card says the same in the picture's place
            events.note(f"{name} could not be drawn ({type(error).__name__}: {error}).")
    return pictures


def _refresh_index(state: State) -> None:
    if store_address() is not None:
        return  # `inception report` makes it where somebody looks: here it would have to fetch all runs
    try:
        refresh(state)
    except Exception as error:  # a list of all runs that cannot be made takes nothing from this one
        events.note(f"The index page could not be written ({type(error).__name__}: {error}).")


def _outcome(material: Material, card: Path | None) -> Outcome:
    checked, failure = material.checked, material.failure
    return Outcome(
        tick=material.tick,
        result=material.result,
        reason=material.reason,
        model=material.model,
        version=material.version,
        accuracy=material.evaluated.challenger.accuracy if material.evaluated else None,
        champion=_champion(material),
        run_key=checked.run_key if checked else None,
        fingerprint=checked.fingerprint if checked else None,
        mlflow_run_id=material.trained.mlflow_run_id if material.trained else None,
        card=str(card) if card else None,
        failed_step=failure.step if failure else None,
        remedy=failure.remedy if failure else "",
        seconds=(record.now() - checked.at).total_seconds() if checked else None,
        accuracy_interval=accuracy_interval(material.evaluated.challenger) if material.evaluated else None,
        change=material.pair[0].accuracy - material.pair[1].accuracy if material.pair else None,
        at=record.now(),
    )


def _champion(material: Material) -> str | None:
    """The model's champion now, whatever this run did: the ledger's word, or what `promote` last saw of it."""
    seen = material.promoted.champion_after if material.promoted else None
    return champion(material.ledger) or seen
