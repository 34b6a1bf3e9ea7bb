"""`inception gate`: the decision, from files alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.commands import options

if TYPE_CHECKING:
    from trainer.gate import Verdict

_STYLES = {"pass": "green", "fail": "red", "undecided": "yellow", "not applicable": "dim"}
_HEADLINES = {"promote": "green", "keep": "yellow", "undecided": "yellow"}
_FILE = click.Path(path_type=Path)


@click.command()
@click.option("--scorecard", required=True, metavar="A.json", type=_FILE, help="Of the challenger.")
@click.option("--against", metavar="B.json", type=_FILE, help="Of the champion; left out: there is none yet.")
@click.option("--policy", required=True, metavar="P.toml", type=_FILE, help="A recipe, or a file with [gate] alone.")
@options.as_json
@options.debug
def gate(scorecard: Path, against: Path | None, policy: Path, as_json: bool) -> None:
    """Decide from files alone: would A become champion in B's place?

    A scorecard is what `inception evaluate --out` writes, or the evaluate.json of a run record, whose challenger is
    meant. The per-example predictions are looked for beside it; without them nothing that needs pairs can be told.
    It is judged as the first decision on its test examples: the error budget's ledger is not asked. Nothing is changed,
    and the exit status is 0 whatever the verdict.

    \b
    Example:
      inception gate --scorecard new.json --against old.json --policy configs/digits.toml
      inception gate --scorecard .inception/runs/0123456789abcdef/evaluate.json --policy gate.toml --json
    """
    from trainer.promotion import from_files

    verdict = from_files.judge(scorecard, against, from_files.policy(policy))
    if as_json:
        options.say_json({**verdict.model_dump(mode="json"), "digest": verdict.digest()})
    else:
        _show(verdict)


def _show(verdict: Verdict) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("rule", "figure", "limit", "outcome", "in words", box=None, header_style="bold", pad_edge=False)
    for rule in verdict.rules:
        figures = ["" if figure is None else f"{figure:,.4g}" for figure in (rule.figure, rule.limit)]
        table.add_row(rule.name, *figures, Text(rule.outcome, _STYLES[rule.outcome]), Text(rule.explanation))
    console = Console(highlight=False)
    console.print(table)
    console.print()
    console.print(Text(verdict.outcome.upper(), f"bold {_HEADLINES[verdict.outcome]}"))
    console.print(Text(verdict.reason))
