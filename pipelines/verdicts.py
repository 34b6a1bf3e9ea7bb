"""What became of the runs on a cluster: a pipeline server knows no verdicts, the promotion ledger does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pipelines.environments import Environment
from trainer.errors import InceptionError
from trainer.registry.protocol import Entry, Ledger
from trainer.registry.stores import FileLedger, GoogleLedger
from trainer.storage import SCHEME
from trainer.storage.google import hastily

WORDS = {"promote": "promoted", "keep": "kept"}
"""Events of the ledger that a run makes, in the words of a run."""


def verdicts(environment: Environment, model: str, say: Callable[[str], None]) -> dict[str, Entry]:
    """The decisions of a model's runs, by run; none where the environment keeps its ledgers in a volume.

    Args:
        environment: names the ledgers' place.
        model: whose ledger.
        say: is told where the ledger cannot be read.
    """
    place, state = environment.store.ledgers, environment.store.state
    if place is None and state is not None and state.startswith(SCHEME):
        place = f"{state.rstrip('/')}/ledger"
    if place is None:
        return {}
    ledger: Ledger = (
        GoogleLedger(f"{place.rstrip('/')}/{model}.json")
        if place.startswith(SCHEME)
        else FileLedger(Path(place) / f"{model}.json")
    )
    try:
        with hastily():
            entries = ledger.read().entries
    except InceptionError as error:
        say(f"The verdicts are not known here: {error.message}")
        return {}
    return {entry.tick: entry for entry in entries if entry.tick is not None and entry.event in WORDS}
