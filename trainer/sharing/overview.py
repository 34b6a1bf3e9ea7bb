"""All runs of a store, as far as a list of them needs: small documents, and the cards of the newest."""

from __future__ import annotations

from pathlib import PurePosixPath

from trainer import record
from trainer.record import NAMES, Checked, Failure, Outcome, Prepared, Promoted, Trained
from trainer.sharing.mirror import Mirrors, Wanted
from trainer.state import State

CARDS = 50
"""Of so many runs that ended last; another's is fetched when it is asked for."""
_CARD = "card.html"


def fetch(state: State, mirrors: Mirrors) -> None:
    """Errors: StateError (out of reach, no room)."""
    mirrors.apart(state.root / "ticks").fetch(_called(*(f"{NAMES[kind]}.json" for kind in (Outcome, Checked, Failure))))
    newest = _newest(state)
    documents = _called(*(f"{NAMES[kind]}.json" for kind in (Trained, Promoted)))
    mirrors.apart(state.root / "runs").fetch(lambda name: documents(name) or name in newest)
    mirrors.apart(state.root / "ticks").fetch(lambda name: name in newest)
    mirrors.apart(state.root / "data").fetch(_called(f"{NAMES[Prepared]}.json"))


def _newest(state: State) -> set[str]:
    """Names of the cards of the runs that ended last, below `runs` or `ticks`."""
    found = (record.find(folder, Outcome) for folder in (state.root / "ticks").glob("*") if folder.is_dir())
    ended = [one for one in found if one is not None and one.at is not None and one.card is not None]
    ended.sort(key=lambda one: one.at or record.now(), reverse=True)
    return {"/".join(PurePosixPath(one.card or "").parts[-2:]) for one in ended[:CARDS]}


def _called(*names: str) -> Wanted:
    return lambda name: PurePosixPath(name).name in names and name.count("/") == 1
