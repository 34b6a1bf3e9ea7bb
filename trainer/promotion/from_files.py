"""A decision from files alone: two scorecards and a policy, without models, registry and ledger."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trainer import config
from trainer.config_errors import explain
from trainer.errors import RecipeError, StateError
from trainer.gate import Candidate, Circumstances, Verdict, decide, level
from trainer.promotion.common_classes import compare
from trainer.scorecard import Predictions, Scorecard

WANTED = "Give a file that `inception evaluate --out` wrote, or the evaluate.json of a run record."


def judge(challenger: Path, champion: Path | None, policy: config.Gate) -> Verdict:
    """The verdict that these files give, as the first decision that is made on their test examples.

    What only a run knows, such as times measured side by side, is not known here.

    Args:
        challenger, champion: see `candidate`.
        policy: what the challenger must show.

    Errors: StateError (missing, no scorecard, damaged predictions), EvaluationError (scored on different examples).
    """
    ours, our_answers = candidate(challenger)
    if champion is None:
        return decide(ours, None, policy)
    theirs, their_answers = candidate(champion)
    card = ours.scorecard
    if sorted(card.classes) == sorted(theirs.scorecard.classes):
        share = level((), policy, card.test_digest, card.examples)
        return decide(ours, theirs, policy, Circumstances(level=share))
    if our_answers is None or their_answers is None:
        common, why = None, "the per-example predictions are not there"
    else:
        common = compare((card, our_answers), (theirs.scorecard, their_answers))
        why = "share too few classes, or too few test examples"
    if common is None:
        text = f"The two know different classes, and {why}."
        return decide(ours, None, policy, Circumstances(incomparable=text))
    compared = common.challenger.scorecard
    share = level((), policy, compared.test_digest, compared.examples)
    found = Circumstances(level=share, class_change=common.change, compared=common.challenger)
    return decide(ours, common.champion, policy, found)


def candidate(path: Path) -> tuple[Candidate, Predictions | None]:
    """A scorecard with the predictions that lie beside it; None where they do not.

    Args:
        path: a scorecard as JSON, or a document that has one under `challenger`: a run record's `evaluate.json`.

    Errors: StateError (missing, no scorecard, damaged predictions), EvaluationError (predictions of another one).
    """
    card = scorecard(path)
    beside = path.parent / card.predictions
    if not beside.exists():
        return Candidate(card, None), None
    predictions = Predictions.load(beside)
    return Candidate.of(card, predictions), predictions


def scorecard(path: Path) -> Scorecard:
    """Errors: StateError (missing, unreadable, no scorecard)."""
    try:
        values: Any = json.loads(path.read_bytes())
        card = Scorecard.model_validate(values.get("challenger", values) if isinstance(values, dict) else values)
    except OSError as error:
        raise StateError(f"The scorecard {path} cannot be read: {error.strerror}.", WANTED) from None
    except ValidationError as error:
        what = error.errors(include_url=False)[0]
        why = f"{'.'.join(map(str, what['loc'])) or 'document'}: {what['msg']}"
        raise StateError(f"{path} holds no scorecard ({why}).", WANTED) from None
    except ValueError as error:
        raise StateError(f"{path} holds no scorecard ({error}).", WANTED) from None
    if Path(card.predictions).name != card.predictions:
        # Nothing is read but what lies beside the scorecard.
        raise StateError(f"The predictions of {path} are called {card.predictions!r}, not a file beside it.", WANTED)
    return card


def policy(path: Path) -> config.Gate:
    """The `[gate]` of a recipe, or of a file that has nothing else. Errors: RecipeError."""
    try:
        text = path.read_text(encoding="utf-8")
        values: dict[str, Any] = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except (OSError, ValueError):
        return config.load(path).gate  # which says what is wrong with the file
    if "gate" not in values:
        raise RecipeError(f"{path} is no policy: it has no [gate].", "Give a TOML file with [gate], or a recipe.")
    kind = _GateAlone if set(values) == {"gate"} else config.Recipe
    try:
        return kind.model_validate(values).gate
    except ValidationError as error:
        message, _ = explain(error, kind, str(path))
        raise RecipeError(message, "Mend the file and run again.") from None


class _GateAlone(config.Section):
    gate: config.Gate
