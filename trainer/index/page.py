"""The index page as one HTML file beside the runs it links to: no script, no request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from trainer import record, sharing
from trainer.card import numbers
from trainer.card.html import environment, style
from trainer.errors import RegistryError
from trainer.events import note
from trainer.index.champions import Reign, reigns
from trainer.index.chart import Chart, chart
from trainer.index.runs import Run, read, ticks
from trainer.registry import ledger_of
from trainer.registry.protocol import Entry, champion
from trainer.state import State, write_atomically

SHOWN = 50
"""Runs of a model that are shown at once; the older ones unfold."""
_TRIES = 5
"""So often at most is the page written again because a run ended meanwhile: its own report writes it too."""


@dataclass(frozen=True)
class Group:
    """The runs of one model."""

    model: str | None
    """None: they failed before their model was known."""
    runs: Sequence[Run]
    """Those that had something to do, newest first."""
    skipped: Sequence[Run]
    """Those that found nothing changed, newest first."""
    champion: str | None
    reigns: Sequence[Reign]
    chart: Chart | None

    @property
    def newest(self) -> datetime:
        return max(run.at for run in (*self.runs[:1], *self.skipped[:1]))

    @property
    def since(self) -> datetime | None:
        """When the champion became that; None where the ledger does not say."""
        return next((one.at for one in reversed(self.reigns) if one.version != one.previous), None)

    @property
    def champions_run(self) -> Run | None:
        """The run that made the champion, where this state folder has it."""
        return next((run for run in self.runs if run.version == self.champion and run.accuracy is not None), None)


def groups(state: State, runs: Sequence[Run]) -> list[Group]:
    """By model, the one with the newest run first."""
    by_model: dict[str | None, list[Run]] = {}
    for run in runs:
        by_model.setdefault(run.model, []).append(run)
    ledgers = _ledgers(state, [model for model in by_model if model is not None])
    found = []
    for model, own in by_model.items():
        ledger = ledgers.get(model, ())
        worked = [run for run in own if run.result != "skipped"]
        history = reigns(ledger, worked)
        skipped = [run for run in own if run.result == "skipped"]
        found.append(Group(model, worked, skipped, champion(ledger), history, _chart(history)))
    return sorted(found, key=lambda group: group.newest, reverse=True)


def _chart(history: Sequence[Reign]) -> Chart | None:
    return chart([reign for reign in history if reign.version != reign.previous], record.now())


def _ledgers(state: State, models: Sequence[str]) -> dict[str | None, tuple[Entry, ...]]:
    """What the models' ledgers hold; a damaged one holds nothing, and a store out of reach is not asked for each."""
    found: dict[str | None, tuple[Entry, ...]] = {}
    for model in models:
        try:
            found[model] = ledger_of(state, model).read().entries
        except RegistryError as error:
            note(f"The index page shows no champions of {model}. {error}")
        except Exception as error:
            note(f"The index page shows no champions from {model} on ({error}).")
            break
    return found


def render(state: State, runs: Sequence[Run]) -> str:
    templates = environment(Path(__file__).parent / "templates")
    templates.globals.update(
        percent=numbers.percent,
        moment=numbers.moment,
        duration=numbers.duration,
        count_of=numbers.count_of,
        moved=_moved,
        address=quote,
    )
    found = groups(state, runs)
    return templates.get_template("index.html").render(
        style=style(templates, "page.css", "index.css"),
        groups=found,
        runs=sum(len(group.runs) for group in found),
        skipped=sum(len(group.skipped) for group in found),
        shown=SHOWN,
        root=str(state.root),
        now=record.now(),
    )


def _moved(run: Run) -> numbers.Change:
    """How the accuracy moved; what could not be decided may be chance."""
    return replace(numbers.points(run.change or 0.0, 0.0), sure=run.result != "undecided")


def refresh(state: State) -> list[Run]:
    """Write the index page anew, and again if a run has ended meanwhile. Returns the runs it lists.

    The second look is what makes reports at the same time end right: whoever writes last has looked after writing.

    Errors: StateError (the state folder cannot be read or written).
    """
    sharing.fetch_runs(state)
    runs: list[Run] = []
    for _ in range(_TRIES):
        before = ticks(state)
        runs = read(state)
        write_atomically(state.index, render(state, runs))
        if ticks(state) == before:
            break
    return runs
