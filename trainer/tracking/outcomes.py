"""How a run ended, beside its card in MLflow: who is not at the state folder finds both by the pipeline run's id."""

from __future__ import annotations

import tempfile
from pathlib import Path

from pydantic import ValidationError

from trainer import events
from trainer.errors import RegistryError
from trainer.patience import HASTY_SECONDS, alone, patiently
from trainer.record import NAMES, Outcome
from trainer.state import State, write_atomically
from trainer.tracking.artifacts import log_card
from trainer.tracking.connection import SERVER_REMEDY, answering, asked, connect

TICK_TAG = "tick"
"""Of the MLflow run: the pipeline run that concluded it last."""
_FILE = f"{NAMES[Outcome]}.json"
_CARD = "card/card.html"


def log_outcome(state: State, outcome: Outcome) -> None:
    """Put an outcome beside the card that its MLflow run has. A skipped run made neither.

    What goes wrong is noted and does not count: the outcome is in the state folder.
    """
    run_id = outcome.mlflow_run_id
    if run_id is None or outcome.result == "skipped":
        return
    try:
        log_card(state, run_id, [state.tick(outcome.tick) / _FILE])
        address = connect(state)
        from mlflow import MlflowClient

        asked(
            state,
            lambda: MlflowClient().set_tag(run_id, TICK_TAG, outcome.tick),
            f"The MLflow store at {address} refused to tag the run {run_id}",
        )
    except RegistryError as error:
        events.note(f"The outcome could not be logged to MLflow. {error}")


def fetch_outcome(address: str, tick: str, folder: Path) -> Outcome | None:
    """The outcome of a pipeline run from an MLflow server, and its card as `card.html` into a folder.

    Args:
        address: of the server.
        tick: id of the pipeline run.
        folder: is made for the card.

    Returns the outcome, whose `card` is the file here, None where the run has none; None where no MLflow run knows of
    the pipeline run.
    Errors: RegistryError (out of reach, refused), StateError (the card cannot be written).
    """
    with alone(), answering(f"The MLflow store at {address} refused to give the run card", SERVER_REMEDY):
        found = patiently(address, lambda: _fetched(address, tick), HASTY_SECONDS)
    if found is None:
        return None
    outcome, card = found
    if card is not None:
        write_atomically(folder / "card.html", card)
    return outcome.model_copy(update={"card": str(folder / "card.html") if card is not None else None})


def _fetched(address: str, tick: str) -> tuple[Outcome, bytes | None] | None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=address)
    # A run that Kubeflow opened and handed over lies in an experiment of Kubeflow's choice.
    experiments = [one.experiment_id for one in client.search_experiments()]
    runs = client.search_runs(experiments, f"tags.{TICK_TAG} = '{tick}'", max_results=1)
    if not runs:
        return None
    run_id = runs[0].info.run_id
    there = {one.path for one in client.list_artifacts(run_id, "card")}
    with tempfile.TemporaryDirectory() as temporary:

        def content(path: str) -> bytes | None:
            return Path(client.download_artifacts(run_id, path, temporary)).read_bytes() if path in there else None

        document = content(f"card/{_FILE}")
        try:
            outcome = Outcome.model_validate_json(document or b"")
        except ValidationError:  # another version's
            return None
        return outcome, content(_CARD)
